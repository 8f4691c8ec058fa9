"""Baseline A: a bare ASGI app and a hand-written HTTP client; the practical limit of one process.

It copies the upstream's bytes to the reader and keeps nothing. No framework, no task per chunk.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

Message = MutableMapping[str, Any]
UPSTREAM = urlsplit(os.environ["BENCH_UPSTREAM"])
BUFFER_BYTES_MAX = 256 * 1024
_idle: list["Upstream"] = []


class Upstream(asyncio.Protocol):
    """One keep-alive connection to the upstream, one response at a time."""

    def __init__(self) -> None:
        """Start without a connection."""
        self._parts: list[bytes] = []
        self._size = 0
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self.status = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the response that was under way, and never use the connection again."""
        self._ended = True
        if self in _idle:
            _idle.remove(self)
        self._wake()

    def data_received(self, data: bytes) -> None:
        """Parse what came; the callbacks below collect it."""
        self._parser.feed_data(data)
        self._wake()

    def on_headers_complete(self) -> None:
        """Note the status."""
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Collect a part of the body; pause the upstream when the reader is behind."""
        self._parts.append(body)
        self._size += len(body)
        if self._size > BUFFER_BYTES_MAX:
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        """Note the end of the body."""
        self._ended = True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def send(self, body: bytes) -> None:
        """Write the request."""
        self._parser = httptools.HttpResponseParser(self)
        self._ended = False
        self.status = 0
        self.transport.write(
            b"POST %s/chat/completions HTTP/1.1\r\nHost: %s\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (UPSTREAM.path.encode(), UPSTREAM.netloc.encode(), len(body), body)
        )

    async def read(self) -> bytes:
        """Return everything that came since the last call, or nothing at the end of the body."""
        while not self._parts and not self._ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data = b"".join(self._parts)
        self._parts.clear()
        if self._size > BUFFER_BYTES_MAX:
            self.transport.resume_reading()
        self._size = 0
        return data

    def release(self) -> None:
        """Keep the connection for the next request, or close it in mid-answer."""
        if self._ended and not self.transport.is_closing():
            _idle.append(self)
        else:
            self.transport.close()


async def _connection() -> Upstream:
    if _idle:
        return _idle.pop()
    loop, host, port = asyncio.get_running_loop(), UPSTREAM.hostname or "", UPSTREAM.port or 80
    _, upstream = await loop.create_connection(Upstream, host, port)
    return upstream


async def _request_body(receive: Callable[[], Awaitable[Message]]) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Pass one chat completion through."""
    if scope["type"] != "http":
        return
    body = await _request_body(receive)
    upstream = await _connection()
    try:
        upstream.send(body)
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while data := await upstream.read():
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        upstream.release()
