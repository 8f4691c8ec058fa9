"""The twin of the live WebSocket for networks without WebSocket: the same messages as SSE.

What to follow stands in the address. Each frame's id holds all cursors, so that a reconnecting
`EventSource` gets everything exactly once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response
from starlette.requests import Request

from perdure import chores, model
from perdure.core import Core
from perdure.errors import Invalid
from perdure.model import JSON
from perdure.routers.doorbells import Doorbells, doorbells_of
from perdure.routers.given import Count, LastEventId, Running, Who, number
from perdure.routers.live import ATTACHMENTS_MAX, Feed, chat_message
from perdure.routers.problems import responses
from perdure.routers.streams import KEEPALIVE, EventStream, refuse_draining
from perdure.tail import Batch

router = APIRouter(tags=["streams"])

PIECES_MAX = 16
"""Pieces that wait for a slow reader before those who make them wait as well."""

CURSORS = re.compile(r"(\d{1,15})?((?:;[A-Za-z0-9_-]{1,128}:(?:-1|\d{1,15}))*)", re.ASCII)
ATTACHMENT = re.compile(r"([A-Za-z0-9_-]{1,128})(?::(-1|\d{1,15}))?", re.ASCII)


class _Messages(Response):
    """Documents the media type."""

    media_type = "text/event-stream"


@router.get(
    "/api/live",
    operation_id="live",
    response_class=_Messages,
    responses={
        200: {
            "description": "Frames `id: <cursors>`, `data: <message>`; never ends by itself.",
            "content": {
                "text/event-stream": {
                    "examples": {
                        "chat": {
                            "value": 'id: 43\ndata: {"chat":{"id":"chat_1","revision":43}}\n\n'
                        }
                    },
                }
            },
        },
        **responses(400, 422, 503),
    },
)
async def live(
    core: Running,
    person: Who,
    request: Request,
    attach: Annotated[
        list[str] | None,
        Query(
            max_length=ATTACHMENTS_MAX,
            description="Requests to follow: `resp_…` or `resp_…:<after>`; may be repeated.",
        ),
    ] = None,
    since: Annotated[Count, Query(description="Revision of the chats one has.")] = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Follow everything of a person over one connection.

    The same path upgrades to a WebSocket, where the client sends
    `{"op": "attach", "request_id", "after"}` and `{"op": "detach", "request_id"}` instead.

    Messages: `{"op": "hello", "revision"}` first, `{"request_id", "event"}`, `{"chat"}` for each
    change of a chat, `{"request_id", "error"}` when a request cannot be followed, and while nothing
    happens `{"op": "ping"}` (WebSocket) or a comment (SSE).
    """
    refuse_draining(core)
    cursors = _attachments(attach or [])
    revision = None
    if last_event_id:
        revision, seen = _cursors(last_event_id)
        cursors |= {request_id: at for request_id, at in seen.items() if request_id in cursors}
    elif since:
        revision = max(0, number(since, "since"))
    line = FramedLine(core, person.user_id, revision, cursors)
    return EventStream(core, line.pieces(doorbells_of(request)))


def _attachments(given: list[str]) -> dict[str, int]:
    """Return `{request id: after}` of the address."""
    found = {}
    for one in given:
        match = ATTACHMENT.fullmatch(one)
        if match is None:
            raise Invalid("attach must be a request's id, with :<after> if need be.", status=422)
        found[match[1]] = int(match[2] or -1)
    return found


def _cursors(last_event_id: str) -> tuple[int | None, dict[str, int]]:
    """Return the revision and `{request id: after}` of a frame's id."""
    match = CURSORS.fullmatch(last_event_id)
    if match is None:
        raise Invalid("Last-Event-ID is none of this stream's.", code="invalid_cursor")
    pairs = [pair.split(":") for pair in match[2].split(";") if pair]
    return int(match[1]) if match[1] else None, {pair[0]: int(pair[1]) for pair in pairs}


class FramedLine:
    """A feed whose messages become frames, with all cursors in each frame's id."""

    def __init__(
        self, core: Core, user_id: str, since: int | None, cursors: Mapping[str, int]
    ) -> None:
        self.since = since
        self.cursors = dict(cursors)
        self.revision = "" if since is None else str(since)
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue(PIECES_MAX)
        self.feed = Feed(core, user_id, self)
        self._turn = asyncio.Lock()
        """Held from a frame's cursors to its place in the queue: none overtakes another one."""

    async def pieces(self, bells: Doorbells) -> AsyncGenerator[bytes]:
        """Yield what the feed tells; ends by raising what ended it."""
        telling = asyncio.create_task(self._tell(bells))
        try:
            while (piece := await self.queue.get()) is not None:
                yield piece
            await telling
        finally:
            await chores.end([telling])
            await self.feed.close()

    async def _tell(self, bells: Doorbells) -> None:
        try:
            await self.feed.watch(bells, self.since, self.cursors.copy())
        except Exception:
            # Not when it is cancelled: its reader has left, and nobody would ever make room.
            await self.queue.put(None)
            raise

    async def events(self, request_id: str, batch: Batch) -> None:
        """Frame a request's events in one piece."""
        async with self._turn:
            frames = []
            for at, event in enumerate(batch.events, batch.first):
                self.cursors[request_id] = at
                message = b'{"request_id":"%b","event":%b}' % (request_id.encode(), event)
                frames.append(self._frame(message))
            await self.queue.put(b"".join(frames))

    async def chat(self, chat: model.Chat) -> None:
        """Frame a chat."""
        async with self._turn:
            self.revision = str(chat.revision)
            await self.queue.put(self._frame(chat_message(chat)))

    async def message(self, message: JSON) -> None:
        """Frame a message."""
        async with self._turn:
            if "revision" in message:
                self.revision = str(message["revision"])
            await self.queue.put(self._frame(msgspec.json.encode(message)))

    async def ping(self) -> None:
        """Send a comment."""
        await self.queue.put(KEEPALIVE)

    def _frame(self, message: bytes) -> bytes:
        cursors = "".join(f";{request_id}:{at}" for request_id, at in self.cursors.items())
        return b"id: %b\ndata: %b\n\n" % ((self.revision + cursors).encode(), message)
