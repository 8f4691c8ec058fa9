"""A reader is a position in a log; the tail it follows holds the newest events for all of them.

A reader that falls behind what the tail still holds reads the store at its own pace: it hurts
nobody and holds bounded memory.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import count

import msgspec

from perdure.errors import NotFound, PerdureError
from perdure.wire import sse_frame

HELD_BYTES = 16 * 1024
"""Recent events that one tail keeps for its readers; older ones are read from the store."""


class Drained(PerdureError):
    """The server is stopping: re-attach from the cursor in a moment."""

    code = "draining"
    retryable = True


class Batch(msgspec.Struct, gc=False):
    """Consecutive durable events; shared by all readers, and framed once for all of them."""

    first: int
    events: Sequence[bytes]
    ended: bool
    _sse: bytes | None = None
    _chunk: bytes | None = None

    @property
    def following(self) -> int:
        """The number after the last event."""
        return self.first + len(self.events)

    @property
    def size(self) -> int:
        """Bytes of all events together."""
        return sum(map(len, self.events))

    def sse(self) -> bytes:
        """Return the events as SSE frames with `id`, `event` and `data`."""
        if self._sse is None:
            events = self.events
            if len(events) == 1:
                self._sse = sse_frame(self.first, events[0])
            else:
                self._sse = b"".join(map(sse_frame, count(self.first), events))
        return self._sse

    def http_chunk(self) -> bytes:
        """Return the SSE frames as one chunk of an HTTP/1.1 body."""
        if self._chunk is None:
            self._chunk = http_chunk(self.sse())
        return self._chunk

    def since(self, number: int) -> Batch:
        """Return the part from `number` on."""
        if number <= self.first:
            return self
        return Batch(number, self.events[number - self.first :], ended=self.ended)


def http_chunk(piece: bytes) -> bytes:
    """Return a piece of a body as an HTTP/1.1 chunk."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


Sink = Callable[[Batch], bool]
"""Takes a batch at once and returns True, or takes nothing of it and returns False."""


class Tail:
    """The newest events of one request, and who waits for more."""

    __slots__ = (
        "batches",
        "drained",
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
        self.drained = False
        self.readers = 0
        self.moved_at = 0.0
        self.waiters: dict[asyncio.Future[bool], float] = {}
        self.listeners: list[Reader] = []

    def extend(
        self, first: int, events: Sequence[bytes], now: float, *, ended: bool = False
    ) -> None:
        """Take durable events, of which some may be here already, and tell the readers.

        `ended`: nothing follows them.
        """
        number = self.next
        if number is None or first > number:
            return
        if first < number:
            events = events[number - first :]
        self.ended = self.ended or ended
        if events:
            self.next = number + len(events)
            batch = Batch(number, events, ended)
            if self.listeners:
                self.moved_at = now
                for reader in self.listeners.copy():
                    sink = reader.sink
                    if not sink(batch):  # the reader will read it by itself
                        self.listeners.remove(reader)
                        reader.resume(number)
            if len(self.listeners) < self.readers:
                self._hold(batch)
        if self.waiters and (events or self.ended):
            self.wake(more=True)
        if self.ended:
            self.hush()

    def _hold(self, batch: Batch) -> None:
        """Keep a batch for those who do not listen; who is further behind reads the store."""
        self.batches.append(batch)
        self.held += batch.size
        while self.held > HELD_BYTES and len(self.batches) > 1:
            self.held -= self.batches.popleft().size

    def lose(self) -> None:
        """Tell the readers that the request was deleted."""
        self.lost = True
        self.wake(more=True)
        self.hush()

    def drain(self) -> None:
        """Tell the readers that the server stops."""
        self.drained = True
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
        """Resume all who listen, or with `now` those who heard nothing for too long.

        They stand in the order in which they began and wait equally long: behind the first one
        that is to stay, nobody is looked at. Thousands may be here, and this is asked often.
        """
        following, resumed = self.next, 0
        if following is None:
            return  # nobody listens before it is known where to go on
        for reader in self.listeners:
            if now is not None and not reader.bored(now, self.moved_at):
                break
            reader.resume(following, idle=now is not None)
            resumed += 1
        del self.listeners[:resumed]

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


CatchUp = Callable[[str, Tail, int], Awaitable[Batch | None]]
"""Reads the store for a reader: request id, its tail, the position."""


class Reader:
    """A position in a log.

    Attributes:
        position: of the next event to read; while the reader listens, that is where its tail is.
        ended: everything up to the terminal event was read; nothing follows.
        sink: who takes new batches while the reader listens.

    """

    __slots__ = (
        "_catch_up",
        "_idle_s",
        "_listening",
        "_request_id",
        "_since",
        "_tail",
        "ended",
        "position",
        "sink",
    )

    def __init__(
        self,
        request_id: str,
        tail: Tail,
        position: int,
        catch_up: CatchUp,
    ) -> None:
        self.position = position
        self.ended = False
        self._catch_up = catch_up
        self._request_id = request_id
        self._tail = tail
        self.sink: Sink = _takes_nothing
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
        while not self._tail.drained:
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
        if tail.next != self.position or tail.ended or tail.lost or tail.drained:
            return False
        self.sink, self._idle_s, self._since = sink, idle_s, time.monotonic()
        self._listening = asyncio.get_running_loop().create_future()
        tail.listeners.append(self)
        try:
            return await self._listening
        except asyncio.CancelledError:
            if self in tail.listeners:
                tail.listeners.remove(self)
                self.position = tail.next
            raise
        finally:
            self._listening = None

    def bored(self, now: float, moved_at: float) -> bool:
        """Tell whether nothing came for too long."""
        return now - max(moved_at, self._since) >= self._idle_s

    def resume(self, position: int, *, idle: bool = False) -> None:
        """Let `listen` return: what is before `position` was heard."""
        if self._listening is not None and not self._listening.done():
            self.position = position
            self._listening.set_result(idle)

    async def _ready(self) -> Batch | None:
        """Return what can be read without waiting for more to happen."""
        tail = self._tail
        if tail.lost:
            raise NotFound(unknown(self._request_id), code="request_not_found")
        if tail.next is not None and self.position >= tail.next:
            return None
        held = tail.find(self.position)
        return held or await self._catch_up(self._request_id, tail, self.position)


def _takes_nothing(_: Batch) -> bool:
    return False


def unknown(request_id: str) -> str:
    """Return what is said of an id that names nothing here."""
    return f"There is no request {request_id}."
