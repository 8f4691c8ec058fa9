"""One connection to a server, one exchange after the other. No task of its own, no timers.

A read from the socket costs one parse and at most one wake-up; none while somebody listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import cast

import httptools

from perdure.http.address import HttpError

HEADERS_MAX = 200
HEAD_BYTES_MAX = 64 * 1024
BUFFER_BYTES_MAX = 256 * 1024
SWITCHING = 101
FINAL = 200


class ConnectFailed(HttpError):
    """No connection could be made; nothing was sent."""

    code = "connect_failed"
    retryable = True


class ResponseBroken(HttpError):
    """The connection ended before the response did, or the response is not HTTP."""

    code = "response_broken"
    retryable = True


class Headers(Mapping[str, str]):
    """Header values by name in any case; repeated ones are joined by commas."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def add(self, name: str, value: str) -> None:
        """Keep one header line."""
        name = name.lower()
        before = self._values.get(name)
        self._values[name] = value if before is None else f"{before}, {value}"

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


Sink = Callable[[bytes], bool]
"""Takes the next bytes of a body; returns whether it wants more of them."""


class Connection(asyncio.Protocol):
    """A socket and the state of the exchange on it.

    Args:
        name: `host:port`, for errors.
        on_lost: called with the connection when its socket is gone.

    """

    __slots__ = (
        "_barren",
        "_head",
        "_lines",
        "_loop",
        "_on_ended",
        "_on_lost",
        "_parser",
        "_paused",
        "_pieces",
        "_sink",
        "_size",
        "_waiter",
        "ended",
        "error",
        "headers",
        "idle_since",
        "keep_alive",
        "name",
        "on_body",
        "status",
        "transport",
        "untouched",
    )

    transport: asyncio.Transport

    def __init__(self, name: str, on_lost: Callable[[Connection], None]) -> None:
        self.name = name
        self.idle_since = 0.0
        self._on_lost = on_lost
        self._on_ended: Callable[[Connection], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Sink | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._loop = asyncio.get_running_loop()
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers = Headers()
        self.untouched = True  # not one byte of the response has come
        self.ended = False
        self.keep_alive = False
        self.error: ResponseBroken | None = None
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append  # what the parser calls with each piece of body
        self._size = 0  # bytes that came since somebody took any, where nobody listens
        self._barren = 0  # bytes since the last piece of body
        self._lines = 0
        self._head = False
        self._paused = False

    # What the client does with it.

    async def exchange(self, message: bytes) -> None:
        """Send a request and wait for the head of its response. Raises `ResponseBroken`."""
        self._reset()
        self._parser = httptools.HttpResponseParser(self)
        if self.transport.is_closing():
            self._fail("closed the connection")
        else:
            self.transport.write(message)
        while not self._head and self.error is None:
            await self._wait()
        if self.error is not None:
            raise self.error

    async def receive(self) -> bytes:
        """Return what has come of the body since the last call, waiting for some; b"" = the end.

        Raises `ResponseBroken` when the rest will never come.
        """
        while not self._pieces:
            if self.error is not None:
                raise self.error
            if self.ended:
                return b""
            await self._wait()
        return self._take()

    async def peek(self) -> bytes:
        """Return what lies there of the body, waiting for its first bytes; all is left to be read.

        b"" = it ended, or broke, before any came.
        """
        while not (self._pieces or self.ended or self.error is not None):
            await self._wait()
        return b"".join(self._pieces)

    async def listen(self, sink: Sink) -> None:
        """Give the body to `sink` as it arrives, without resuming the caller.

        Returns at once if something has come already; else when `sink` wants no more, the body has
        ended or broke: `receive` tells which. Raises what `sink` raises.
        """
        if self._pieces or self.ended or self.error is not None:
            return
        self._sink = sink
        try:
            await self._wait()
        finally:
            self._sink = None

    def drain(self, on_ended: Callable[[Connection], None]) -> None:
        """Let the rest of the body pass unread; call `on_ended` once it is over."""
        self._pieces.clear()
        self._on_ended = on_ended
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def rest(self, now: float) -> None:
        """Be idle: any byte from now on, or the end of the socket, makes it useless."""
        self.idle_since = now
        self._parser = None
        self._on_ended = None
        self._pieces.clear()

    def abort(self) -> None:
        """Close at once, whatever is under way: the server sees the end of its response now."""
        self._on_ended = None
        self.transport.abort()

    def _take(self) -> bytes:
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        return data

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self, error: Exception | None = None) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)

    def _fail(self, reason: str) -> None:
        if self.error is None and not self.ended:
            self.error = ResponseBroken(f"{self.name} {reason}.")
        self._wake()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came, give it to who listens; stop reading while too much of it waits."""
        parser = self._parser
        if parser is None:
            self.abort()  # nobody asked: the next answer would be taken for this one
            return
        self.untouched = False
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"sent what is not HTTP ({_cause(error)})")
            self.transport.abort()
            return
        pieces, sink = self._pieces, self._sink
        if pieces and sink is not None:
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            self._barren = 0
            try:
                if sink(body) and not self.ended:
                    return
            except Exception as error:  # noqa: BLE001 - it is raised where the caller waits
                self._wake(error)
            self._sink = None
            self._wake()
        else:
            self._keep(len(data))

    def _keep(self, size: int) -> None:
        """Let what came wait until somebody takes it, within bounds."""
        if self._on_ended is not None:
            self._pieces.clear()
        elif self._pieces:
            self._barren = 0
            self._size += size
            if self._size > BUFFER_BYTES_MAX and not self._paused:
                self._paused = True
                self.transport.pause_reading()
        else:
            self._barren += size
            if self._barren > HEAD_BYTES_MAX:
                self._fail(f"sent more than {HEAD_BYTES_MAX} bytes of headers")
                self.transport.abort()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """End a body that lasts until the end of the connection; break every other one."""
        lasts = "content-length" not in self.headers and "transfer-encoding" not in self.headers
        if self._head and lasts and exc is None and self.error is None:
            self.ended = True
        where = "in the middle of the response" if self._head else "without a response"
        self._fail(f"closed the connection {where}")
        self._on_lost(self)

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header line, and bear only so many; trailers are let go."""
        self._lines += 1
        if self._lines > HEADERS_MAX:
            raise ResponseBroken(f"more than {HEADERS_MAX} header lines")
        if not self._head:
            self.headers.add(name.decode("latin-1"), value.decode("latin-1").strip())

    def on_headers_complete(self) -> None:
        """Note the status; an interim one (1xx) is passed over."""
        assert self._parser is not None  # noqa: S101 - the parser itself calls
        status = self._parser.get_status_code()
        if status == SWITCHING:
            raise ResponseBroken("status 101, which was not asked for")
        if status < FINAL:
            self.headers = Headers()
            return
        self.status = status
        self._head = True
        self.keep_alive = self._parser.should_keep_alive()

    def on_message_begin(self) -> None:
        """Notice a response that nobody asked for behind the one we got."""
        if self.ended:
            self.keep_alive = False
            raise ResponseBroken("more than one response")

    def on_message_complete(self) -> None:
        """Note the proper end of the body."""
        if self._head:
            self.ended = True
            if self._on_ended is not None:
                self._on_ended(self)


def _cause(error: httptools.HttpParserError) -> str:
    cause = error.__context__
    return cause.detail if isinstance(cause, ResponseBroken) else str(error).strip("b'\"")
