"""Chats: list, search, make, look, change, remove, mark as read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import AfterValidator

from perdure.routers import chat_shapes, shapes
from perdure.routers.body import JsonRoute
from perdure.routers.given import (
    PAGE_SIZE,
    ChatId,
    Cursor,
    Limit,
    Running,
    Who,
    or_empty,
    placed,
    plain,
)
from perdure.routers.problems import responses

router = APIRouter(prefix="/api/chats", tags=["chats"], route_class=JsonRoute)


@router.get(
    "",
    operation_id="listChats",
    response_model=chat_shapes.ChatPage,
    responses=responses(400, 422, 503),
)
async def list_chats(
    core: Running,
    person: Who,
    q: Annotated[
        str, AfterValidator(plain), Query(max_length=200, description="In titles and texts.")
    ] = "",
    archived: Annotated[  # noqa: FBT002 a query parameter
        bool, or_empty(bool, absent=False), Query(description="The archived ones instead.")
    ] = False,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
) -> Response:
    """List one's chats with their state, or those in which `q` occurs."""
    # Before the list: what changes in between is told again, instead of never.
    revision = await core.store.revision(person.user_id)
    chats, following = await core.store.chats(
        person.user_id, query=q.strip(), archived=archived, limit=limit, cursor=cursor
    )
    shown = [chat_shapes.Chat.of(chat) for chat in chats]
    page = chat_shapes.ChatPage(chats=shown, next_cursor=following, revision=revision)
    return shapes.answer(page)


@router.post(
    "",
    operation_id="createChat",
    status_code=201,
    response_model=chat_shapes.Chat,
    responses=responses(400, 404, 413, 422, 503),
)
async def create_chat(
    core: Running,
    person: Who,
    request: Request,
    body: Annotated[chat_shapes.NewChat | None, Body()] = None,
) -> Response:
    """Make an empty chat."""
    body = body or chat_shapes.NewChat()
    chat = await core.acceptance.create_chat(person.user_id, body.agent_id, body.title)
    headers = {"Location": placed(request, f"/api/chats/{chat.id}")}
    return shapes.answer(chat_shapes.Chat.of(chat), 201, headers)


@router.get(
    "/{chat_id}",
    operation_id="getChat",
    response_model=chat_shapes.Chat,
    responses=responses(404, 503),
)
async def get_chat(core: Running, person: Who, chat_id: ChatId) -> Response:
    """Return one chat."""
    return shapes.answer(chat_shapes.Chat.of(await core.store.chat(chat_id, person.user_id)))


@router.patch(
    "/{chat_id}",
    operation_id="updateChat",
    response_model=chat_shapes.Chat,
    responses=responses(400, 404, 413, 422, 503),
)
async def update_chat(
    core: Running, person: Who, chat_id: ChatId, body: Annotated[chat_shapes.ChatChanges, Body()]
) -> Response:
    """Rename, pin or archive a chat, or choose another branch of it."""
    changes = body.model_dump(exclude_none=True)
    chat = await core.acceptance.update_chat(chat_id, person.user_id, **changes)
    return shapes.answer(chat_shapes.Chat.of(chat))


@router.delete(
    "/{chat_id}", operation_id="deleteChat", status_code=204, responses=responses(404, 503)
)
async def delete_chat(core: Running, person: Who, chat_id: ChatId) -> Response:
    """Remove a chat; what runs or waits in it is stopped first."""
    await core.acceptance.delete_chat(chat_id, person.user_id)
    return Response(status_code=204)


@router.post(
    "/{chat_id}/read",
    operation_id="markChatRead",
    response_model=chat_shapes.Chat,
    responses=responses(404, 503),
)
async def mark_read(core: Running, person: Who, chat_id: ChatId) -> Response:
    """Clear the unread mark, for all of one's devices."""
    chat = await core.acceptance.mark_read(chat_id, person.user_id)
    return shapes.answer(chat_shapes.Chat.of(chat))
