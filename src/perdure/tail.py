"""Following logs: one shared tail per request and process, read for all of its readers at once.

A reader registers first, reads the store from its own cursor, then waits for the doorbell; all
tails are also read again every second or two, so that a lost wake-up costs time only. What this
process itself has committed comes straight from its journal.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator
from contextlib import contextmanager

from perdure import chores
from perdure.errors import NotFound, PerdureError
from perdure.outage import Outage
from perdure.ports import Append, Bus, RequestStore
from perdure.reader import Batch, Drained, Reader, Sink, Tail, http_chunk, unknown
from perdure.snapshot import Snapshot, Snapshots

__all__ = ["Batch", "Drained", "Reader", "Sink", "Snapshot", "Tails", "http_chunk"]

log = logging.getLogger("perdure.tail")

READ_BYTES = 256 * 1024
REREAD_S = 1.5
TICK_S = 0.1  # short: thousands of idle readers are resumed a few at a time, not in one burst


class Tails:
    """All tails of a process.

    Args:
        store: what is durable.
        bus: who rings.
        reread_s: how long a lost wake-up may go unnoticed.

    """

    def __init__(self, store: RequestStore, bus: Bus, reread_s: float = REREAD_S) -> None:
        self._store = store
        self._reread_s = reread_s
        self._tails: dict[str, Tail] = {}
        self._dirty: set[str] = set()
        self._rung = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.draining = False
        self.readers = 0
        self.snapshots = Snapshots(store)
        bus.subscribe(self._ring)

    def start(self) -> None:
        """Begin to read for the tails."""
        self._tasks = [
            chores.begin(self._pump, "tails"),
            chores.begin(self._reread, "lost wake-ups"),
            chores.begin(self._tick, "keep-alives"),
        ]

    async def close(self) -> None:
        """End all readers and stop."""
        self.drain()
        await chores.end(self._tasks)

    def drain(self) -> None:
        """End all readers with `Drained`, now and from now on."""
        self.draining = True
        for tail in self._tails.values():
            tail.drain()

    @contextmanager
    def reader(self, request_id: str, after: int) -> Iterator[Reader]:
        """Attach a reader behind an exclusive cursor (-1 = from the start); detach it at the end.

        The caller has checked who may read.
        """
        tail = self._tails.setdefault(request_id, Tail())
        tail.drained = self.draining
        tail.readers += 1
        self.readers += 1
        try:
            yield Reader(request_id, tail, after + 1, self._catch_up)
        finally:
            tail.readers -= 1
            self.readers -= 1
            if not tail.readers and self._tails.get(request_id) is tail:
                del self._tails[request_id]

    async def follow(
        self,
        request_id: str,
        after: int,
        *,
        idle_s: float,
    ) -> AsyncGenerator[Batch | None, None]:
        """Yield batches of durable events after the cursor, to the terminal one.

        Args:
            request_id: whose log; the caller has checked who may read it.
            after: exclusive cursor, -1 = from the start.
            idle_s: yields None when nothing came for that long.

        Raises `NotFound`, `Gone` and `Drained` as `Reader.read` does.

        """
        with self.reader(request_id, after) as reader:
            while not reader.ended:
                batch = await reader.read(idle_s)
                if batch is not None or not reader.ended:
                    yield batch

    async def snapshot(self, request_id: str) -> Snapshot:
        """Return an answer as it stands, with the number it was taken at."""
        return await self.snapshots.take(request_id)

    async def _catch_up(self, request_id: str, tail: Tail, position: int) -> Batch | None:
        """Read the store from the reader's own position; a first reader also sets the tail's."""
        found = await self._store.read({request_id: position - 1}, READ_BYTES)
        slice_ = found.get(request_id)
        if slice_ is None:
            raise NotFound(unknown(request_id), code="request_not_found")
        following = slice_.first + len(slice_.events)
        ended = slice_.ended and following > slice_.last
        if tail.next is None:
            tail.next = slice_.last + 1
            tail.ended = slice_.ended
            if request_id in self._dirty:
                # It rang while this first read was under way: only now is it known where to go on.
                self._rung.set()
        return Batch(slice_.first, slice_.events, ended=ended) if slice_.events else None

    def take(self, stored: Iterable[Append]) -> None:
        """Give readers what this process has just committed: it need not be read again."""
        now = time.monotonic()
        for append in stored:
            tail = self._tails.get(append.request_id)
            if tail is None:
                continue
            if tail.next == append.first and not tail.ended:
                tail.extend(append.first, append.events, now)
            else:
                self._ring([append.request_id])

    def _ring(self, topics: Collection[str]) -> None:
        dirty = self._tails.keys() & topics
        if dirty:
            self._dirty |= dirty
            self._rung.set()

    async def _pump(self) -> None:
        """Read for all rung tails at once."""
        reading = Outage(log, "reading for the streams")
        while True:
            await self._rung.wait()
            self._rung.clear()
            dirty, self._dirty = self._dirty, set()
            try:
                await self._read(dirty)
            except PerdureError as error:
                reading.failed(error)
                await asyncio.sleep(self._reread_s)
            else:
                reading.worked()

    async def _read(self, request_ids: set[str]) -> None:
        cursors: dict[str, int] = {}
        for request_id in request_ids:
            tail = self._tails.get(request_id)
            if tail is None or tail.ended:
                # Nothing follows an end; and where the events behind it were pruned meanwhile, the
                # store refuses the whole read. Who is behind reads from its own position.
                continue
            if tail.next is None:
                self._dirty.add(request_id)  # its first read is under way, and looks here
            else:
                cursors[request_id] = tail.next - 1
        slices = await self._store.read(cursors, READ_BYTES)
        now = time.monotonic()
        if len(slices) < len(cursors):
            self._lose(cursors.keys() - slices.keys())
        for request_id, slice_ in slices.items():
            if (tail := self._tails.get(request_id)) is not None:
                following = slice_.first + len(slice_.events)
                ended = slice_.ended and following > slice_.last
                tail.extend(slice_.first, slice_.events, now, ended=ended)
                if slice_.events and following <= slice_.last:
                    self._dirty.add(request_id)
                    self._rung.set()

    def _lose(self, request_ids: Iterable[str]) -> None:
        """Tell the readers of requests that were deleted."""
        for request_id in request_ids:
            if (tail := self._tails.get(request_id)) is not None:
                tail.lose()

    async def _reread(self) -> None:
        """Ring for all tails now and then: a wake-up may have been lost."""
        while True:
            await asyncio.sleep(self._reread_s)
            self._ring(self._tails.keys())

    async def _tick(self) -> None:
        """Resume who waited too long: one timer for all readers instead of one each."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_S)
            now = loop.time()
            for tail in list(self._tails.values()):
                tail.hush(time.monotonic())
                for waiter, deadline in list(tail.waiters.items()):
                    if deadline <= now:
                        del tail.waiters[waiter]
                        if not waiter.done():
                            waiter.set_result(False)
