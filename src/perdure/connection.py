"""One HTTP connection: uvicorn's, which shows streams its socket and waits for no slow head."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from perdure.settings import Settings

HEAD_BYTES_MAX = 64 * 1024
"""Of a request's line and headers; of what a chunked body has beside bytes and plain frames."""
FRAME_BYTES = 8
"""What a byte of a chunked body may cost beside itself: one a chunk costs five."""
REFUSAL = (
    b"HTTP/1.1 %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 0\r\n"
    b"connection: close\r\n\r\n"
)


class UntilClosed(RequestResponseCycle):
    """An answer to HTTP/1.0, which knows no chunks: where no length is told, its end is the close.

    Source: RFC 9112, 6.1: no transfer coding to a client of HTTP/1.0.
    """

    _of_any_length = False

    async def send(self, message: Any) -> None:
        """Send a part of it as it is, without a frame."""
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            if b"content-length" not in names:
                self.chunked_encoding, self._of_any_length = False, True
        elif self._of_any_length:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


class Connection(HttpToolsProtocol):
    """uvicorn's HTTP connection, with five differences.

    A stream writes each batch straight to its socket: the way through all layers of the application
    costs more than the event itself. And a head that is too long, or does not arrive in time, ends
    the connection: otherwise who sends a byte now and then holds it for ever. And what follows a
    chunked body in the form of headers is none: it would join the list of those that came first,
    past whoever has looked at them. It is counted like a head, and so is whatever else stands
    between the bytes of a body (the extensions of chunks, zeros before their sizes): the limit of
    a body knows nothing of them. And who speaks HTTP/1.0 gets no chunks.
    """

    _head: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _body = False
    """Whether a head is here, and the body's end is not."""
    _begun = False
    """Whether a part of a head has come. What comes outside a call may also be the rest of a body
    that was refused unread: its sender shall find the answer, not a reset."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._head_is_here()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; whatever comes outside a call belongs to a head."""
        if self._head is None and self._quiet():
            self._await_head()
        self._head_bytes += len(data)
        super().data_received(data)
        if (self._begun or self._body) and self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """Wait for the rest of the head, also of one that comes while a call is under way."""
        super().on_message_begin()
        self._begun = True
        if self._head is None:
            self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header of a head; drop what trails a body."""
        if self._begun:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the answer. Only a chunked body has frames of its own, as HTTP/1.1 makes them."""
        self._head_is_here()
        self._begun, self._body = False, True
        self._head_bytes = 0
        if self.parser.get_http_version() == "1.1":
            extensions: dict[str, Any] = {"perdure.transport": self.transport}
            self.scope["extensions"] = extensions
        super().on_headers_complete()
        if self.parser.get_http_version() == "1.0":
            self.cycle.__class__ = UntilClosed  # it begins at the loop's next turn

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body, which is no frame, and may have had one."""
        self._head_bytes -= len(body) * (1 + FRAME_BYTES)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a call: what comes now is another one's."""
        self._body = False
        super().on_message_complete()

    def _await_head(self) -> None:
        settings: Settings = self.config.app.state.core.settings  # type: ignore[union-attr]
        self._head_bytes = 0
        self._head = self.loop.call_later(settings.limits.header_timeout_s, self._too_slow)

    def _head_is_here(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _too_slow(self) -> None:
        self._refuse(b"408 Request Timeout" if self._begun else b"")

    def _refuse(self, status: bytes) -> None:
        """End the connection, with a word where nothing else is being said on it."""
        self._head_is_here()
        if self.transport.is_closing():
            return
        if status and self._quiet():
            self.transport.write(REFUSAL % status)
        self.transport.close()

    def _quiet(self) -> bool:
        """Tell whether no call is being answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete
