"""One line per tab for everything: events of any number of requests, and changes of chats.

`Feed` knows what to tell; a `Line` (WebSocket here, server-sent events in `live_sse`) how.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import Protocol

import msgspec
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from perdure import model
from perdure.core import Core
from perdure.errors import Invalid, PerdureError, TooMany
from perdure.model import JSON
from perdure.routers import problems, sockets
from perdure.routers.chat_shapes import Chat
from perdure.routers.doorbells import Doorbells, doorbells_of
from perdure.routers.given import core_of, known, number
from perdure.routers.identity import person_of
from perdure.routers.streams import patience_s, refuse_draining
from perdure.tail import Batch, Drained

router = APIRouter()

ATTACHMENTS_MAX = 64
"""Requests that one line follows at once."""

CHANGES_MAX = 200


class Line(Protocol):
    """Sends to one client; returns when the transport took it."""

    async def events(self, request_id: str, batch: Batch) -> None:
        """Send a request's events."""
        ...

    async def chat(self, chat: model.Chat) -> None:
        """Send a chat as it is now."""
        ...

    async def message(self, message: JSON) -> None:
        """Send anything else."""
        ...

    async def ping(self) -> None:
        """Show that the line is alive."""
        ...


class Feed:
    """What one client is told over one line, until it ends."""

    def __init__(self, core: Core, user_id: str, line: Line) -> None:
        self.core = core
        self.user_id = user_id
        self.line = line
        self.greeted = asyncio.Event()
        self.followers: dict[str, asyncio.Task[None]] = {}

    async def attach(self, request_id: str, after: int) -> None:
        """Begin to follow a request after an event; attaching again moves the cursor."""
        try:
            self.detach(request_id)
            if len(self.followers) >= ATTACHMENTS_MAX:
                detail = f"One line follows at most {ATTACHMENTS_MAX} requests."
                raise TooMany(detail, code="too_many_attachments")
            await self.core.store.request(known(request_id), self.user_id)
        except PerdureError as error:
            await self.line.message(complaint(error, request_id))
            return
        self.followers[request_id] = asyncio.create_task(self._follow(request_id, after))

    def detach(self, request_id: str) -> None:
        """Stop following a request."""
        follower = self.followers.pop(request_id, None)
        if follower is not None:
            follower.cancel()

    async def close(self) -> None:
        """Stop following everything."""
        followers = list(self.followers.values())
        self.followers.clear()
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)

    async def watch(
        self,
        bells: Doorbells,
        since: int | None,
        attachments: Mapping[str, int] | None = None,
    ) -> None:
        """Greet, attach, and tell each change of the person's chats.

        Args:
            bells: who rings for a change.
            since: after which revision; None = from now on.
            attachments: `{request id: after}` to begin with.

        Raises `Drained` when the server is about to stop.
        """
        keepalive_s = self.core.settings.keepalive_s
        with bells.of(self.user_id) as bell:
            revision = await self.core.store.revision(self.user_id) if since is None else since
            await self.line.message({"op": "hello", "revision": revision})
            self.greeted.set()
            for request_id, after in (attachments or {}).items():
                await self.attach(request_id, after)
            while True:
                bell.clear()
                if self.core.draining:
                    detail = "The server is stopping; come back in a moment."
                    raise Drained(detail)
                revision = await self._tell_changes(revision)
                try:
                    async with asyncio.timeout(keepalive_s):
                        await bell.wait()
                except TimeoutError:
                    await self.line.ping()

    async def _tell_changes(self, revision: int) -> int:
        """Send what changed after `revision`; return the newest one that was sent."""
        while True:
            changed = await self.core.store.chats_since(self.user_id, revision, CHANGES_MAX)
            for chat in changed:
                await self.line.chat(chat)
                revision = chat.revision
            if len(changed) < CHANGES_MAX:
                return revision

    async def _follow(self, request_id: str, after: int) -> None:
        self.core.metrics.attach("live", after)
        following = self.core.tails.follow(request_id, after, idle_s=patience_s(self.core))
        try:
            async with aclosing(following) as batches:
                async for batch in batches:
                    if batch is not None:
                        await self.line.events(request_id, batch)
        except (Drained, WebSocketDisconnect):
            return  # the line itself ends at the same time
        except PerdureError as error:
            with suppress(WebSocketDisconnect, RuntimeError):  # the line may be gone already
                await self.line.message(complaint(error, request_id))
        finally:
            if self.followers.get(request_id) is asyncio.current_task():
                del self.followers[request_id]


class SocketLine:
    """A line over a WebSocket: one text frame per event or message."""

    def __init__(self, websocket: WebSocket, timeout_s: float) -> None:
        self.websocket = websocket
        self.timeout_s = timeout_s

    async def events(self, request_id: str, batch: Batch) -> None:
        """Send one frame per event."""
        before = b'{"request_id":"%b","event":' % request_id.encode()
        for event in batch.events:
            await self._send(before + event + b"}")

    async def chat(self, chat: model.Chat) -> None:
        """Send a chat."""
        await self._send(chat_message(chat))

    async def message(self, message: JSON) -> None:
        """Send a message."""
        await self._send(msgspec.json.encode(message))

    async def ping(self) -> None:
        """Send a message, since pages cannot see a WebSocket's own pings."""
        await self._send(b'{"op":"ping"}')

    async def _send(self, frame: bytes) -> None:
        await sockets.send_text(self.websocket, frame, self.timeout_s)


@router.websocket("/api/live")
async def live(websocket: WebSocket) -> None:
    """Serve one tab; see the same path's GET for the messages."""

    async def session() -> None:
        core, person = core_of(websocket), await person_of(websocket)
        since = sockets.query_number(websocket, "since")
        refuse_draining(core)
        line = SocketLine(websocket, core.settings.stream_write_timeout_s)
        feed = Feed(core, person.user_id, line)
        try:
            await sockets.converse(
                feed.watch(doorbells_of(websocket), since),
                _hear(websocket, feed),
                *sockets.ends(websocket),
            )
        finally:
            await feed.close()

    await sockets.serve(websocket, session)


async def _hear(websocket: WebSocket, feed: Feed) -> None:
    """Obey the client's operations until it leaves; what they tell comes after the greeting."""
    await feed.greeted.wait()
    async for message in sockets.messages(websocket):
        try:
            await _obey(feed, message)
        except PerdureError as error:
            await feed.line.message(complaint(error, None))


async def _obey(feed: Feed, message: Mapping[str, object]) -> None:
    request_id = str(message.get("request_id", ""))
    match message.get("op"):
        case "attach":
            after = message.get("after")
            await feed.attach(request_id, -1 if after is None else number(str(after), "after"))
        case "detach":
            feed.detach(request_id)
        case "ping":
            await feed.line.message({"op": "pong"})
        case "pong":
            pass
        case _:
            raise Invalid("Operations are attach, detach and ping.", code="unknown_op")


def complaint(error: PerdureError, request_id: str | None) -> JSON:
    """Return the message that tells what went wrong, with the request it is about."""
    about = {"request_id": request_id[:128]} if request_id else {}
    return {**about, "error": problems.problem(error, request_id)}


def chat_message(chat: model.Chat) -> bytes:
    """Return the message of a chat's change, encoded."""
    return b'{"chat":%b}' % Chat.of(chat).model_dump_json().encode()
