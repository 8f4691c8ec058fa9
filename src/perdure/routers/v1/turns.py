"""WebSocket mode of `/v1/responses`: turns on one connection, one after another.

A turn begins with a `response.create` message and is told by the events of its response, the same
as its stream, or by one `error`. Leaving stops only what is not stored. Of those responses the
latest can be followed on its own connection and nowhere else. Source: Open Responses 2026-04-24,
WebSocket transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from fastapi import APIRouter, WebSocket

from perdure import model
from perdure.core import Core
from perdure.errors import Invalid, PerdureError, TooMany
from perdure.model import JSON, Status
from perdure.routers import dialects, problems, sockets, turnstile
from perdure.routers.given import core_of
from perdure.routers.identity import person_of
from perdure.routers.streams import patience_s, refuse_draining
from perdure.routers.v1 import items, params
from perdure.routers.v1.creating import Kept, create, talk_of
from perdure.routers.v1.following import discard
from perdure.tail import Drained

router = APIRouter(prefix="/v1", tags=["openai"])

WAITING_MAX = 16
"""Turns that one connection may have waiting."""
TRANSPORT = frozenset({"type", "stream", "stream_options", "background"})
"""Keys that say how HTTP answers; they mean nothing here."""


@router.websocket("/responses")
async def connect(websocket: WebSocket) -> None:
    """Take turns until the client leaves."""
    core = core_of(websocket)
    try:
        person = await person_of(websocket)
        if not person.writes:
            raise Invalid("This token may only read.", code="scope_missing", status=403)
        refuse_draining(core)
    except PerdureError as error:
        await websocket.send_denial_response(problems.response(error, path="/v1/responses"))
        return
    connection = Connection(core, websocket, person.user_id)
    await sockets.serve(websocket, connection.run)


class Connection:
    """One client's turns."""

    age_max_s = 3600.0
    """Age at which a connection ends. Source: Open Responses, WebSocket transport."""

    def __init__(self, core: Core, websocket: WebSocket, user_id: str) -> None:
        self._core = core
        self._websocket = websocket
        self._user_id = user_id
        self._waiting: asyncio.Queue[str | bytes] = asyncio.Queue(WAITING_MAX)
        self._kept: Kept | None = None

    async def run(self) -> None:
        """Hear and answer until the client leaves, or the connection is too old."""
        try:
            async with asyncio.timeout(self.age_max_s):
                sides = (self._hear(), self._answer(), *sockets.ends(self._websocket))
                await sockets.converse(*sides)
        except TimeoutError:
            minutes = self.age_max_s / 60
            detail = f"A connection lasts {minutes:g} minutes; open a new one and go on there."
            await self._complain(Invalid(detail, code="websocket_connection_limit_reached"))

    async def _hear(self) -> None:
        async for text in sockets.texts(self._websocket):
            if self._waiting.full():
                detail = f"{WAITING_MAX} turns are waiting on this connection; wait for an end."
                await self._complain(TooMany(detail, code="too_many_turns"))
            else:
                self._waiting.put_nowait(text)

    async def _answer(self) -> None:
        async with aclosing(self._turns()) as turns:
            async for row in turns:
                try:
                    await self._tell(row)
                finally:
                    if row.transient:
                        await discard(self._core, row)

    async def _turns(self) -> AsyncGenerator[model.Request]:
        """Yield what the client's messages made; refuse those that make nothing."""
        while True:
            body: JSON = {}
            text = await self._waiting.get()
            try:
                body = _checked(text, self._core.settings.limits.body_bytes_max)
                wish = params.read(body)
                await turnstile.count(self._websocket, self._user_id, "questions")
                accepted = await create(self._core, self._user_id, wish, kept=self._kept)
            except PerdureError as error:
                if self._kept and body.get("previous_response_id") == self._kept.response_id:
                    self._kept = None  # as the specification wants it
                await self._complain(error)
            else:
                yield accepted.request

    async def _tell(self, row: model.Request) -> None:
        core = self._core
        following = core.tails.follow(row.id, -1, idle_s=patience_s(core))
        try:
            async with aclosing(following) as batches:
                async for batch in batches:
                    for event in batch.events if batch else ():
                        await self._send(event)
            if row.transient:
                await self._keep(await core.store.request(row.id, row.user_id))
        except Drained:
            raise
        except PerdureError as error:
            await self._complain(error)

    async def _keep(self, row: model.Request) -> None:
        """Remember a talk that is about to be removed; a failed one changes nothing."""
        if row.status is Status.COMPLETED:
            self._kept = Kept(row.id, await talk_of(self._core, row))

    async def _complain(self, error: PerdureError) -> None:
        found = problems.problem(error)
        told = {"type": "error", "status": found["status"], "error": dialects.openai_error(found)}
        await self._send(msgspec.json.encode(told))

    async def _send(self, message: bytes) -> None:
        timeout_s = self._core.settings.stream_write_timeout_s
        await sockets.send_text(self._websocket, message, timeout_s)


def _checked(text: str | bytes, bytes_max: int) -> JSON:
    """Return a message's body as that of a call; raises `Invalid`."""
    given = text.encode() if isinstance(text, str) else text
    if len(given) > bytes_max:
        detail = f"The message is larger than limits.body_bytes_max = {bytes_max}."
        raise Invalid(detail, code="body_too_large", status=413)
    body = params.decode(given)
    if body.get("type") != "response.create":
        detail = "A message must be of the type 'response.create'."
        raise Invalid(detail, code="invalid_value", param="type")
    if body.get("generate") is False:
        detail = "'generate' cannot be false: there is nothing to warm up here."
        raise Invalid(detail, code="unsupported_parameter", param="generate")
    if body.get("model") is None:
        items.missing("model")
    return {key: value for key, value in body.items() if key not in TRANSPORT}
