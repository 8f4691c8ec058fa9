"""Following logs: one shared tail per request and process, and readers that are positions in it.

A reader registers first, reads the store from its own cursor, then waits for the doorbell; all
tails are also read again every second or two, so that a lost wake-up costs time only. A reader that
falls behind what the tail still holds reads the store at its own pace: it hurts nobody and holds
bounded memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from perdure.errors import Gone, NotFound, PerdureError
from perdure.events import kind
from perdure.fold import Fold
from perdure.model import JSON, Status
from perdure.ports import Bus, RequestStore, Slice

log = logging.getLogger("perdure.tail")

READ_BYTES = 256 * 1024
HELD_BYTES = 16 * 1024
"""Recent events that one tail keeps for its readers; older ones are read from the store."""
REREAD_S = 1.5
SNAPSHOTS_MAX = 512


class Drained(PerdureError):
    """The server is stopping: re-attach from the cursor in a moment."""

    code = "draining"
    retryable = True


class Batch:
    """Consecutive durable events; shared by all readers, and framed once for all of them."""

    __slots__ = ("_sse", "ended", "events", "first", "following", "size")

    def __init__(self, first: int, events: Sequence[bytes], *, ended: bool) -> None:
        self.first = first
        self.following = first + len(events)  # the number after the last event
        self.events = events
        self.ended = ended
        self.size = sum(map(len, events))
        self._sse: bytes | None = None

    def sse(self) -> bytes:
        """Return the events as SSE frames with `id`, `event` and `data`."""
        if self._sse is None:
            self._sse = b"".join(
                b"id: %d\nevent: %b\ndata: %b\n\n" % (number, kind(event).encode(), event)
                for number, event in enumerate(self.events, self.first)
            )
        return self._sse

    def since(self, number: int) -> Batch:
        """Return the part from `number` on."""
        if number <= self.first:
            return self
        return Batch(number, self.events[number - self.first :], ended=self.ended)


class Snapshot(msgspec.Struct, frozen=True):
    """An answer as it stood at `sequence_number`."""

    sequence_number: int
    status: Status
    text: str
    output: list[JSON]


Sink = Callable[[Batch], bool]
"""Takes a batch at once and returns True, or takes nothing of it and returns False."""


class _Tail:
    """The newest events of one request, and who waits for more."""

    __slots__ = (
        "batches",
        "ended",
        "held",
        "listeners",
        "lost",
        "moved_at",
        "next",
        "readers",
        "waiters",
    )

    def __init__(self) -> None:
        self.batches: deque[Batch] = deque()
        self.held = 0
        self.next: int | None = None
        self.ended = False
        self.lost = False
        self.readers = 0
        self.moved_at = 0.0
        self.waiters: dict[asyncio.Future[bool], float] = {}
        self.listeners: list[Reader] = []

    def extend(self, slice_: Slice) -> None:
        """Take what was read after `next`, and wake the readers."""
        if self.next is None or slice_.first != self.next:
            return
        batch = Batch(slice_.first, slice_.events, ended=slice_.ended)
        self.ended = batch.ended = slice_.ended and batch.following > slice_.last
        if slice_.events:
            self.batches.append(batch)
            self.held += batch.size
            self.next = batch.following
            while self.held > HELD_BYTES and len(self.batches) > 1:
                self.held -= self.batches.popleft().size
            if self.listeners:
                self._tell(batch)
        if self.waiters and (slice_.events or self.ended):
            self.wake(more=True)

    def _tell(self, batch: Batch) -> None:
        """Give a batch to all who listen; those who do not take it read it later themselves."""
        self.moved_at = time.monotonic()
        leaving = [reader for reader in self.listeners if not reader.hear(batch)]
        for reader in leaving:
            self.listeners.remove(reader)

    def lose(self) -> None:
        """Tell the readers that the request was deleted."""
        self.lost = True
        self.wake(more=True)
        self.hush()

    async def wait(self, idle_s: float) -> bool:
        """Wait for more; False when nothing came for `idle_s`."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self.waiters[waiter] = loop.time() + idle_s
        try:
            return await waiter
        except asyncio.CancelledError:
            self.waiters.pop(waiter, None)
            raise

    def wake(self, *, more: bool) -> None:
        """Resume all who wait; `more` tells them that there is something to read."""
        waiters, self.waiters = self.waiters, {}
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(more)

    def hush(self, now: float | None = None) -> None:
        """Resume all who listen, or with `now` those who heard nothing for too long."""
        staying = []
        for reader in self.listeners:
            if now is not None and not reader.bored(now, self.moved_at):
                staying.append(reader)
            else:
                reader.resume(idle=now is not None)
        self.listeners = staying

    def find(self, number: int) -> Batch | None:
        """Return the held batch that goes on at `number`, None when it is not held."""
        if self.batches and self.batches[-1].first == number:
            return self.batches[-1]
        for batch in reversed(self.batches):
            if batch.first <= number < batch.following:
                return batch.since(number)
            if number >= batch.following:
                return None
        return None


