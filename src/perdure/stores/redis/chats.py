"""Chats, messages, search and feedback on Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Unpack

import msgspec

from perdure.errors import NotFound
from perdure.events import Closing
from perdure.model import JSON, Chat, Feedback, Message, Request, Status, new_id
from perdure.ports import ChatChanges
from perdure.stores import cursors, refusals, words
from perdure.stores.redis import lists, outbox, tree, values
from perdure.stores.redis.database import Draft
from perdure.stores.redis.requests import Requests
from perdure.stores.redis.values import Fields

Work = Callable[[Draft, Fields], Awaitable[bool]]
CANCELLED = Closing(Status.CANCELLED, output=[], text="")
"""The end of what is removed before it has ended."""


class Chats(Requests):
    """`ports.ChatStore` on Redis."""

    async def create_chat(
        self, user_id: str, agent_id: str, title: str, metadata: Mapping[str, str] = {}
    ) -> Chat:
        chat_id = new_id("chat")

        async def work(draft: Draft) -> None:
            await draft.read()
            made = {"id": chat_id, "user_id": user_id, "agent_id": agent_id, "title": title}
            chat = lists.make(draft, **made, metadata=metadata)
            self.steps.changed(draft, chat)

        await self.db.change(work)
        return await self.chat(chat_id, user_id)

    async def chat(self, chat_id: str, user_id: str) -> Chat:
        return await self._chat(chat_id, user_id, transient=False)

    async def _chat(self, chat_id: str, user_id: str, *, transient: bool = True) -> Chat:
        """Return a chat of the person's; `transient`: also one that no list tells of."""
        reply, unfinished = await self.db.look(
            ("HGETALL", self.key("chat", chat_id)), ("ZCARD", self.key("unfinished", chat_id))
        )
        found = values.fields(reply)
        gone = "deleted_at" in found or (found.get("transient") == "1" and not transient)
        if gone or found.get("user_id") != user_id:
            raise refusals.unknown("chat", chat_id)
        return values.chat(found, unfinished)

    async def chat_of_client(self, client_id: str, user_id: str) -> Chat:
        named = ("HGET", self.key("names", user_id), values.plain(client_id))
        (found,) = await self.db.look(named)
        if found is None:
            raise refusals.unknown("chat", client_id)
        return await self._chat(found.decode(), user_id)

    async def _chats(self, chat_ids: Sequence[str]) -> list[Chat | None]:
        """Return chats as they are at one instant; None: there is no such chat."""
        commands: list[tuple[str, ...]] = []
        for chat_id in chat_ids:
            commands.append(("HGETALL", self.key("chat", chat_id)))
            commands.append(("ZCARD", self.key("unfinished", chat_id)))
        found = await self.db.look(*commands) if commands else []
        return [
            values.chat(values.fields(reply), unfinished) if reply else None
            for reply, unfinished in zip(found[::2], found[1::2], strict=True)
        ]

    async def chats(
        self,
        user_id: str,
        *,
        query: str = "",
        archived: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[Chat], str | None]:
        page: list[Chat] = []
        async for batch in self._listed(user_id, archived=archived, cursor=cursor):
            known = [chat for chat in await self._chats(batch) if chat is not None]
            page += await self._matching(known, query) if query.strip() else known
            if len(page) > limit:
                break
        if len(page) <= limit:
            return page, None
        last = page[limit - 1]
        return page[:limit], cursors.write(last.pinned, last.updated_at, last.id)

    async def _listed(
        self, user_id: str, *, archived: bool, cursor: str | None
    ) -> AsyncIterator[list[str]]:
        """Yield the ids of a person's chats behind a cursor: pinned first, then newest activity."""
        behind: lists.Place | None = None
        only_plain = False
        if cursor is not None:
            pinned, updated_at, chat_id = cursors.read(cursor, 2)
            behind, only_plain = (-float(updated_at), str(chat_id)), not pinned
        for pinned in (True, False):
            if pinned and only_plain:
                continue
            key = self.key(lists.shelf(archived=archived, pinned=pinned), user_id)
            async for batch in lists.walk(self.db, key, behind):
                yield batch
            behind = None

    async def _matching(self, chats: list[Chat], query: str) -> list[Chat]:
        """Return those whose title has the query in it, or a message all its words."""
        title, wanted = query.strip().casefold(), [f" {word}" for word in words.of(query)]
        found = await self.db.look(*(("HVALS", self.key("words", chat.id)) for chat in chats))
        return [
            chat
            for chat, kept in zip(chats, found, strict=True)
            if title in chat.title.casefold() or (wanted and _has_all(kept, wanted))
        ]

    async def chats_since(self, user_id: str, revision: int, limit: int = 200) -> list[Chat]:
        window = (f"({revision}", "+inf", "LIMIT", "0", str(limit))
        (found,) = await self.db.look(("ZRANGEBYSCORE", self.key("changes", user_id), *window))
        changed = await self._chats([chat_id.decode() for chat_id in found])
        return sorted(filter(None, changed), key=lambda chat: chat.revision)

    async def revision(self, user_id: str) -> int:
        (found,) = await self.db.look(("HGET", self.key("people"), values.plain(user_id)))
        return int(found or 0)

    async def update_chat(self, chat_id: str, user_id: str, **changes: Unpack[ChatChanges]) -> Chat:
        current = changes.get("current_message_id")

        async def work(draft: Draft, chat: Fields) -> bool:
            if current is not None:
                (home,) = await draft.read(("HGET", self.key("homes"), current))
                if home is None or home.decode() != chat_id:
                    raise refusals.unknown("message", current)
            lists.put(draft, chat, **changes)
            return True

        return await self._change(chat_id, user_id, work)

    async def mark_read(self, chat_id: str, user_id: str) -> Chat:
        async def work(draft: Draft, chat: Fields) -> bool:
            unread = chat.get("unread") == "1"
            if unread:
                lists.put(draft, chat, unread=False)
            return unread

        return await self._change(chat_id, user_id, work)

    async def delete_chat(self, chat_id: str, user_id: str) -> list[Request]:
        async def work(draft: Draft) -> list[Request]:
            return await self._remove_chat(draft, await self._own_chat(draft, chat_id, user_id))

        return await self.db.change(work)

    async def messages(self, chat_id: str, user_id: str) -> list[Message]:
        await self._chat(chat_id, user_id)
        (found,) = await self.db.look(("HGETALL", self.key("messages", chat_id)))
        return [message for _, message in tree.of(found).values()]

    async def texts(self, message_ids: Sequence[str], user_id: str) -> dict[str, str]:
        if not message_ids:
            return {}
        (homes,) = await self.db.look(("HMGET", self.key("homes"), *message_ids))
        at = [(one, home.decode()) for one, home in zip(message_ids, homes, strict=True) if home]
        commands = [
            command
            for message_id, chat_id in at
            for command in (
                ("HGET", self.key("chat", chat_id), "user_id"),
                ("HGET", self.key("messages", chat_id), message_id),
            )
        ]
        found = await self.db.look(*commands) if commands else []
        return {
            message_id: values.message(kept)[1].text
            for (message_id, _), owner, kept in zip(at, found[::2], found[1::2], strict=True)
            if kept is not None and owner.decode() == user_id
        }

    async def edit_message(self, message_id: str, user_id: str, text: str) -> Message:
        async def work(draft: Draft) -> Message:
            _, chat, found = await self._waiting_request(draft, message_id, user_id)
            position, message = found[message_id]
            edited = msgspec.structs.replace(message, text=text, parts=None)
            await self.steps.write_message(draft, position, edited)
            self.steps.changed(draft, chat)
            return edited

        return await self.db.change(work)

    async def remove_message(self, message_id: str, user_id: str) -> Request:
        async def work(draft: Draft) -> Request:
            request, chat, found = await self._waiting_request(draft, message_id, user_id)
            before = values.request(request)
            gone = [message_id, request["message_id"]]
            self._take_out(draft, chat, found, gone)
            self._withdraw(draft, request)
            self.steps.changed(draft, chat)
            return before

        return await self.db.change(work)

    async def add_feedback(self, feedback: Feedback) -> None:
        async def work(draft: Draft) -> None:
            key = self.key("request", feedback.request_id)
            owner, expires_in = await draft.read(("HGET", key, "user_id"), ("PTTL", key))
            if owner is None or owner.decode() != feedback.user_id:
                raise refusals.unknown("request", feedback.request_id)
            draft.guard(key, "user_id", owner)
            outbox.keep(draft, feedback)
            if expires_in > 0:
                draft.add("PEXPIRE", self.key("feedback", feedback.request_id), expires_in)

        await self.db.change(work)

    async def feedback(self, request_id: str, user_id: str) -> list[Feedback]:
        (found,) = await self.db.look(("HVALS", self.key("feedback", request_id)))
        kept = [msgspec.json.decode(one, type=Feedback) for one in found]
        return [one for one in kept if one.user_id == user_id]

    async def request_of_trace(self, trace_id: str, user_id: str) -> Request:
        key = self.key("trace", user_id, trace_id)
        async for found in self._newest(key, None):
            return values.request(found)
        raise refusals.unknown("trace", trace_id)

    async def answer_item(self, item_id: str, user_id: str) -> JSON:
        (home,) = await self.db.look(("HGET", self.key("homes"), item_id))
        if home is not None:
            try:
                found = await self.messages(home.decode(), user_id)
            except NotFound:
                found = []
            for message in found:
                for one in message.output or ():
                    if one["id"] == item_id:
                        return dict(one)
        raise refusals.unknown("item", item_id)

    # --- steps of a change ---

    async def _change(self, chat_id: str, user_id: str, work: Work) -> Chat:
        """Change a chat that is the person's, and tell its lists when `work` did something."""

        async def change(draft: Draft) -> None:
            chat = await self._own_chat(draft, chat_id, user_id)
            if await work(draft, chat):
                self.steps.changed(draft, chat)

        await self.db.change(change)
        return await self._chat(chat_id, user_id)

    async def _own_chat(self, draft: Draft, chat_id: str, user_id: str | None) -> Fields:
        """Return a chat that must still be as it is at the commit; None: anyone's."""
        key = self.key("chat", chat_id)
        (found,) = await draft.read(("HGETALL", key))
        chat = values.fields(found)
        if not chat or "deleted_at" in chat or user_id not in (None, chat["user_id"]):
            raise refusals.unknown("chat", chat_id)
        draft.guard(key, "revision", chat["revision"])
        return chat

    async def _chat_of(self, draft: Draft, message_id: str, user_id: str) -> Fields:
        """Return the chat of a message, if it is the person's."""
        (home,) = await draft.read(("HGET", self.key("homes"), message_id))
        if home is None:
            raise refusals.unknown("message", message_id)
        try:
            return await self._own_chat(draft, home.decode(), user_id)
        except NotFound:
            raise refusals.unknown("message", message_id) from None

    async def _waiting_request(
        self, draft: Draft, message_id: str, user_id: str
    ) -> tuple[Fields, Fields, tree.Tree]:
        """Return the request that a user message waits for: its only one, not started.

        Beside it the chat and its messages.
        """
        chat = await self._chat_of(draft, message_id, user_id)
        found = await tree.read(draft, chat["id"])
        if message_id not in found or found[message_id][1].role != "user":
            raise refusals.unknown("message", message_id)
        answers = [
            message
            for _, message in found.values()
            if message.parent_id == message_id and message.role == "assistant"
        ]
        if len(answers) != 1 or answers[0].request_id is None:
            raise refusals.message_sent()
        key = self.key("request", answers[0].request_id)
        (reply,) = await draft.read(("HGETALL", key))
        request = values.fields(reply)
        if request.get("status") != Status.QUEUED or request.get("attempt", "0") != "0":
            raise refusals.message_sent()
        return request, chat, found

    def _take_out(self, draft: Draft, chat: Fields, found: tree.Tree, gone: Sequence[str]) -> None:
        """Take messages that follow each other out; what follows them follows their parent."""
        chat_id, parent = chat["id"], found[gone[0]][1].parent_id
        for position, message in found.values():
            if message.parent_id in gone and message.id not in gone:
                moved = msgspec.structs.replace(message, parent_id=parent)
                kept = values.placed(moved, position)
                draft.add("HSET", self.key("messages", chat_id), message.id, kept)
        if chat.get("current_message_id") in gone:
            lists.put(draft, chat, current_message_id=parent)
        homes = [name for one in gone for name in named(found[one][1])]
        draft.each("HDEL", self.key("homes"), homes)
        for noun in ("messages", "words"):
            draft.each("HDEL", self.key(noun, chat_id), [*gone])

    def _withdraw(self, draft: Draft, request: Fields) -> None:
        """Remove a request with its log; when it has not ended, this is its end."""
        if not Status(request["status"]).terminal:
            self.steps.tell(draft, request, CANCELLED)
        self.steps.forget(draft, request)

    async def _remove_chat(self, draft: Draft, chat: Fields) -> list[Request]:
        """Remove all of a chat but a tombstone, from which live lists learn that it is gone.

        Return the requests that had not ended, as they were.
        """
        chat_id, user = chat["id"], chat["user_id"]
        found = await tree.read(draft, chat_id)
        (ids,) = await draft.read(("ZRANGE", self.key("requests", chat_id), "0", "-1"))
        replies = await draft.read(*(("HGETALL", self.key("request", one.decode())) for one in ids))
        requests = [values.fields(reply) for reply in replies if reply]
        unended = [one for one in map(values.request, requests) if not one.status.terminal]
        for request in requests:
            self._withdraw(draft, request)
        homes = [name for _, message in found.values() for name in named(message)]
        draft.each("HDEL", self.key("homes"), homes)
        for noun in ("messages", "words", "requests", "unfinished"):
            draft.add("DEL", self.key(noun, chat_id))
        if "client_id" in chat:
            draft.add("HDEL", self.key("names", user), chat["client_id"])
        draft.add("ZREM", self.key("transient"), chat_id)
        lists.remove(draft, chat)
        gone = {"current_message_id": None, "running": None, "client_id": None}
        draft.put(self.key("chat", chat_id), chat, deleted_at=draft.now, title="", **gone)
        draft.add("ZADD", self.key("tombstones"), draft.now, chat_id)
        self.steps.changed(draft, chat)
        return unended


def named(message: Message) -> list[str]:
    """Return the ids by which a message and its items are found."""
    return [message.id, *(item["id"] for item in message.output or ())]


def _has_all(kept: Sequence[bytes], wanted: Sequence[str]) -> bool:
    """Tell whether one message has all these beginnings of words."""
    return any(all(word in found for word in wanted) for found in map(bytes.decode, kept))
