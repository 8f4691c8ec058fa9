"""The AI SDK's endpoint: `useChat` with resume, and a stop that keeps what was said.

The chat's id is the client's own; to other people it means nothing. The client's messages are a
copy: the server's tree is the truth, so only the last question is taken from them, or the outputs
of tools that ran in the page. A disconnect never stops anything, since closing a page, `stop()` and
a lost network look alike on the wire.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from perdure import model
from perdure.accept import Question
from perdure.core import Core
from perdure.errors import Invalid, NotFound
from perdure.model import JSON, Chat, Message
from perdure.ports import Accepted, NewMessage
from perdure.routers import ui_shapes as shapes
from perdure.routers import ui_told
from perdure.routers.body import refuse_deep
from perdure.routers.given import Asker, Running, Who
from perdure.routers.on_behalf import OwnToken
from perdure.routers.shapes import storable
from perdure.routers.streams import KEEPALIVE, EventStream, Outlet, patience_s, refuse_draining
from perdure.routers.ui_messages import content_of
from perdure.routers.ui_stream import DONE, Translator
from perdure.routers.ui_told import Telling
from perdure.routers.ui_turns import outputs_of, turn_of
from perdure.routers.v1 import params
from perdure.talk import wrapped
from perdure.user_tokens import UserToken

router = APIRouter(prefix="/api/chat", tags=["ai sdk"])

ID_CHARACTERS_MAX = 255
VERSION, RESETS_SINCE = "x-ai-sdk-version", 7
HEADERS = {"x-vercel-ai-ui-message-stream": "v1", "Cache-Control": "no-cache, no-transform"}


class UIStreamResponse(Response):
    """Documents the media type of the streams."""

    media_type = "text/event-stream"


class UIStream(EventStream):
    """One answer as a UI message stream, always from its start."""

    hints = False

    def __init__(self, core: Core, telling: Telling, call: Request) -> None:
        row = telling.row
        names = {"Perdure-Request-Id": row.id, "Perdure-Chat-Id": row.chat_id}
        super().__init__(core, None, HEADERS | names)
        self.telling, self.row = telling, row
        self.resets = knows_resets(call)

    async def fill(self, outlet: Outlet) -> bool:
        """Translate the log to its end."""
        row, agent = self.row, self.core.agents.get(self.row.agent_id)
        goes_on = agent is not None and agent.recovery == "continue"
        attempt = 1 if goes_on else max(1, row.attempt)  # one that waits has had none
        translator = Translator(
            self.telling.message_id,
            resets=self.resets,
            attempt=attempt,
            own=ui_told.own_tools(row),
            before=self.telling.before,
        )
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


def knows_resets(call: Request) -> bool:
    """Tell whether the client's `ai` can take back a step; older ones have to say how old."""
    major = call.headers.get(VERSION, "").partition(".")[0]
    return not major.isdecimal() or int(major[:9]) >= RESETS_SINCE


@router.post(
    "",
    operation_id="sendChat",
    response_class=UIStreamResponse,
    responses=shapes.refusals(404, 409, 429, 503),
    openapi_extra=shapes.body(shapes.ChatBody),
)
async def send(core: Running, person: Asker, call: Request, own_token: OwnToken) -> Response:
    """Ask, ask again, or go on with outputs of tools; answer with the stream of the answer."""
    body = await _body(call)
    client_id = _client_id(body.get("id"))
    if body.get("trigger") == "regenerate-message":
        accepted = await _regenerate(core, person.user_id, client_id, body, own_token)
    elif _messages(body)[-1].get("role") == "assistant":
        return UIStream(core, await _go_on(core, person.user_id, client_id, body, own_token), call)
    else:
        accepted = await _ask(core, person.user_id, client_id, body, own_token)
    return UIStream(core, await _telling(core, accepted), call)


@router.get(
    "/{client_id}",
    operation_id="getChatMessages",
    response_model=shapes.ChatHistory,
    responses=shapes.refusals(404, 503),
)
async def history(core: Running, person: Who, client_id: shapes.ClientId) -> Response:
    """Return the messages of the active branch, for `useChat({messages})`."""
    chat = await _chat(core, client_id, person.user_id)
    shown = await ui_told.messages(core, chat)
    body = {"id": client_id, "chat_id": chat.id, "messages": shown}
    return Response(msgspec.json.encode(body), media_type="application/json")