class Reader:
    """A position in a log.

    Attributes:
        ended: everything up to the terminal event was read; nothing follows.

    """

    __slots__ = (
        "_idle_s",
        "_listening",
        "_request_id",
        "_since",
        "_sink",
        "_tail",
        "_tails",
        "ended",
        "position",
    )

    def __init__(self, tails: Tails, request_id: str, tail: _Tail, position: int) -> None:
        self.position = position
        self.ended = False
        self._tails = tails
        self._request_id = request_id
        self._tail = tail
        self._sink: Sink | None = None
        self._listening: asyncio.Future[bool] | None = None
        self._since = self._idle_s = 0.0

    async def read(self, idle_s: float) -> Batch | None:
        """Return what is durable behind the position, waiting for some.

        None: nothing came for `idle_s`, or nothing ever will (`ended`).

        Raises:
            NotFound: there is no such request (any more).
            Gone: the events behind the position are pruned.
            Drained: the server stops.

        """
        while not self._tails.draining:
            batch = await self._ready()
            if batch is not None:
                self.position = batch.following
                self.ended = batch.ended
                return batch
            if self._tail.ended:
                self.ended = True
                return None
            if not await self._tail.wait(idle_s):
                return None
        detail = "The server is stopping; attach again from your cursor."
        raise Drained(detail)

    async def listen(self, sink: Sink, idle_s: float) -> bool:
        """Give new batches to `sink` as they become durable, without resuming the caller.

        Returns at once unless everything durable was read; else when `sink` took no more, the log
        ended, or there is something that `read` tells. True: nothing came for `idle_s`.
        """
        tail = self._tail
        if tail.next != self.position or tail.ended or tail.lost or self._tails.draining:
            return False
        self._sink, self._idle_s, self._since = sink, idle_s, time.monotonic()
        self._listening = asyncio.get_running_loop().create_future()
        tail.listeners.append(self)
        try:
            return await self._listening
        finally:
            self._listening = None
            if self in tail.listeners:
                tail.listeners.remove(self)

    def hear(self, batch: Batch) -> bool:
        """Pass a batch on; tell whether to go on listening."""
        if self._sink is None or not self._sink(batch):
            self.resume(idle=False)
            return False
        self.position = batch.following
        if batch.ended:
            self.ended = True
            self.resume(idle=False)
        return not batch.ended

    def bored(self, now: float, moved_at: float) -> bool:
        """Tell whether nothing came for too long."""
        return now - max(moved_at, self._since) >= self._idle_s

    def resume(self, *, idle: bool) -> None:
        """Let `listen` return."""
        if self._listening is not None and not self._listening.done():
            self._listening.set_result(idle)

    async def _ready(self) -> Batch | None:
        """Return what can be read without waiting for more to happen."""
        tail = self._tail
        if tail.lost:
            raise NotFound(_unknown(self._request_id), code="request_not_found")
        if tail.next is not None and self.position >= tail.next:
            return None
        held = tail.find(self.position)
        return held or await self._tails.catch_up(self._request_id, tail, self.position)


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
        self._tails: dict[str, _Tail] = {}
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
            asyncio.create_task(self._pump(), name="tails"),
            asyncio.create_task(self._tick(), name="keep-alives"),
        ]

    async def close(self) -> None:
        """End all readers and stop."""
        self.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drain(self) -> None:
        """End all readers with `Drained`, now and from now on."""
        self.draining = True
        for tail in self._tails.values():
            tail.wake(more=True)
            tail.hush()

    @contextmanager
    def reader(self, request_id: str, after: int) -> Iterator[Reader]:
        """Attach a reader behind an exclusive cursor (-1 = from the start); detach it at the end.

        The caller has checked who may read.
        """
        tail = self._tails.setdefault(request_id, _Tail())
        tail.readers += 1
        self.readers += 1
        try:
            yield Reader(self, request_id, tail, after + 1)
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

    def sse(self, batch: Batch) -> bytes:
        """Return a batch as SSE frames, made once for all readers."""
        return batch.sse()

    async def snapshot(self, request_id: str) -> Snapshot:
        """Return an answer as it stands, with the number it was taken at."""
        return await self.snapshots.take(request_id)

    async def catch_up(self, request_id: str, tail: _Tail, position: int) -> Batch | None:
        """Read the store from the reader's own position; a first reader also sets the tail's."""
        found = await self._store.read({request_id: position - 1}, READ_BYTES)
        slice_ = found.get(request_id)
        if slice_ is None:
            raise NotFound(_unknown(request_id), code="request_not_found")
        following = slice_.first + len(slice_.events)
        ended = slice_.ended and following > slice_.last
        if tail.next is None:
            tail.next = slice_.last + 1
            tail.ended = slice_.ended
            if request_id in self._dirty:
                # It rang while this first read was under way: only now is it known where to go on.
                self._rung.set()
        return Batch(slice_.first, slice_.events, ended=ended) if slice_.events else None

    def _ring(self, topics: Collection[str]) -> None:
        dirty = self._tails.keys() & topics
        if dirty:
            self._dirty |= dirty
            self._rung.set()

    async def _pump(self) -> None:
        """Read for all rung tails at once; for all of them when nobody rang for a while."""
        while True:
            try:
                async with asyncio.timeout(self._reread_s):
                    await self._rung.wait()
                dirty, self._dirty = self._dirty, set()
            except TimeoutError:
                dirty = set(self._tails)
            self._rung.clear()
            try:
                await self._read(dirty)
            except PerdureError as error:
                log.warning("cannot read for the streams, will try again: %s", error)
                await asyncio.sleep(self._reread_s)

    async def _read(self, request_ids: set[str]) -> None:
        tails = {key: tail for key in request_ids if (tail := self._tails.get(key)) is not None}
        self._dirty |= {key for key, tail in tails.items() if tail.next is None}
        cursors = {key: tail.next - 1 for key, tail in tails.items() if tail.next is not None}
        slices = await self._store.read(cursors, READ_BYTES)
        for request_id in cursors.keys() - slices.keys():
            if (tail := self._tails.get(request_id)) is not None:
                tail.lose()
        for request_id, slice_ in slices.items():
            if (tail := self._tails.get(request_id)) is not None:
                tail.extend(slice_)
                if slice_.events and slice_.first + len(slice_.events) <= slice_.last:
                    self._dirty.add(request_id)
                    self._rung.set()

    async def _tick(self) -> None:
        """Resume who waited too long: one timer for all readers instead of one each."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1)
            now = loop.time()
            for tail in list(self._tails.values()):
                tail.hush(time.monotonic())
                for waiter, deadline in list(tail.waiters.items()):
                    if deadline <= now:
                        del tail.waiters[waiter]
                        if not waiter.done():
                            waiter.set_result(False)


class Snapshots:
    """Answers in progress, folded as far as somebody asked; each event is folded once."""

    def __init__(self, store: RequestStore) -> None:
        self._store = store
        self._folds: OrderedDict[str, tuple[Fold, asyncio.Lock]] = OrderedDict()

    async def take(self, request_id: str) -> Snapshot:
        """Return the answer as far as it is durable."""
        fold, lock = self._folds.setdefault(request_id, (Fold(), asyncio.Lock()))
        self._folds.move_to_end(request_id)
        async with lock:
            try:
                await self._advance(request_id, fold)
            except Gone:
                # Folded in part long ago, and pruned since: the answer is told again from 0.
                fold = Fold()
                await self._advance(request_id, fold)
        if fold.ended:
            self._folds.pop(request_id, None)
        while len(self._folds) > SNAPSHOTS_MAX:
            self._folds.popitem(last=False)
        return Snapshot(fold.sequence_number, fold.status, fold.text(), fold.answer())

    async def _advance(self, request_id: str, fold: Fold) -> None:
        while True:
            found = await self._store.read({request_id: fold.sequence_number}, READ_BYTES)
            slice_ = found.get(request_id)
            if slice_ is None:
                detail = f"There is no request {request_id}."
                raise NotFound(detail, code="request_not_found")
            for event in slice_.events:
                fold.apply(event)
            if not slice_.events or fold.sequence_number >= slice_.last:
                return


def _unknown(request_id: str) -> str:
    return f"There is no request {request_id}."
