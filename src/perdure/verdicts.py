"""People's verdicts on their way to the tracker; they are kept in the store whatever becomes of it.

A tracker that is away, or does not know the trace yet, is told later, by growing pauses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from perdure.errors import PerdureError
from perdure.model import Feedback
from perdure.ports import Tracker

log = logging.getLogger("perdure.verdicts")

PAUSES_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
"""Between two tries; after the last one it is given up."""
WAITING_MAX = 1000


class _Waiting(msgspec.Struct):
    """The newest verdict on a thing, and whether there is a newer one than was last tried."""

    verdict: Feedback
    author: str
    changed: asyncio.Event


class Verdicts:
    """Tells verdicts, one task for each thing that is judged; the newest one counts.

    Args:
        tracker: who is told.
        pauses_s: between tries.

    """

    def __init__(self, tracker: Tracker, pauses_s: Sequence[float] = PAUSES_S) -> None:
        self._tracker = tracker
        self._pauses_s = pauses_s
        self._waiting: dict[tuple[str, str, str], _Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, verdict: Feedback, author: str) -> None:
        """Begin to tell a verdict; returns at once."""
        key = (verdict.request_id, verdict.user_id, verdict.name)
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.verdict, waiting.author = verdict, author
            waiting.changed.set()
        elif len(self._waiting) < WAITING_MAX:
            waiting = self._waiting[key] = _Waiting(verdict, author, asyncio.Event())
            task = asyncio.create_task(self._tell(waiting), name="verdict")
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._done(key, done))
        else:
            log.warning("too many verdicts wait for the tracker; one stays in the store only")

    async def close(self) -> None:
        """Stop telling."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._tracker.close()

    def _done(self, key: tuple[str, str, str], task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        del self._waiting[key]

    async def _tell(self, waiting: _Waiting) -> None:
        """Tell the newest verdict until it is told; a newer one begins the tries anew."""
        pauses = iter(self._pauses_s)
        while True:
            waiting.changed.clear()
            try:
                await self._tracker.tell(waiting.verdict, waiting.author)
            except PerdureError as error:
                pause_s = next(pauses, None)
                if pause_s is None:
                    log.warning("a verdict on %s stays here: %s", waiting.verdict.request_id, error)
                    return
                if await _changed(waiting.changed, pause_s):
                    pauses = iter(self._pauses_s)
            else:
                if not waiting.changed.is_set():
                    return


async def _changed(event: asyncio.Event, pause_s: float) -> bool:
    """Wait for a pause, or for something newer; tell whether that came."""
    try:
        async with asyncio.timeout(pause_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
