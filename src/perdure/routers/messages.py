"""A chat's message tree, its export, and the questions in it that still wait."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Body, Query, Response

from perdure import model
from perdure.core import Core
from perdure.errors import NotFound
from perdure.model import Request
from perdure.routers import chat_shapes, shapes, views
from perdure.routers.body import JsonRoute
from perdure.routers.branches import branch
from perdure.routers.given import ChatId, MessageId, Running, Who
from perdure.routers.problems import responses
from perdure.steering import STEERING

router = APIRouter(prefix="/api", tags=["messages"], route_class=JsonRoute)

PAGE = 200


@router.get(
    "/chats/{chat_id}/messages",
    operation_id="listMessages",
    response_model=chat_shapes.MessageTree,
    responses=responses(404, 503),
)
async def list_messages(core: Running, person: Who, chat_id: ChatId) -> Response:
    """Return all messages of a chat, with answers in progress as far as they are."""
    chat = await core.store.chat(chat_id, person.user_id)
    messages = await _messages(core, chat)
    tree = chat_shapes.MessageTree(
        chat_id=chat.id,
        current_message_id=chat.current_message_id,
        branch=_ids(branch(messages, chat.current_message_id)),
        messages=messages,
    )
    return shapes.answer(tree)


@router.get(
    "/chats/{chat_id}/export",
    operation_id="exportChat",
    response_model=chat_shapes.ChatExport,
    responses={
        200: {
            "description": "The chat as a file to keep.",
            "content": {"text/markdown": {"schema": {"type": "string"}}},
            "headers": {"Content-Disposition": {"schema": {"type": "string"}}},
        },
        **responses(404, 422, 503),
    },
)
async def export(
    core: Running,
    person: Who,
    chat_id: ChatId,
    form: Annotated[
        Literal["md", "json"],
        Query(alias="format", description="`md`: the active branch to read; `json`: everything."),
    ] = "md",
) -> Response:
    """Download a chat."""
    chat = await core.store.chat(chat_id, person.user_id)
    messages = await _messages(core, chat)
    line = branch(messages, chat.current_message_id)
    headers = {"Content-Disposition": _attachment(f"{chat.title}.{form}")}
    if form == "json":
        shown = chat_shapes.Chat.of(chat)
        whole = chat_shapes.ChatExport(chat=shown, branch=_ids(line), messages=messages)
        return shapes.answer(whole, headers=headers)
    headers["Cache-Control"] = "no-store"
    text = _markdown(chat, line)
    return Response(text, headers=headers, media_type="text/markdown; charset=utf-8")


@router.patch(
    "/messages/{message_id}",
    operation_id="editMessage",
    response_model=chat_shapes.Message,
    responses=responses(400, 404, 409, 413, 422, 503),
)
async def edit_message(
    core: Running,
    person: Who,
    message_id: MessageId,
    body: Annotated[chat_shapes.MessageText, Body()],
) -> Response:
    """Change a question that still waits; a sent one is edited by asking with its `parent_id`."""
    message = await core.acceptance.edit_message(message_id, person.user_id, body.content)
    chat = await core.store.chat(message.chat_id, person.user_id)
    rows = await _requests(core, chat)
    return shapes.answer(await _shown(core, message, rows.get(message.id)))


@router.delete(
    "/messages/{message_id}",
    operation_id="removeMessage",
    status_code=204,
    responses=responses(404, 409, 503),
)
async def remove_message(core: Running, person: Who, message_id: MessageId) -> Response:
    """Withdraw a question that still waits."""
    await core.acceptance.remove_message(message_id, person.user_id)
    return Response(status_code=204)


async def _messages(core: Core, chat: model.Chat) -> list[chat_shapes.Message]:
    """Return a chat's messages, each with how its request stands.

    Requests first: one that ends in between is seen ended, and its message is read after that.
    """
    rows = await _requests(core, chat)
    messages = await core.store.messages(chat.id, chat.user_id)
    shown = []
    for message in messages:
        row = rows.get(message.id)
        if row is None and message.request_id:
            row = await _request(core, message.request_id, chat.user_id)
        shown.append(await _shown(core, message, row))
    return shown


async def _requests(core: Core, chat: model.Chat) -> dict[str, Request]:
    """Return the chat's requests by the answer's and by the question's message id, newest wins."""
    found: dict[str, Request] = {}
    cursor: str | None = None
    while True:
        rows, cursor = await core.store.requests(
            chat.user_id, chat_id=chat.id, limit=PAGE, cursor=cursor
        )
        for row in rows:
            found.setdefault(row.message_id, row)
            found.setdefault(row.user_message_id, row)
        if cursor is None:
            return found


async def _request(core: Core, request_id: str, user_id: str) -> Request | None:
    """Return a request accepted in between, None when it was deleted or pruned."""
    try:
        return await core.store.request(request_id, user_id)
    except NotFound:
        return None


async def _shown(core: Core, message: model.Message, row: Request | None) -> chat_shapes.Message:
    """Show a message; an answer in progress with its text so far."""
    shown = chat_shapes.Message(
        id=message.id,
        chat_id=message.chat_id,
        parent_id=message.parent_id,
        role=message.role,
        content=message.text,
        created_at=shapes.since(message.created_at),
        request_id=row.id if row else message.request_id,
        output=message.output,
    )
    if row is not None:
        await _add_standing(core, shown, row)
    return shown


async def _add_standing(core: Core, shown: chat_shapes.Message, row: Request) -> None:
    """Add how a message's request stands; an answer's text is the one of that very instant."""
    now = await views.standing(core, row)
    shown.status, shown.queue_position = now.status, now.position
    if shown.role == "assistant":
        shown.content, shown.output = now.text, now.output
        shown.sequence_number = now.number
        shown.error = shapes.RequestError.of(now.row.error)
        shown.incomplete_reason, shown.trace_id = now.row.incomplete_reason, now.row.trace_id


def _ids(line: list[chat_shapes.Message]) -> list[str]:
    return [message.id for message in line]


def _markdown(chat: model.Chat, messages: list[chat_shapes.Message]) -> str:
    """Return a chat to read: a title, and each message under who wrote it."""
    names = {"user": "You", "assistant": chat.agent_id}
    parts = [f"# {chat.title}"]
    for message in messages:
        who = names.get(message.role, message.role)
        at = message.created_at.strftime("%Y-%m-%d %H:%M UTC")
        parts += [f"## {who} · {at}", message.content.strip() or "*(nothing yet)*"]
        if message.error:
            parts.append(f"> {message.error.message}")
    return "\n\n".join(parts) + "\n"


def _attachment(name: str) -> str:
    """Return a Content-Disposition for a file name that may hold anything."""
    shown = STEERING.sub(" ", name)
    clean = re.sub(r'[\t\n/\\:*?"<>|]+', " ", shown).strip() or "chat"
    ascii_name = unicodedata.normalize("NFKD", clean).encode("ascii", "ignore").decode()
    return (
        f"attachment; filename=\"{ascii_name.strip() or 'chat'}\"; filename*=UTF-8''{quote(clean)}"
    )
