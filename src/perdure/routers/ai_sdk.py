"""The AI SDK's endpoint: `useChat` with resume, and a stop that keeps what was said.

The chat's id is the client's own; to other people it means nothing. The client's messages are a
copy: the server's tree is the truth, so only the last question is taken from them. A disconnect
never stops anything, since closing a page, `stop()` and a lost network look alike on the wire.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from perdure import model
from perdure.accept import Question
from perdure.core import Core
from perdure.errors import Invalid, NotFound
from perdure.model import JSON, Chat, Message
from perdure.ports import Accepted
from perdure.routers.body import refuse_deep
from perdure.routers.branches import branch
from perdure.routers.given import Asker, Running, Who
from perdure.routers.shapes import storable
from perdure.routers.streams import KEEPALIVE, EventStream, Outlet, patience_s, refuse_draining
from perdure.routers.ui_messages import content_of, ui_message
from perdure.routers.ui_stream import DONE, Translator

router = APIRouter(prefix="/api/chat", include_in_schema=False)

ID_CHARACTERS_MAX = 255
HEADERS = {"x-vercel-ai-ui-message-stream": "v1", "Cache-Control": "no-cache, no-transform"}


class UIStream(EventStream):
    """One answer as a UI message stream, always from its start."""

    hints = False

    def __init__(self, core: Core, row: model.Request) -> None:
        names = {"Perdure-Request-Id": row.id, "Perdure-Chat-Id": row.chat_id}
        super().__init__(core, None, HEADERS | names)
        self.row = row

    async def fill(self, outlet: Outlet) -> bool:
        """Translate the log to its end."""
        translator = Translator(self.row.message_id)
        idle_s = patience_s(self.core)
        self.core.metrics.attach("ai_sdk", -1)
        with self.core.tails.reader(self.row.id, -1) as reader:
            while not reader.ended:
                batch = await reader.read(idle_s)
                events = batch.events if batch else ()
                told = b"".join(map(translator.frames, events)) or KEEPALIVE
                if not await outlet.put(told):
                    return False
        return await outlet.put(DONE)


@router.post("")
async def send(core: Running, person: Asker, call: Request) -> Response:
    """Ask, or ask again; answer with the stream of the answer."""
    body = await _body(call)
    client_id = _client_id(body.get("id"))
    if body.get("trigger") == "regenerate-message":
        accepted = await _regenerate(core, person.user_id, client_id, body)
    else:
        accepted = await _ask(core, person.user_id, client_id, body)
    return UIStream(core, accepted.request)


@router.get("/{client_id}")
async def history(core: Running, person: Who, client_id: str) -> Response:
    """Return the messages of the active branch, for `useChat({messages})`."""
    chat = await _chat(core, client_id, person.user_id)
    tree = await core.store.messages(chat.id, person.user_id)
    shown = [
        ui_message(message, await _partial(core, chat, message))
        for message in branch(tree, chat.current_message_id)
    ]
    body = {"id": client_id, "chat_id": chat.id, "messages": shown}
    return Response(msgspec.json.encode(body), media_type="application/json")


@router.get("/{client_id}/stream")
async def resume(core: Running, person: Who, client_id: str) -> Response:
    """Tell the running answer of a chat again from its start; 204 when none is running."""
    refuse_draining(core)
    try:
        chat = await _chat(core, client_id, person.user_id)
    except NotFound:
        return Response(status_code=204)
    running = await _unfinished(core, chat)
    return UIStream(core, running[0]) if running else Response(status_code=204)


@router.post("/{client_id}/stop")
async def stop(core: Running, person: Who, client_id: str) -> Response:
    """Stop what runs or waits in a chat; when this returns, what was said is stored."""
    chat = await _chat(core, client_id, person.user_id)
    stopped = await _unfinished(core, chat)
    for row in reversed(stopped):
        await core.acceptance.cancel(row.id, person.user_id)
    body = {"stopped": [row.id for row in stopped]}
    return Response(msgspec.json.encode(body), media_type="application/json")


async def _ask(core: Core, user_id: str, client_id: str, body: JSON) -> Accepted:
    messages = _messages(body)
    asked = messages[-1]
    if asked.get("role") != "user":
        raise Invalid("The last message is no question.", code="invalid_messages")
    content, text = content_of(asked)
    chat = await _existing(core, client_id, user_id)
    before = messages[-2].get("id") if len(messages) > 1 else None
    question = Question(
        text=text,
        parts=content,
        user_id=user_id,
        agent_id=body.get("agent_id") or (chat.agent_id if chat else None),
        chat_id=chat.id if chat else None,
        client_chat_id=client_id,
        any_agent=True,
        parent_id=await _parent(core, chat, before),
        idempotency_key=_key(client_id, asked.get("id")),
        fingerprint=hashlib.sha256(msgspec.json.encode([text, content])).hexdigest(),
    )
    return await core.acceptance.ask(question)


async def _regenerate(core: Core, user_id: str, client_id: str, body: JSON) -> Accepted:
    """Answer once more the question before `messageId`, or the last question."""
    chat = await _chat(core, client_id, user_id)
    tree = {message.id: message for message in await core.store.messages(chat.id, user_id)}
    wanted = body.get("messageId")
    answer = tree.get(wanted if isinstance(wanted, str) else "")
    if answer is None or answer.request_id is None:
        answer = tree.get(chat.current_message_id or "")
    if answer is None or answer.request_id is None:
        raise Invalid("There is no answer to make anew.", code="nothing_to_regenerate")
    return await core.acceptance.again(answer.request_id, user_id)


async def _parent(core: Core, chat: Chat | None, before: Any) -> str | None:
    """Return the message to answer to: the one before the question, where it is one of ours."""
    if chat is None or not isinstance(before, str):
        return None
    tree = await core.store.messages(chat.id, chat.user_id)
    return before if any(message.id == before for message in tree) else None


async def _chat(core: Core, client_id: str, user_id: str) -> Chat:
    try:
        return await core.store.chat_of_client(_client_id(client_id), user_id)
    except NotFound:
        raise NotFound("There is no such chat.", code="chat_not_found") from None


async def _existing(core: Core, client_id: str, user_id: str) -> Chat | None:
    try:
        return await core.store.chat_of_client(client_id, user_id)
    except NotFound:
        return None


async def _unfinished(core: Core, chat: Chat) -> list[model.Request]:
    """Return what runs and waits in a chat, oldest first."""
    rows, _ = await core.store.requests(chat.user_id, chat_id=chat.id, limit=200)
    return [row for row in reversed(rows) if not row.status.terminal]


async def _partial(core: Core, chat: Chat, message: Message) -> list[JSON] | None:
    """Return the items so far of an answer in progress."""
    if message.request_id is None or message.output is not None:
        return message.output
    try:
        row = await core.store.request(message.request_id, chat.user_id)
    except NotFound:
        return None
    return row.output or (await core.tails.snapshot(row.id)).output


async def _body(call: Request) -> JSON:
    given = await call.body()
    refuse_deep(given)
    try:
        body = msgspec.json.decode(given)
        storable(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Invalid("The body cannot be read as JSON.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise Invalid("The body must be a JSON object.", code="invalid_json")
    return body


def _messages(body: JSON) -> list[JSON]:
    given = body.get("messages")
    if not isinstance(given, list) or not given or not all(isinstance(m, dict) for m in given):
        raise Invalid("messages must be a list with a question.", code="invalid_messages")
    return given


def _client_id(given: Any) -> str:
    if not isinstance(given, str) or not 0 < len(given) <= ID_CHARACTERS_MAX:
        raise Invalid("id must be the chat's id, a string.", code="invalid_chat_id")
    return given


def _key(client_id: str, message_id: Any) -> str | None:
    """Return the idempotency key of a question: the client's own id of its message."""
    if not isinstance(message_id, str) or not message_id:
        return None
    return "ai-sdk " + hashlib.sha256(f"{client_id}\n{message_id}".encode()).hexdigest()
