"""Server-sent events of one request: the log from a cursor to its end, and nothing after it.

One `send` per batch, whose bytes were framed once for all readers. Ends whole only after the
terminal event, or when its window (`stream_max_s`) is over; in every other case the body is cut off
without its last chunk, so that no client takes a truncated answer for a whole one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Literal

from fastapi import APIRouter, Response
from starlette.types import Message, Receive, Scope, Send

from perdure.core import Core
from perdure.errors import PerdureError, Unavailable
from perdure.routers.given import After, LastEventId, RequestId, Running, Who, cursor_of
from perdure.routers.problems import responses
from perdure.tail import Batch, Reader

router = APIRouter(tags=["streams"])

KEEPALIVE = b": keep-alive\n\n"
HELLO = b": stream\n\n"
"""Sent at once: some proxies hold the headers back until the first bytes."""

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}
LOOK_S = 1.0
"""How often a busy stream looks whether its reader is still there."""
LAST_WORDS_S = 1.0
WRITE_BUFFER_BYTES = 64 * 1024
"""What a socket may have waiting before its reader has to be waited for."""

Ending = Literal["ended", "window", "cut", "dropped"]
"""`cut`: without a proper end; `dropped`: also without what the reader has not taken yet."""

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Frames `id: <sequence_number>`, `event: <type>`, `data: <event JSON>`.",
        "content": {
            "text/event-stream": {
                "examples": {
                    "delta": {
                        "value": "id: 4\nevent: response.output_text.delta\n"
                        'data: {"type":"response.output_text.delta","sequence_number":4,'
                        '"item_id":"msg_1","output_index":0,"content_index":0,"delta":"Quantum"}\n\n'
                    }
                },
            }
        },
    },
    204: {"description": "The cursor is at the end of a finished log: nothing follows, ever."},
    **responses(400, 404, 410, 422, 503),
}


class _Events(Response):
    """Documents the media type; the streams themselves are `EventStream`."""

    media_type = "text/event-stream"


@router.get("/requests/{request_id}/stream", include_in_schema=False)
@router.get(
    "/api/requests/{request_id}/stream",
    operation_id="streamRequest",
    response_class=_Events,
    responses=RESPONSES,
)
async def stream(
    core: Running,
    person: Who,
    request_id: RequestId,
    after: After = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Follow an answer by server-sent events, from a cursor; disconnecting changes nothing.

    The same path upgrades to a WebSocket: first a snapshot `{status, partial_content,
    sequence_number}`, then `{status: "streaming", event}` for each event, last
    `{status, final_response, trace_id, error}`; then it closes with 1000. With `?after=N` it begins
    with the events after N. `{"op": "cancel"}` stops the answer. A refusal is a message
    `{error: <problem>}` and a close with 4000 + its HTTP status.
    """
    row = await core.store.request(request_id, person.user_id)
    cursor = cursor_of(last_event_id, after)
    refuse_draining(core)
    if row.status.terminal:
        if cursor >= row.sequence_number:
            return Response(status_code=204)
        # What is pruned must be told before the headers are sent: this read raises `Gone`.
        await core.store.read({row.id: cursor}, 1)
    return LogStream(core, row.id, cursor)


def refuse_draining(core: Core) -> None:
    """Raise `Unavailable` when this process is about to stop."""
    if core.draining:
        raise Unavailable("The server is being restarted.", code="draining")


def patience_s(core: Core) -> float:
    """Return how long to wait for events before a keep-alive, so that it is never late.

    A loop that has much to do looks at its clocks late, so the tails are asked a second earlier.
    """
    keepalive_s = core.settings.keepalive_s
    return max(keepalive_s - 1, keepalive_s / 2)


def retry_hint() -> bytes:
    """Return the SSE line that spreads reconnects over some seconds."""
    return b"retry: %d\n\n" % random.randint(500, 3000)  # noqa: S311 no secret


Chunks = Callable[[Batch], bytes]


