"""The WebSocket of one request: a snapshot, the events after it, and how it ended.

A refused handshake looks like any failure to a browser, so a refusal is told inside: the socket
opens, one message `{error: <problem>}` comes, and it closes with 4000 + the HTTP status.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any

import msgspec
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from perdure.core import Core
from perdure.errors import Invalid, PerdureError
from perdure.model import JSON, Request
from perdure.routers import problems, views
from perdure.routers.given import core_of, known, number
from perdure.routers.identity import WATCH, person_of
from perdure.routers.streams import patience_s, refuse_draining
from perdure.tail import Drained

router = APIRouter()

RESTART = 1012
"""Close code: the service restarts, come back in a moment. Source: IANA, WebSocket close codes."""

TOO_BIG = 1009
"""Close code of a message over the limit. Source: RFC 6455, 7.4.1."""
MESSAGE_BYTES_MAX = 64 * 1024
"""Of a message that attaches, detaches or cancels: they are short."""

REFUSED = 4000
"""A refusal closes with this plus its HTTP status."""

BEFORE, AFTER = b'{"status":"streaming","event":', b"}"


@router.websocket("/requests/{request_id}/stream")
@router.websocket("/api/requests/{request_id}/stream")
async def stream(websocket: WebSocket, request_id: str) -> None:
    """Follow one request; see the same path's GET."""

    async def follow() -> None:
        core, person = core_of(websocket), await person_of(websocket)
        after = query_number(websocket, "after")
        refuse_draining(core)
        row = await core.store.request(known(request_id), person.user_id)
        viewer = Viewer(core, websocket, row, writes=person.writes)
        await converse(viewer.tell(after), viewer.hear(), *ends(websocket))

    await serve(websocket, follow, request_id)


async def serve(
    websocket: WebSocket, session: Callable[[], Awaitable[None]], request_id: str | None = None
) -> None:
    """Open a socket and run `session` on it; close it as its outcome asks."""
    await websocket.accept()
    try:
        await session()
        await _close(websocket, 1000, "")
    except Drained:
        await _close(websocket, RESTART, "re-attach")
    except PerdureError as error:
        found = problems.problem(error, request_id)
        await refuse(websocket, found)
    except WebSocketDisconnect:
        return


async def refuse(websocket: WebSocket, found: JSON) -> None:
    """Tell a problem and close."""
    try:
        await websocket.send_text(msgspec.json.encode({"error": found}).decode())
    except (WebSocketDisconnect, RuntimeError):
        return
    await _close(websocket, REFUSED + int(found["status"]), str(found["code"]))


async def converse(*sides: Coroutine[Any, Any, None]) -> None:
    """Run all sides of a conversation until the first one ends or fails; raise what it raised."""
    tasks = [asyncio.ensure_future(side) for side in sides]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def ends(websocket: WebSocket) -> list[Coroutine[Any, Any, None]]:
    """Return the side that ends a conversation when the caller's credential does, if it has one."""
    watch: Callable[[], Awaitable[None]] | None = websocket.scope.get(WATCH)

    async def over(watch: Callable[[], Awaitable[None]]) -> None:
        await watch()
        raise Invalid("The session is over. Sign in again.", code="session_over", status=401)

    return [] if watch is None else [over(watch)]


async def send_text(websocket: WebSocket, message: bytes, timeout_s: float) -> None:
    """Send one text frame; a reader that takes nothing for `timeout_s` is given up."""
    try:
        async with asyncio.timeout(timeout_s):
            await websocket.send({"type": "websocket.send", "text": message.decode()})
    except TimeoutError:
        raise WebSocketDisconnect(1006, "the reader takes nothing") from None
    except RuntimeError:
        # Starlette's word for: the other side of the conversation found out first.
        raise WebSocketDisconnect(1006, "the reader is gone") from None


async def messages(websocket: WebSocket) -> AsyncGenerator[JSON]:
    """Yield the client's messages as JSON objects; what is none becomes an empty object.

    One that is too long ends the connection, as the protocol wants it.
    """
    async for text in texts(websocket):
        if len(text) > MESSAGE_BYTES_MAX:
            await _close(websocket, TOO_BIG, "message_too_large")
            raise WebSocketDisconnect(TOO_BIG)
        yield _object(text)


async def texts(websocket: WebSocket) -> AsyncGenerator[str | bytes]:
    """Yield the client's messages as they are, until it leaves."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        yield message.get("text") or message.get("bytes") or ""


def query_number(websocket: WebSocket, name: str) -> int | None:
    """Return a number of the socket's address, None when absent; raises `Invalid`."""
    given = websocket.query_params.get(name)
    return number(given, name) if given else None


class Viewer:
    """One reader of one request."""

    def __init__(
        self, core: Core, websocket: WebSocket, row: Request, *, writes: bool = True
    ) -> None:
        self.writes = writes
        self.core = core
        self.websocket = websocket
        self.row = row
        self.timeout_s = core.settings.stream_write_timeout_s

    async def tell(self, after: int | None) -> None:
        """Send the snapshot (unless a cursor was given), each event, and the end."""
        if after is None:
            now = await views.standing(self.core, self.row)
            if now.status.terminal:
                await self._send(_end(now))
                return
            after = now.number
            await self._send(
                {"status": now.status, "partial_content": now.partial, "sequence_number": after}
            )
        if not self.row.status.terminal or after < self.row.sequence_number:
            await self._events(after)
        row = await self.core.store.request(self.row.id, self.row.user_id)
        await self._send(_end(await views.standing(self.core, row)))

    async def _events(self, after: int) -> None:
        idle_s = patience_s(self.core)
        self.core.metrics.attach("websocket", after)
        following = self.core.tails.follow(self.row.id, after, idle_s=idle_s)
        async with aclosing(following) as batches:
            async for batch in batches:
                for event in batch.events if batch else ():
                    await send_text(self.websocket, BEFORE + event + AFTER, self.timeout_s)

    async def hear(self) -> None:
        """Obey the client: `{"op": "cancel"}`."""
        async for message in messages(self.websocket):
            if message.get("op") == "cancel" and not self.writes:
                refused = Invalid("This token may only read.", code="scope_missing", status=403)
                await self._send({"error": problems.problem(refused, self.row.id)})
            elif message.get("op") == "cancel":
                await self.core.acceptance.cancel(self.row.id, self.row.user_id)
            else:
                error = Invalid('Send {"op": "cancel"}.', code="unknown_op")
                await self._send({"error": problems.problem(error, self.row.id)})

    async def _send(self, message: JSON) -> None:
        await send_text(self.websocket, msgspec.json.encode(message), self.timeout_s)


def _end(now: views.Standing) -> JSON:
    """Return the last message: all that the status route tells, once there is an end."""
    return views.status_shape(now).model_dump(mode="json")


def _object(text: str | bytes) -> JSON:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    try:
        await websocket.close(code, reason)
    except (WebSocketDisconnect, RuntimeError):
        return
