"""From a checked call to an accepted question: which chat, which parent, which messages."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.accept import Question
from perdure.core import Core
from perdure.errors import Invalid, NotFound
from perdure.model import JSON, Chat, Message, Request, new_id
from perdure.ports import Accepted, NewMessage
from perdure.routers.branches import branch
from perdure.routers.given import known
from perdure.routers.v1 import items
from perdure.routers.v1.params import Wish
from perdure.talk import wrapped
from perdure.user_tokens import UserToken


async def create(
    core: Core, user_id: str, wish: Wish, key: str | None, user_token: UserToken | None
) -> Accepted:
    """Accept a response's question; it is committed when this returns.

    Raises what `Acceptance.ask` does, and `Invalid` for unknown models, responses and references.
    """
    agent_id = wish.given.get("model") or core.default_agent_id
    if agent_id not in core.agents:
        detail = f"The requested model '{agent_id[:100]}' does not exist."
        raise Invalid(detail, code="model_not_found", param="model")
    chat, parent_id, history = await _place(core, user_id, wish)
    given = await _resolved(core, user_id, wish.input, in_chat=chat is not None)
    messages = [items.as_message(item) for item in given]
    asked = messages[-1] if messages else None
    question = Question(
        text=asked.text if asked else "",
        parts=asked.parts if asked else None,
        role=asked.role if asked else "user",
        message_id=asked.id if asked else None,
        answers=None if asked else parent_id,
        user_id=user_id,
        agent_id=agent_id,
        any_agent=True,
        chat_id=chat.id if chat else None,
        parent_id=parent_id if asked else None,
        history=history,
        before=messages[:-1],
        metadata=wish.given.get("metadata", {}),
        params=wish.params,
        input=given,
        transient=not wish.store,
        idempotency_key=key,
        fingerprint=wish.fingerprint,
        user_token=user_token,
    )
    return await core.acceptance.ask(question)


async def _place(
    core: Core, user_id: str, wish: Wish
) -> tuple[Chat | None, str | None, Sequence[NewMessage]]:
    """Return the chat (None = a new one), the message to follow, and a new chat's history."""
    if wish.conversation:
        chat = await conversation(core, wish.conversation, user_id)
        if not wish.input and chat.current_message_id is None:
            items.missing("input")
        return chat, None if wish.input else chat.current_message_id, ()
    before = await _previous(core, user_id, wish)
    if before is None:
        return None, None, ()
    if wish.store:
        return await core.store.chat(before.chat_id, user_id), before.message_id, ()
    # What is not stored must not grow a stored chat: it gets a copy that goes with it.
    tree = await core.store.messages(before.chat_id, user_id)
    return None, None, _copied(branch(tree, before.message_id))


async def conversation(core: Core, conversation_id: str, user_id: str) -> Chat:
    """Return the chat that a conversation is; raises `NotFound` in OpenAI's words."""
    try:
        return await core.store.chat(known(conversation_id), user_id)
    except NotFound:
        detail = f"Conversation with id '{conversation_id[:100]}' not found."
        raise NotFound(detail) from None


async def _previous(core: Core, user_id: str, wish: Wish) -> Request | None:
    previous = wish.given.get("previous_response_id")
    if previous is None:
        return None
    try:
        row = await core.store.request(known(previous), user_id)
        if not row.transient:
            return row
    except NotFound:
        pass
    detail = f"Previous response with id '{previous[:100]}' not found."
    raise Invalid(detail, code="previous_response_not_found", param="previous_response_id")


def _copied(line: Sequence[Message]) -> list[NewMessage]:
    copies = []
    for message in line:
        parts = message.parts
        if message.output:
            parts = [part for item in message.output for part in wrapped(item)]
        if message.text or parts:
            copies.append(NewMessage(new_id("msg"), message.role, message.text, parts))
    return copies


async def _resolved(
    core: Core, user_id: str, given: Sequence[JSON], *, in_chat: bool
) -> list[JSON]:
    """Return the input with references replaced by what they name.

    In a chat that goes on they name what is there already, so they are left out.
    """
    resolved = []
    for item in given:
        if item["type"] != "item_reference":
            resolved.append(item)
        elif not in_chat:
            resolved.append(await _referenced(core, user_id, item["id"]))
    return resolved


async def _referenced(core: Core, user_id: str, item_id: str) -> JSON:
    try:
        found = await core.store.answer_item(known(item_id), user_id)
    except NotFound:
        detail = f"Item with id '{item_id[:100]}' not found."
        raise Invalid(detail, code="item_not_found", status=404, param="input") from None
    return {**found, "id": new_id("msg")} if found["type"] == "message" else found
