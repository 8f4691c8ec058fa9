"""From a checked call to an accepted question: which chat, which parent, which messages."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from perdure.accept import Question
from perdure.core import Core
from perdure.errors import Invalid, NotFound
from perdure.model import JSON, Chat, Message, Request, new_id
from perdure.ports import Accepted, NewMessage
from perdure.routers.branches import branch
from perdure.routers.given import known
from perdure.routers.v1 import items
from perdure.routers.v1.params import Wish
from perdure.talk import items_of, wrapped
from perdure.user_tokens import UserToken


class Place(msgspec.Struct, frozen=True):
    """Where a question goes.

    Args:
        chat: None = a new one.
        parent_id: the message to follow.
        history: what a new chat begins with.
        follows: the request whose end is enough to start.

    """

    chat: Chat | None = None
    parent_id: str | None = None
    history: Sequence[NewMessage] = ()
    follows: str | None = None


class Kept(msgspec.Struct, frozen=True):
    """The talk of a response that is not stored, up to its end."""

    response_id: str
    talk: Sequence[NewMessage]


async def create(
    core: Core,
    user_id: str,
    wish: Wish,
    key: str | None = None,
    user_token: UserToken | None = None,
    kept: Kept | None = None,
) -> Accepted:
    """Accept a response's question; it is committed when this returns.

    `kept`: a response that is not stored and may be followed all the same.

    Raises what `Acceptance.ask` does, and `Invalid` for unknown models, responses and references.
    """
    agent_id = wish.given.get("model", core.default_agent_id)
    if agent_id not in core.agents:
        detail = f"The requested model '{agent_id[:100]}' does not exist."
        raise Invalid(detail, code="model_not_found", param="model")
    place = await _place(core, user_id, wish, kept)
    given = await _resolved(core, user_id, wish.input, in_chat=place.chat is not None)
    await _check_outputs(core, place, given)
    messages = [items.as_message(item) for item in given]
    asked = messages[-1] if messages else None
    question = Question(
        text=asked.text if asked else "",
        parts=asked.parts if asked else None,
        role=asked.role if asked else "user",
        message_id=asked.id if asked else None,
        answers=None if asked else place.parent_id,
        user_id=user_id,
        agent_id=agent_id,
        any_agent=True,
        chat_id=place.chat.id if place.chat else None,
        parent_id=place.parent_id if asked else None,
        follows=place.follows,
        history=place.history,
        before=messages[:-1],
        metadata=wish.given.get("metadata", {}),
        params=wish.params,
        input=given,
        transient=not wish.store,
        idempotency_key=key,
        fingerprint=wish.fingerprint,
        user_token=user_token,
    )
    try:
        return await core.acceptance.ask(question)
    except Invalid as error:
        error.param = error.param or "input"
        raise


async def _place(core: Core, user_id: str, wish: Wish, kept: Kept | None) -> Place:
    if wish.conversation is not None:
        chat = await conversation(core, wish.conversation, user_id)
        if not wish.input and chat.current_message_id is None:
            items.missing("input")
        return Place(chat, None if wish.input else chat.current_message_id)
    previous = wish.given.get("previous_response_id")
    if kept is not None and previous == kept.response_id:
        return Place(history=_anew(kept.talk))
    before = await _previous(core, user_id, previous)
    if before is None:
        return Place()
    if wish.store:
        # What follows an answer waits for that one alone: forks are answered side by side.
        chat = await core.store.chat(before.chat_id, user_id)
        return Place(chat, before.message_id, follows=before.id)
    # What is not stored must not grow a stored chat: it gets a copy that goes with it.
    return Place(history=await talk_of(core, before))


async def talk_of(core: Core, row: Request) -> list[NewMessage]:
    """Return the talk up to a response's end, as a new chat may begin with it."""
    tree = await core.store.messages(row.chat_id, row.user_id)
    return _copied(branch(tree, row.message_id))


def _anew(talk: Sequence[NewMessage]) -> list[NewMessage]:
    """Return the same messages with fresh ids: those of one chat are never another's."""
    return [msgspec.structs.replace(message, id=new_id("msg")) for message in talk]


async def _check_outputs(core: Core, place: Place, given: Sequence[JSON]) -> None:
    """Refuse an output whose call nobody made: agents' servers would refuse the whole talk."""
    made = {item["call_id"] for item in given if item["type"] == "function_call"}
    needed = [item["call_id"] for item in given if item["type"] == "function_call_output"]
    if not made.issuperset(needed):
        made |= await _calls_before(core, place)
    for call_id in needed:
        if call_id not in made:
            detail = f"No tool call found for function call output with call_id {call_id[:100]}."
            raise Invalid(detail, code="no_tool_call_found", param="input")


async def _calls_before(core: Core, place: Place) -> set[str]:
    """Return the ids of the tool calls that are told before the question."""
    told = [item for message in place.history for item in items_of(message)]
    if place.chat is not None:
        tree = await core.store.messages(place.chat.id, place.chat.user_id)
        for message in branch(tree, place.parent_id or place.chat.current_message_id):
            told += [*items_of(message), *await _said(core, message)]
    return {item["call_id"] for item in told if item["type"] == "function_call"}


async def _said(core: Core, message: Message) -> Sequence[JSON]:
    """Return an answer's items, also of one in progress: a call is told before the end."""
    if message.output is not None or message.request_id is None:
        return message.output or ()
    try:
        return (await core.tails.snapshot(message.request_id)).output
    except NotFound:
        return ()


async def conversation(core: Core, conversation_id: str, user_id: str) -> Chat:
    """Return the chat that a conversation is; raises `NotFound` in OpenAI's words."""
    try:
        return await core.store.chat(known(conversation_id), user_id)
    except NotFound:
        detail = f"Conversation with id '{conversation_id[:100]}' not found."
        raise NotFound(detail) from None


async def _previous(core: Core, user_id: str, previous: str | None) -> Request | None:
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