@router.get(
    "/{client_id}/stream",
    operation_id="resumeChat",
    response_class=UIStreamResponse,
    responses={204: {"description": "There is nothing to resume."}, **shapes.refusals(404, 503)},
)
async def resume(core: Running, person: Who, client_id: shapes.ClientId, call: Request) -> Response:
    """Tell the answer that runs, or ended just now, from its start; 204 when there is none.

    One that ended between loading the messages and resuming would else be missed: the client has no
    cursor to say how much of it it has seen.
    """
    refuse_draining(core)
    try:
        chat = await _chat(core, client_id, person.user_id)
    except NotFound:
        return Response(status_code=204)
    running = await _unfinished(core, chat)
    row = running[0] if running else await _just_ended(core, chat)
    if row is None:
        return Response(status_code=204)
    return UIStream(core, await ui_told.whole(core, row, chat.current_message_id), call)


@router.post(
    "/{client_id}/stop",
    operation_id="stopChat",
    response_model=shapes.ChatStopped,
    responses=shapes.refusals(404, 503),
)
async def stop(core: Running, person: Who, client_id: shapes.ClientId) -> Response:
    """Stop what runs or waits in a chat; when this returns, what was said is stored."""
    chat = await _chat(core, client_id, person.user_id)
    stopped = await _unfinished(core, chat)
    for row in reversed(stopped):
        await core.acceptance.cancel(row.id, person.user_id)
    body = {"stopped": [row.id for row in stopped]}
    return Response(msgspec.json.encode(body), media_type="application/json")


async def _ask(
    core: Core, user_id: str, client_id: str, body: JSON, own_token: UserToken | None
) -> Accepted:
    messages = _messages(body)
    asked = messages[-1]
    if asked.get("role") != "user":
        raise Invalid("The last message is no question.", code="invalid_messages")
    content, text = content_of(asked)
    chat = await _existing(core, client_id, user_id)
    edits = body.get("messageId") is not None and body["messageId"] == asked.get("id")
    tree = await core.store.messages(chat.id, user_id) if chat else []
    leaf = chat.current_message_id if chat else None
    parent_id = _parent(tree, leaf, messages, edits=edits)
    fingerprint = hashlib.sha256(msgspec.json.encode([text, content])).hexdigest()
    question = Question(
        text=text,
        parts=content,
        user_id=user_id,
        agent_id=_agent_id(body) or (chat.agent_id if chat else None),
        chat_id=chat.id if chat else None,
        client_chat_id=client_id,
        any_agent=True,
        parent_id=parent_id,
        from_root=edits and bool(tree) and parent_id is None,
        # An edited question keeps its id: it is another one only by what it says.
        idempotency_key=_key(client_id, asked.get("id"), fingerprint if edits else ""),
        fingerprint=fingerprint,
        params=_params(body),
        user_token=own_token,
    )
    accepted = await core.acceptance.ask(question)
    if accepted.replayed and edits:
        row = accepted.request
        await core.acceptance.update_chat(row.chat_id, user_id, current_message_id=row.message_id)
    return accepted


async def _telling(core: Core, accepted: Accepted) -> Telling:
    """Return how to tell an answer: a new one is a message by itself, whatever the chat holds."""
    row = accepted.request
    return await ui_told.whole(core, row) if accepted.replayed else Telling(row, row.message_id)


async def _go_on(
    core: Core, user_id: str, client_id: str, body: JSON, own_token: UserToken | None
) -> Telling:
    """Hand the outputs of the page's tools to the agent; tell what it answers, as more of the same.

    Only of calls that an answer made and nobody answered yet. The same ones sent once more are told
    the answer that they have had.
    """
    chat = await _chat(core, client_id, user_id)
    said = _messages(body)[-1]
    tree = await core.store.messages(chat.id, user_id)
    turn = turn_of(tree, str(said.get("id")), chat.current_message_id)
    given = outputs_of(said)
    if not turn or not given:
        raise Invalid("The last message is no question.", code="invalid_messages")
    asked, fresh = _unanswered(turn, given)
    row = await core.store.request(str(asked.request_id), user_id)
    if not fresh:
        return Telling(row, turn[0].id)
    outputs = [NewMessage(model.new_id("msg"), "tool", o["output"], wrapped(o)) for o in fresh]
    question = Question(
        text=outputs[-1].text,
        parts=outputs[-1].parts,
        role="tool",
        before=outputs[:-1],
        user_id=user_id,
        agent_id=_agent_id(body) or row.agent_id,
        chat_id=chat.id,
        any_agent=True,
        parent_id=asked.id,
        follows=row.id,
        idempotency_key=_key(client_id, asked.id, "outputs"),
        params=_params(body) or row.params,
        input=fresh,
        user_token=own_token,
    )
    return Telling((await core.acceptance.ask(question)).request, turn[0].id)