class Outlet:
    """Where a stream's bytes go, and the clock of who takes them.

    Args:
        scope, send: of the call.
        core: for its settings.
        leaving: done when the reader has gone away.

    """

    __slots__ = (
        "_chunks",
        "_leaving",
        "_look_at",
        "_loop",
        "_patience_s",
        "_send",
        "_transport",
        "deadline",
        "window_end",
    )

    def __init__(self, scope: Scope, send: Send, core: Core, leaving: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        settings = core.settings
        self.window_end = loop.time() + (settings.stream_max_s or float("inf"))
        self.deadline = asyncio.timeout_at(self.window_end)
        self._patience_s = settings.keepalive_s + settings.stream_write_timeout_s
        self._leaving = leaving
        self._look_at = 0.0
        self._loop = loop
        self._send = send
        extensions = scope.get("extensions") or {}
        self._transport: asyncio.WriteTransport | None = extensions.get("perdure.transport")
        self._chunks: Chunks = Batch.http_chunk

    async def put(self, piece: bytes) -> bool:
        """Send a piece, waiting for a slow reader; False: the reader has gone away."""
        now = self._loop.time()
        if now >= self._look_at:
            if self._leaving.done():
                return False
            self.deadline.reschedule(min(now + self._patience_s, self.window_end))
            self._look_at = now + LOOK_S
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        return True

    async def listen(self, reader: Reader, idle_s: float, chunks: Chunks | None = None) -> bool:
        """Let new batches go straight to the socket, as long as it takes them; True: none came.

        `chunks` makes HTTP chunks of a batch; one of its shared frames by default.
        """
        if self._transport is None:
            return False
        self._chunks = chunks or Batch.http_chunk
        self._look_at = 0.0
        self.deadline.reschedule(self.window_end)
        return await reader.listen(self._write, idle_s)

    def _write(self, batch: Batch) -> bool:
        """Write a batch as an HTTP chunk, as the server would; all else is for `put`.

        That is a full socket, and a reader who has gone or whose right has ended.
        """
        transport = self._transport
        if (
            transport is None
            or transport.is_closing()
            or self._leaving.done()
            or transport.get_write_buffer_size() > WRITE_BUFFER_BYTES
        ):
            return False
        transport.write(self._chunks(batch))
        return True

    def abort(self) -> None:
        """Drop the connection with what it has not taken yet; else the server does in the end."""
        if self._transport is not None:
            self._transport.abort()


class EventStream(Response):
    """A response whose body is an event stream.

    A reader that is gone is noticed with the next piece: at the latest after `keepalive_s`. One
    that takes nothing for `stream_write_timeout_s` is cut off.

    Args:
        core: for its settings.
        pieces: the body, at least one piece each `keepalive_s`; ends after the last event.
        headers: beside those of every stream.

    Attributes:
        hints: whether the end of a window is a clean one, behind a `retry:` line. Clients that do
            not re-attach by themselves take a clean end for the whole answer, or choke on the line:
            for them the body is cut off.

    """

    hints = True

    def __init__(
        self,
        core: Core,
        pieces: AsyncGenerator[bytes] | None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(headers={**HEADERS, **(headers or {})})
        del self.headers["content-length"]
        self.core = core
        self.pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head at once, then the pieces; leave the body open when it was cut."""
        await send(
            {"type": "http.response.start", "status": 200, "headers": self.raw_headers},
        )
        await send(_body(HELLO))
        leaving = asyncio.create_task(left(receive))
        outlet = Outlet(scope, send, self.core, leaving)
        try:
            ending = await self._follow(outlet, send)
        finally:
            leaving.cancel()
        if ending == "dropped":
            outlet.abort()
        elif ending != "cut":
            await _last(send, _body(b"", more=False))

    async def _follow(self, outlet: Outlet, send: Send) -> Ending:
        """Send pieces until the end; return how it ended."""
        try:
            async with outlet.deadline:
                return "ended" if await self.fill(outlet) else "dropped"
        except TimeoutError:
            if asyncio.get_running_loop().time() < outlet.window_end:
                return "dropped"
            return await self._hint(send, "window")
        except PerdureError:
            # Draining, the store is away, pruned or deleted meanwhile: re-attaching will tell.
            return await self._hint(send, "cut")

    async def _hint(self, send: Send, ending: Ending) -> Ending:
        if not self.hints:
            return "dropped"
        await _last(send, _body(retry_hint()))
        return ending

    async def fill(self, outlet: Outlet) -> bool:
        """Send the whole body; False: the reader has gone away."""
        if self.pieces is None:
            return True
        async with aclosing(self.pieces) as pieces:
            async for piece in pieces:
                if not await outlet.put(piece):
                    return False
        return True


class LogStream(EventStream):
    """The log of one request after a cursor; a comment where nothing came for `keepalive_s`."""

    def __init__(
        self,
        core: Core,
        request_id: str,
        after: int,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(core, None, headers)
        self.request_id = request_id
        self.after = after

    async def fill(self, outlet: Outlet) -> bool:
        """Read what is behind, then let what is new go straight through."""
        idle_s = patience_s(self.core)
        self.core.metrics.attach("sse", self.after)
        with self.core.tails.reader(self.request_id, self.after) as reader:
            while not reader.ended:
                idle = await outlet.listen(reader, idle_s)
                batch = None if idle else await reader.read(idle_s)
                if not await self._put(outlet, reader, batch):
                    return False
        return True

    async def _put(self, outlet: Outlet, reader: Reader, batch: Batch | None) -> bool:
        if batch is not None:
            return await outlet.put(batch.sse())
        return reader.ended or await outlet.put(KEEPALIVE)


def _body(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def _last(send: Send, message: Message) -> None:
    """Send what ends a stream; a reader that takes nothing does not hold the server up."""
    try:
        async with asyncio.timeout(LAST_WORDS_S):
            await send(message)
    except TimeoutError:
        return


async def left(receive: Receive) -> None:
    """Return when the reader has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass
