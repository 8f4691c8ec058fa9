"""Server-sent events of one request: the log from a cursor to its end, and nothing after it.

One `send` per batch, whose bytes were framed once for all readers. Ends whole only after the
terminal event, or when its window (`stream_max_s`) is over; in every other case the body is cut off
without its last chunk, so that no client takes a truncated answer for a whole one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Literal

from fastapi import APIRouter, Response
from starlette.types import Message, Receive, Scope, Send

from perdure.core import Core
from perdure.errors import PerdureError, Unavailable
from perdure.routers.given import After, LastEventId, RequestId, Running, Who, cursor_of
from perdure.routers.problems import responses

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

Ending = Literal["ended", "window", "cut"]

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
    pieces = framed(core, row.id, cursor)
    if not row.status.terminal:
        return EventStream(core, pieces)
    if cursor >= row.sequence_number:
        return Response(status_code=204)
    # A finished log answers at once: what is pruned must be told before the headers are.
    first = await anext(pieces, b"")
    return EventStream(core, _again(first, pieces))


def refuse_draining(core: Core) -> None:
    """Raise `Unavailable` when this process is about to stop."""
    if core.draining:
        raise Unavailable("The server is being restarted.", code="draining")


async def framed(core: Core, request_id: str, after: int) -> AsyncGenerator[bytes]:
    """Yield a request's batches after a cursor as they were framed for all readers.

    A comment comes where nothing else did for `keepalive_s`.
    """
    idle_s = patience_s(core)
    with core.tails.reader(request_id, after) as reader:
        while not reader.ended:
            batch = await reader.read(idle_s)
            if batch is not None:
                yield batch.sse()
            elif not reader.ended:
                yield KEEPALIVE


def patience_s(core: Core) -> float:
    """Return how long to wait for events before a keep-alive, so that it is never late.

    The tails look at their clocks once a second, so they are asked for a second earlier.
    """
    keepalive_s = core.settings.keepalive_s
    return max(keepalive_s - 1, keepalive_s / 2)


async def _again(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Yield a piece that was read ahead, then the others."""
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


def retry_hint() -> bytes:
    """Return the SSE line that spreads reconnects over some seconds."""
    return b"retry: %d\n\n" % random.randint(500, 3000)  # noqa: S311 no secret


class EventStream(Response):
    """A response whose body is an event stream.

    A reader that is gone is noticed with the next piece: at the latest after `keepalive_s`. One
    that takes nothing for `stream_write_timeout_s` is cut off.

    Args:
        core: for its settings.
        pieces: the body, at least one piece each `keepalive_s`; ends after the last event.
        headers: beside those of every stream.

    """

    def __init__(
        self,
        core: Core,
        pieces: AsyncGenerator[bytes],
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
        leaving = asyncio.create_task(_left(receive))
        try:
            ending = await self._follow(send, leaving)
        finally:
            leaving.cancel()
        if ending == "cut":
            _abort(scope)
        else:
            await _last(send, _body(b"", more=False))

    async def _follow(self, send: Send, leaving: asyncio.Task[None]) -> Ending:
        """Send pieces until the end; return how it ended."""
        loop = asyncio.get_running_loop()
        window_s = self.core.settings.stream_max_s
        window_end = loop.time() + window_s if window_s else float("inf")
        try:
            async with asyncio.timeout_at(window_end) as deadline:
                return await self._send_all(send, leaving, deadline, window_end)
        except TimeoutError:
            if loop.time() < window_end:
                return "cut"
            await _last(send, _body(retry_hint()))
            return "window"
        except PerdureError:
            # Draining, the store is away, pruned or deleted meanwhile: re-attaching will tell.
            await _last(send, _body(retry_hint()))
            return "cut"

    async def _send_all(
        self,
        send: Send,
        leaving: asyncio.Task[None],
        deadline: asyncio.Timeout,
        window_end: float,
    ) -> Ending:
        loop = asyncio.get_running_loop()
        settings = self.core.settings
        patience_s = settings.keepalive_s + settings.stream_write_timeout_s
        look_at = 0.0
        async with aclosing(self.pieces) as pieces:
            async for piece in pieces:
                now = loop.time()
                if now >= look_at:
                    if leaving.done():
                        return "cut"
                    deadline.reschedule(min(now + patience_s, window_end))
                    look_at = now + LOOK_S
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        return "ended"


def _body(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def _last(send: Send, message: Message) -> None:
    """Send what ends a stream; a reader that takes nothing does not hold the server up."""
    try:
        async with asyncio.timeout(LAST_WORDS_S):
            await send(message)
    except TimeoutError:
        return


async def _left(receive: Receive) -> None:
    """Return when the reader has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _abort(scope: Scope) -> None:
    """Drop the connection now where the server lets us; else it does when the app returns."""
    abort = scope.get("extensions", {}).get("perdure.abort")
    if abort is not None:
        abort()