def _unanswered(turn: Sequence[Message], given: JSON) -> tuple[Message, list[JSON]]:
    """Return the answer that made the calls to which these are outputs, and those that are new.

    Where they were given before: the answer that followed, and none.
    """
    answers = [message for message in turn if message.request_id is not None]
    for asked, after in zip(answers[::-1], [None, *answers[:0:-1]], strict=True):
        said = asked.output or ()
        calls = {item["call_id"] for item in said if item["type"] == "function_call"}
        calls -= {item["call_id"] for item in said if item["type"] == "function_call_output"}
        fresh = [given[call_id] for call_id in given if call_id in calls]
        if fresh:
            return (asked, fresh) if after is None else (after, [])
    raise Invalid("No answer here waits for such an output.", code="no_tool_call_found")


async def _regenerate(
    core: Core, user_id: str, client_id: str, body: JSON, own_token: UserToken | None
) -> Accepted:
    """Answer once more the question that `messageId` is or answers, or the last question."""
    chat = await _chat(core, client_id, user_id)
    messages = await core.store.messages(chat.id, user_id)
    tree = {message.id: message for message in messages}
    wanted = body.get("messageId")
    answer = tree.get(wanted if isinstance(wanted, str) else "")
    if answer is not None and answer.request_id is None:
        later = [message for message in tree.values() if message.parent_id == answer.id]
        answer = next((message for message in later if message.request_id), None)
    if answer is None or answer.request_id is None:
        leaf = chat.current_message_id
        answer = next(iter(turn_of(messages, leaf or "", leaf)), None)
    if answer is None or answer.request_id is None:
        raise Invalid("There is no answer to make anew.", code="nothing_to_regenerate")
    return await core.acceptance.again(answer.request_id, user_id, own_token)


def _parent(
    tree: Sequence[Message], leaf: str | None, messages: list[JSON], *, edits: bool
) -> str | None:
    """Return the message to answer to: the end of the one before, where that is one of ours.

    None: the active leaf, for an edited question the root. The client knows questions by ids of its
    own until it loads the chat again; so an edited one follows the last message known by ours.
    """
    known = {message.id: message for message in tree}
    ids = [one if isinstance(one := message.get("id"), str) else "" for message in messages]
    if edits and ids[-1] in known:
        return known[ids[-1]].parent_id
    before = ids[:-1] if edits else ids[-2:-1]
    found = next((one for one in reversed(before) if one in known), None)
    return None if found is None else turn_of(tree, found, leaf)[-1].id


def _agent_id(body: JSON) -> str | None:
    given = body.get("agent_id")
    if given is not None and not isinstance(given, str):
        raise Invalid("agent_id must be an agent's id, a string.", code="unknown_agent")
    return given


def _params(body: JSON) -> JSON:
    """Return the caller's parameters: the tools that its page carries out."""
    return {"tools": tools} if (tools := params.tools_of(body)) else {}


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


async def _just_ended(core: Core, chat: Chat) -> model.Request | None:
    """Return the request of the active answer if it ended a moment ago."""
    rows, _ = await core.store.requests(chat.user_id, chat_id=chat.id, limit=1)
    since = time.time() - core.settings.resume_grace_s
    for row in rows:
        if row.message_id == chat.current_message_id and (row.completed_at or 0) > since:
            return row
    return None


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


def _key(client_id: str, message_id: Any, text: str) -> str | None:
    """Return the idempotency key of a question: the client's own id of its message.

    `text` tells the versions of an edited one apart.
    """
    if not isinstance(message_id, str) or not message_id:
        return None
    named = "\n".join(filter(None, (client_id, message_id, text)))
    return "ai-sdk " + hashlib.sha256(named.encode()).hexdigest()
