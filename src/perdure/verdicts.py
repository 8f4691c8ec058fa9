"""Telling people's verdicts to the tracker: at least once, from the store's outbox.

They are kept in the store whatever becomes of it. A tracker that is away, or does not know the
trace yet, is told later, by growing pauses; a newer verdict on the same thing takes the older one's
place.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from perdure import chores
from perdure.errors import PerdureError
from perdure.model import Feedback
from perdure.outage import Outage
from perdure.ports import Outbox, Tracker

log = logging.getLogger("perdure.verdicts")

PAUSES_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
"""Between two tries; after the last one it is given up."""
HIDE_S = 60.0
"""How long one process may need for a try; then another one takes the verdict."""


class Verdicts:
    """Tells what is due, round after round: two verdicts on one thing are never told at once.

    Args:
        outbox: what waits.
        tracker: who is told.
        pauses_s: between tries.

    """

    look_s = 2.0
    """How often to look for what others left, or what waits for its trace."""

    def __init__(
        self, outbox: Outbox, tracker: Tracker, pauses_s: Sequence[float] = PAUSES_S
    ) -> None:
        self._outbox = outbox
        self._tracker = tracker
        self._pauses_s = pauses_s
        self._rung = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = chores.begin(self._rounds, "verdicts")

    def ring(self) -> None:
        """Say that there is one."""
        self._rung.set()

    async def close(self) -> None:
        """Stop; what was not told waits in the store."""
        if self._task is not None:
            await chores.end([self._task])
        await self._tracker.close()

    async def _rounds(self) -> None:
        taking = Outage(log, "reading verdicts that are due")
        while True:
            self._rung.clear()
            try:
                due = await self._outbox.take_feedback(HIDE_S)
                await chores.all_of(self._tell(verdict) for verdict in due)
            except PerdureError as error:
                taking.failed(error)
                due = []
            else:
                taking.worked()
            if not due:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.look_s):
                        await self._rung.wait()

    async def _tell(self, verdict: Feedback) -> None:
        """Try once and keep how it went; an answer without a trace has nobody to be told."""
        retry_s = None
        if verdict.trace_id is not None:
            try:
                await self._tracker.tell(verdict, verdict.author or verdict.user_id)
            except PerdureError as error:
                retry_s = dict(enumerate(self._pauses_s, 1)).get(verdict.tries)
                if retry_s is None:
                    log.warning("a verdict on %s stays here: %s", verdict.request_id, error)
        await self._outbox.settle_feedback(verdict, retry_s)
