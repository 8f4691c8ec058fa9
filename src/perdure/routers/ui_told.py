"""What the AI SDK's client is told of a chat: its messages, and what a stream tells of one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from perdure import model
from perdure.core import Core
from perdure.errors import NotFound
from perdure.model import JSON, Chat, Message
from perdure.routers.branches import branch
from perdure.routers.ui_messages import Said, answer_parts, ui_message
from perdure.routers.ui_turns import turn_of, turns


class Telling(msgspec.Struct, frozen=True):
    """What a stream tells: an answer to its end, under the id that its message has at the client.

    `before`: parts that the message has from answers before this one.
    """

    row: model.Request
    message_id: str
    before: Sequence[JSON] = ()


async def messages(core: Core, chat: Chat) -> list[JSON]:
    """Return the `UIMessage`s of the active branch."""
    tree = await core.store.messages(chat.id, chat.user_id)
    line = branch(tree, chat.current_message_id)
    said = {one.id: await _said(core, one, chat.user_id) for one in line if one.role != "tool"}
    return [ui_message(turn, said) for turn in turns(line)]


async def whole(core: Core, row: model.Request, leaf: str | None = None) -> Telling:
    """Return how to tell the whole message that an answer is part of, up to that or to `leaf`."""
    tree = await core.store.messages(row.chat_id, row.user_id)
    turn = turn_of(tree, row.message_id, leaf or row.message_id)
    answers = [one for one in turn if one.request_id is not None]
    if not answers:
        return Telling(row, row.message_id)
    last = answers.pop()
    if last.request_id != row.id:
        row = await core.store.request(str(last.request_id), row.user_id)
    said = {one.id: await _said(core, one, row.user_id) for one in answers}
    return Telling(row, turn[0].id, list(answer_parts(turn, said)))


def own_tools(row: model.Request) -> Collection[str]:
    """Return the names of the tools that a request's caller has."""
    tools = row.params.get("tools", ())
    return frozenset(tool["name"] for tool in tools if tool["type"] == "function")


async def _said(core: Core, message: Message, user_id: str) -> Said:
    """Return what an answer says, so far if it is in progress."""
    items = message.output
    calls = items is None or any(item["type"] == "function_call" for item in items)
    if message.request_id is None or not calls:
        return Said(items or ())
    try:
        row = await core.store.request(message.request_id, user_id)
        items = items or row.output or (await core.tails.snapshot(row.id)).output
    except NotFound:
        return Said(items or ())
    return Said(items, own_tools(row))
