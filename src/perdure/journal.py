"""Group commit over all runs of a process: what they add is stored together, then made known.

Flush at once when idle; what arrives meanwhile waits for the next flush, and flushes keep a small
distance, larger on a slow disk, so that many answers share a commit. A number is given when it is
written; readers get it after the commit and never before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol, TypeVar

from perdure import chores
from perdure.errors import OwnershipLost, PerdureError, Unavailable
from perdure.events import Closing
from perdure.metrics import Metrics
from perdure.outage import Outage
from perdure.ports import Append, Bus, RequestStore, Topic

T = TypeVar("T")

log = logging.getLogger("perdure.journal")

SPACING_S = 0.004
"""Least distance of two flushes: about the time in which a commit pays for itself."""
SPACING_MAX_S = 0.06
RETRY_S = 0.5
GIVE_UP_S = 20.0
"""How long a run buffers while the store cannot write: less than a lease, so it stays ours."""


class Writer(Protocol):
    """A run, as the journal sees it."""

    request_id: str

    def take(self) -> Append | None:
        """Return what is new since the last take, numbered; None when there is nothing."""

    def lose(self, error: PerdureError) -> None:
        """Learn that nothing can be written any more: the claim is lost, or the store is."""


class Journal:
    """Stores what the runs of this process produce.

    Args:
        store: where it goes.
        bus: whom it wakes.
        metrics: where it is counted.

    Attributes:
        on_stored: called with what was just committed, so that nobody here need read it again.

    """

    def __init__(self, store: RequestStore, bus: Bus, metrics: Metrics | None = None) -> None:
        self._store = store
        self._bus = bus
        self.metrics = metrics or Metrics()
        self.on_stored: Callable[[Sequence[Append]], None] = lambda _: None
        self._dirty: dict[str, Writer] = {}
        self._storing = Outage(log, "storing answers")
        self._wake = asyncio.Event()
        self._flushed: asyncio.Future[None] | None = None
        self._writing: Collection[str] = ()
        self._task: asyncio.Task[None] | None = None
        self._took_s = 0.0, 0.0  # the last two commits

    def start(self) -> None:
        """Begin to flush."""
        self._task = chores.begin(self._work, "journal")

    async def close(self) -> None:
        """Stop; what the runs have not finished stays as it was last stored."""
        if self._task is not None:
            await chores.end([self._task])

    def note(self, writer: Writer) -> None:
        """Remember that `writer` has something to store."""
        if not self._dirty:
            self._wake.set()
        self._dirty[writer.request_id] = writer

    async def flushed(self) -> None:
        """Wait for the end of the next flush: backpressure for a run that produces too fast."""
        if self._flushed is None:
            self._flushed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._flushed)

    async def finish(self, writer: Writer, end: Callable[[], tuple[Append, Closing]]) -> bool:
        """Store a run's last events and its end in one transaction; False: it was not ours.

        `end` closes the answer; it is called when nothing of the run is being stored any more.
        """
        await self._leave(writer)
        last, closing = end()
        stored = await self._insist(lambda: self._store.finish(last, closing))
        if stored:
            self.metrics.events.inc(len(last.events))
        else:
            self.metrics.refused.inc()
        await self._bus.publish([Topic.events(writer.request_id)])
        return stored

    async def hand_over(self, writer: Writer, claim_id: str) -> bool:
        """Store what a run has and give the request back to the queue; False: it was not ours."""
        await self._leave(writer)
        rest = writer.take()
        if rest is not None:
            await self._store.append([rest])
        given = await self._store.hand_over(writer.request_id, claim_id)
        if given:
            self.metrics.hand_overs.inc()
        await self._bus.publish([Topic.events(writer.request_id)])
        return given

    async def _leave(self, writer: Writer) -> None:
        """Wait until no append of the run is under way, and keep it out of the next one."""
        while writer.request_id in self._writing:
            await self.flushed()
        self._dirty.pop(writer.request_id, None)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        spacing = SPACING_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            started = loop.time()
            await self._flush()
            pause = spacing - (loop.time() - started)
            if pause > 0:
                await asyncio.sleep(pause)
            spacing = spacing_s(self._took_s, self._store.append_rest, loop.time() - started)

    async def _flush(self) -> None:
        """Store the new events of all noted runs; wake their readers."""
        writers, self._dirty = self._dirty, {}
        self._writing = writers.keys()
        takers: list[Writer] = []
        appends: list[Append] = []
        for writer in writers.values():
            try:
                append = writer.take()
            except Exception:
                # A bug in one run costs that run its claim, not the others theirs.
                log.exception("%s cannot tell what it has", writer.request_id)
                writer.lose(Unavailable("The answer could not be stored."))
            else:
                if append is not None:
                    takers.append(writer)
                    appends.append(append)
        if appends:
            await self._store_all(takers, appends)
        self._writing = ()
        if self._flushed is not None:
            self._flushed.set_result(None)
            self._flushed = None

    async def _store_all(self, takers: list[Writer], appends: list[Append]) -> None:
        try:
            started = time.perf_counter()
            verdicts = await self._insist(lambda: self._store.append(appends))
            self._took_s = time.perf_counter() - started, self._took_s[0]
            self.metrics.commit.observe(self._took_s[0])
        except PerdureError as error:
            for writer in takers:
                writer.lose(error)
            return
        except Exception:
            # A bug below costs these runs their claim, never the process its journal.
            log.exception("the store broke on an append")
            for writer in takers:
                writer.lose(Unavailable("The answer could not be stored."))
            return
        stored = appends if all(verdicts) else self._sort_out(takers, appends, verdicts)
        self.metrics.events.inc(sum([len(append.events) for append in stored]))
        try:
            self.on_stored(stored)
        except Exception:
            log.exception("a reader broke on an append")
        await self._bus.publish_elsewhere(Topic.events(append.request_id) for append in stored)

    def _sort_out(
        self, takers: list[Writer], appends: list[Append], verdicts: list[bool]
    ) -> list[Append]:
        """Return what was stored; tell the others that they were refused."""
        stored = []
        for writer, append, good in zip(takers, appends, verdicts, strict=True):
            if good:
                stored.append(append)
            else:
                self.metrics.refused.inc()
                detail = f"{writer.request_id} belongs to somebody else now."
                writer.lose(OwnershipLost(detail))
        return stored

    async def _insist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Try a write again while the store is unavailable, as long as the lease surely holds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GIVE_UP_S
        while True:
            try:
                written = await write()
            except Unavailable as error:
                if loop.time() >= deadline:
                    raise
                self.metrics.retried.inc()
                self._storing.failed(error)
                await asyncio.sleep(RETRY_S)
            else:
                self._storing.worked()
                return written


def spacing_s(took_s: Collection[float], append_rest: float, late_s: float) -> float:
    """Return the distance that the next two flushes are to keep, in seconds.

    Args:
        took_s: how long the last commits took; a single slow one is no slow disk.
        append_rest: for how many times as long the next one waits.
        late_s: how long ago the last flush began.

    """
    return min(SPACING_MAX_S, max(SPACING_S, min(took_s) * append_rest, late_s / 2))
