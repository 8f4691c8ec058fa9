"""The messages of a chat: one hash, each with its place, parents before children."""

from __future__ import annotations

from perdure.model import Message
from perdure.ports import NewMessage
from perdure.stores.redis import values
from perdure.stores.redis.database import Draft

Tree = dict[str, tuple[int, Message]]
"""Messages after their places, by id, in order."""


async def read(draft: Draft, chat_id: str) -> Tree:
    """Return all messages of a chat."""
    (found,) = await draft.read(("HGETALL", draft.key("messages", chat_id)))
    return of(found)


def of(reply: dict[bytes, bytes]) -> Tree:
    """Return the messages of a hash, in order."""
    placed = sorted(map(values.message, reply.values()), key=lambda one: one[0])
    return {message.id: (position, message) for position, message in placed}


def branch(tree: Tree, message_id: str) -> list[Message]:
    """Return the messages from the root to `message_id`."""
    line: list[Message] = []
    at: str | None = message_id
    while at is not None and at in tree:
        line.append(tree[at][1])
        at = line[-1].parent_id
    return line[::-1]


def made(
    new: NewMessage, chat_id: str, parent: str | None, request_id: str | None = None, *, now: float
) -> Message:
    """Return a new message behind `parent`; `request_id`: what makes it, when it is an answer."""
    return Message(
        id=new.id,
        chat_id=chat_id,
        parent_id=parent,
        role=new.role,
        text=new.text,
        parts=new.parts,
        request_id=request_id,
        created_at=now,
    )
