"""`/v1/conversations`: chats, as the OpenAI clients see them; items are a branch's messages."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from perdure.core import Core
from perdure.errors import Invalid, NotFound
from perdure.model import JSON, Chat, Message, title_of
from perdure.routers.branches import branch
from perdure.routers.given import Running, Who
from perdure.routers.v1 import items, params
from perdure.routers.v1.creating import conversation
from perdure.routers.v1.shapes import (
    ConversationBody,
    ConversationChange,
    ConversationId,
    ConversationObject,
    DeletedObject,
    ItemId,
    ItemList,
    ItemObject,
    NewItems,
    Page,
    body,
    refusals,
)
from perdure.routers.v1.shown import answer, list_of, message_items

router = APIRouter(prefix="/v1/conversations", tags=["openai"])

ITEMS_MAX = 20


@router.post(
    "",
    operation_id="createConversation",
    response_model=ConversationObject,
    responses=refusals(400, 409, 503),
    openapi_extra=body(ConversationBody),
)
async def create(core: Running, person: Who, call: Request) -> Response:
    """Make a conversation, with its first items if there are some."""
    given = await params.read_body(call)
    metadata = params.metadata_of(given)
    messages = [items.as_message(item) for item in _items(given.get("items"))]
    title = title_of(next((message.text for message in messages if message.text), ""))
    chat = await core.acceptance.create_chat(person.user_id, None, title, metadata, messages)
    return answer(_shown(chat))


@router.get(
    "/{conversation_id}",
    operation_id="getConversation",
    response_model=ConversationObject,
    responses=refusals(404, 503),
)
async def retrieve(core: Running, person: Who, conversation_id: ConversationId) -> Response:
    """Return a conversation."""
    return answer(_shown(await conversation(core, conversation_id, person.user_id)))


@router.post(
    "/{conversation_id}",
    operation_id="updateConversation",
    response_model=ConversationObject,
    responses=refusals(400, 404, 503),
    openapi_extra=body(ConversationChange),
)
async def update(
    core: Running, person: Who, conversation_id: ConversationId, call: Request
) -> Response:
    """Replace a conversation's metadata."""
    given = await params.read_body(call)
    metadata = params.metadata_of(given)
    chat = await conversation(core, conversation_id, person.user_id)
    changed = await core.acceptance.update_chat(chat.id, person.user_id, metadata=metadata)
    return answer(_shown(changed))


@router.delete(
    "/{conversation_id}",
    operation_id="deleteConversation",
    response_model=DeletedObject,
    responses=refusals(404, 503),
)
async def delete(core: Running, person: Who, conversation_id: ConversationId) -> Response:
    """Stop what runs in a conversation, and remove it."""
    chat = await conversation(core, conversation_id, person.user_id)
    await core.acceptance.delete_chat(chat.id, person.user_id)
    return answer({"id": chat.id, "object": "conversation.deleted", "deleted": True})


@router.post(
    "/{conversation_id}/items",
    operation_id="addConversationItems",
    response_model=ItemList,
    responses=refusals(400, 404, 409, 503),
    openapi_extra=body(NewItems),
)
async def add_items(
    core: Running, person: Who, conversation_id: ConversationId, call: Request
) -> Response:
    """Put items at the end of a conversation."""
    chat = await conversation(core, conversation_id, person.user_id)
    given = _items((await params.read_body(call)).get("items"))
    if not given:
        items.missing("items")
    messages = [items.as_message(item) for item in given]
    await core.acceptance.add_messages(chat.id, person.user_id, messages)
    return answer(list_of(given))


@router.get(
    "/{conversation_id}/items",
    operation_id="listConversationItems",
    response_model=ItemList,
    responses=refusals(400, 404, 503),
)
async def list_items(
    core: Running,
    person: Who,
    conversation_id: ConversationId,
    page: Page,
) -> Response:
    """List the items of a conversation's active branch."""
    line = await _line(core, conversation_id, person.user_id)
    every = [item for message in line for item in message_items(message)]
    return page.of(every)


@router.get(
    "/{conversation_id}/items/{item_id}",
    operation_id="getConversationItem",
    response_model=ItemObject,
    responses=refusals(404, 503),
)
async def get_item(
    core: Running, person: Who, conversation_id: ConversationId, item_id: ItemId
) -> Response:
    """Return one item."""
    line = await _line(core, conversation_id, person.user_id)
    _, item = _find(line, item_id)
    return answer(item)


@router.delete(
    "/{conversation_id}/items/{item_id}",
    operation_id="deleteConversationItem",
    response_model=ConversationObject,
    responses=refusals(404, 409, 503),
)
async def delete_item(
    core: Running, person: Who, conversation_id: ConversationId, item_id: ItemId
) -> Response:
    """Take an item out of a conversation; what follows it stays."""
    line = await _line(core, conversation_id, person.user_id)
    message, item = _find(line, item_id)
    kept = [one for one in message.output or () if one["id"] != item["id"]]
    chat = await core.store.drop_message(message.id, person.user_id, kept or None)
    return answer(_shown(chat))


def _items(given: Any) -> list[JSON]:
    if given is None:
        return []
    if not isinstance(given, list):
        items.wrong_type("items", "an array of items", given)
    if len(given) > ITEMS_MAX:
        detail = f"'items' has {len(given)} items; at most {ITEMS_MAX} are allowed."
        raise Invalid(detail, code="array_above_max_length", param="items")
    return items.read(given, "items")


async def _line(core: Core, conversation_id: str, user_id: str) -> list[Message]:
    chat = await conversation(core, conversation_id, user_id)
    return branch(await core.store.messages(chat.id, user_id), chat.current_message_id)


def _find(line: list[Message], item_id: str) -> tuple[Message, JSON]:
    for message in line:
        for item in message_items(message):
            if item["id"] == item_id:
                return message, item
    raise NotFound(f"Item with id '{item_id[:100]}' not found.")


def _shown(chat: Chat) -> JSON:
    return {
        "id": chat.id,
        "object": "conversation",
        "created_at": int(chat.created_at),
        "metadata": chat.metadata,
    }
