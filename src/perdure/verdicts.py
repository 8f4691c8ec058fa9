"""People's verdicts on their way to the tracker; they are kept in the store whatever becomes of it.

A tracker that is away, or does not know the trace yet, is told later, by growing pauses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from perdure.errors import PerdureError
from perdure.model import Feedback
from perdure.ports import Tracker

log = logging.getLogger("perdure.verdicts")

PAUSES_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
"""Between two tries; after the last one it is given up."""
WAITING_MAX = 1000


class Verdicts:
    """Tells verdicts, each in a task of its own; a later one on the same thing replaces it.

    Args:
        tracker: who is told.
        pauses_s: between tries.

    """

    def __init__(self, tracker: Tracker, pauses_s: Sequence[float] = PAUSES_S) -> None:
        self._tracker = tracker
        self._pauses_s = pauses_s
        self._tasks: dict[tuple[str, str, str], asyncio.Task[None]] = {}

    def tell(self, verdict: Feedback, author: str) -> None:
        """Begin to tell a verdict; returns at once."""
        key = (verdict.request_id, verdict.user_id, verdict.name)
        before = self._tasks.pop(key, None)
        if before is None and len(self._tasks) >= WAITING_MAX:
            log.warning("too many verdicts wait for the tracker; one stays in the store only")
            return
        task = asyncio.create_task(self._tell(verdict, author, before), name="verdict")
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._forget(key, done))

    async def close(self) -> None:
        """Stop telling."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._tracker.close()

    def _forget(self, key: tuple[str, str, str], done: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is done:
            del self._tasks[key]

    async def _tell(
        self, verdict: Feedback, author: str, before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:
            before.cancel()
            await asyncio.wait([before])
        for pause_s in (*self._pauses_s, None):
            try:
                await self._tracker.tell(verdict, author)
            except PerdureError as error:
                if pause_s is None:
                    log.warning("a verdict on %s stays here: %s", verdict.request_id, error)
                    return
                await asyncio.sleep(pause_s)
            else:
                return
