"""From `queued` to a worker: admit who may run, then hand their ids to the queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextvars import Context

from perdure.errors import PerdureError
from perdure.outage import Outage
from perdure.ports import Queue, RequestStore, RunLimits

log = logging.getLogger("perdure.dispatch")


class Dispatch:
    """Admits and enqueues when it is rung: at a run's end, after a cancel, by the reconciler.

    Rings during a look at the queue are served by one more look, however many they are.

    Args:
        store: who waits.
        queue: where their ids go.
        limits: how many may run.

    """

    def __init__(self, store: RequestStore, queue: Queue, limits: RunLimits) -> None:
        self.limits = limits
        self._store = store
        self._queue = queue
        self._admitting = Outage(log, "admitting")
        self._rung = False
        self._looking: asyncio.Task[None] | None = None
        self.closed = False

    async def deliver(self, admitted: Sequence[str]) -> None:
        """Hand over ids that were admitted already."""
        if admitted and not self.closed:
            await self._queue.enqueue(admitted)

    def ring(self) -> None:
        """Ask for a look at the queue soon."""
        self._rung = True
        if self._looking is None and not self.closed:
            looking = self._look()
            self._looking = asyncio.create_task(looking, name="dispatch", context=Context())
            self._looking.add_done_callback(self._looked)

    def _looked(self, _: asyncio.Task[None]) -> None:
        self._looking = None
        if self._rung:
            self.ring()

    async def _look(self) -> None:
        while self._rung and not self.closed:
            self._rung = False
            try:
                await self.deliver(await self._store.admit(self.limits))
            except PerdureError as error:
                self._admitting.failed(error)
            else:
                self._admitting.worked()
