"""A person's lists: where each chat stands in them, and pages of any list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from perdure.stores.redis.database import Database, Draft
from perdure.stores.redis.values import Fields

BATCH = 100
Place = tuple[float, str]
"""Score and id: where something stands in a list."""


def shelf(*, archived: bool, pinned: bool) -> str:
    """Return the noun of a list of chats: newest activity first, so scores are negative times."""
    return f"chats-{'archived' if archived else 'shown'}-{'pinned' if pinned else 'plain'}"


def make(draft: Draft, **given: object) -> Fields:
    """Make a chat; return its fields as they are going to be."""
    chat: Fields = {}
    draft.put(draft.key("chat", str(given["id"])), chat, id=given["id"], revision=0)
    put(draft, chat, created_at=draft.now, updated_at=draft.now, **given)
    return chat


def put(draft: Draft, chat: Fields, **changes: object) -> None:
    """Change a chat, here and there, and move it where it stands from now on."""
    before = _standing(draft, chat)
    draft.put(draft.key("chat", chat["id"]), chat, **changes)
    after = _standing(draft, chat)
    if before != after:
        leave(draft, before, chat["id"])
        for key, score in after.items():
            draft.add("ZADD", key, score, chat["id"])


def remove(draft: Draft, chat: Fields) -> None:
    """Take a chat out of all lists."""
    leave(draft, _standing(draft, chat), chat["id"])


def leave(draft: Draft, standing: dict[str, float], chat_id: str) -> None:
    """Take a chat out of these lists."""
    for key in standing:
        draft.add("ZREM", key, chat_id)


def _standing(draft: Draft, chat: Fields) -> dict[str, float]:
    """Return the lists in which a chat stands, and where; a transient one's chat is not shown."""
    if "updated_at" not in chat or "deleted_at" in chat:
        return {}
    updated_at = float(chat["updated_at"])
    standing = {draft.key("ages"): updated_at}
    if chat.get("transient") != "1":
        noun = shelf(archived=chat.get("archived") == "1", pinned=chat.get("pinned") == "1")
        standing[draft.key(noun, chat["user_id"])] = -updated_at
    return standing


async def walk(
    database: Database,
    key: str,
    behind: Place | None,
    *,
    down: bool = False,
    size: int = BATCH,
) -> AsyncIterator[list[str]]:
    """Yield a list's ids in batches from behind a place on; `down`: from the highest score."""
    command = "ZREVRANGEBYSCORE" if down else "ZRANGEBYSCORE"
    end = "-inf" if down else "+inf"
    follows: Callable[[Place, Place], bool] = (
        (lambda one, other: one < other) if down else (lambda one, other: one > other)
    )
    while True:
        start: Any = ("+inf" if down else "-inf") if behind is None else repr(behind[0])
        window = ("WITHSCORES", "LIMIT", "0", str(size))
        (found,) = await database.look((command, key, start, end, *window))
        places = [
            (float(score), name.decode())
            for name, score in zip(found[::2], found[1::2], strict=True)
        ]
        fresh = [one for one in places if behind is None or follows(one, behind)]
        if fresh:
            yield [name for _, name in fresh]
            behind = fresh[-1]
        if len(places) < size:
            return
        if not fresh:
            size *= 2  # so many in one instant
