"""Chats, messages, search and feedback on PostgreSQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Unpack

from perdure.items import request_of
from perdure.model import JSON, Chat, Feedback, Message, Request, Status, new_id
from perdure.ports import ChatChanges
from perdure.stores import cursors, refusals, rows, words
from perdure.stores.postgres.database import NOW, Session
from perdure.stores.postgres.requests import Requests
from perdure.stores.postgres.transitions import CHANGED, LOCK_CHAT
from perdure.stores.rows import UNFINISHED

CHAT = f"SELECT {rows.CHAT} FROM chat WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL"
LIST = f"""
SELECT {rows.CHAT} FROM chat WHERE user_id = $1 AND deleted_at IS NULL AND archived = $2
   AND NOT transient
   AND ($3 = '' OR title ILIKE $4 OR ($5 <> '' AND EXISTS (SELECT 1 FROM message m
        WHERE m.chat_id = chat.id AND m.words @@ $5::text::tsquery)))
   AND ($6::boolean IS NULL OR (NOT pinned, -updated_at, id)
        > (NOT $6, -$7::double precision, $8::text))
 ORDER BY chat.pinned DESC, chat.updated_at DESC, chat.id LIMIT $9
"""
FEEDBACK = (
    f"INSERT INTO feedback ({rows.FEEDBACK}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
    f" ON CONFLICT (request_id, user_id, name) DO UPDATE SET {rows.FEEDBACK_ANEW}"
)


class Chats(Requests):
    """`ports.ChatStore` on PostgreSQL."""

    async def create_chat(
        self, user_id: str, agent_id: str, title: str, metadata: Mapping[str, str] = {}
    ) -> Chat:
        chat_id = new_id("chat")

        async def work(session: Session) -> Chat:
            await session.all(
                "INSERT INTO chat (id, user_id, agent_id, title, created_at, updated_at, revision,"
                f" metadata) VALUES ($1, $2, $3, $4, {NOW}, {NOW}, 0, $5) ON CONFLICT DO NOTHING",
                chat_id,
                user_id,
                agent_id,
                title,
                rows.dump(metadata),
            )
            await session.all(CHANGED, chat_id, user_id)
            return await self._chat(session, chat_id, user_id)

        return await self.db.write(work)

    async def chat(self, chat_id: str, user_id: str) -> Chat:
        found = await self.db.look(f"{CHAT} AND NOT transient", chat_id, user_id)
        return rows.chat(rows.required(found, "chat", chat_id))

    async def chat_of_client(self, client_id: str, user_id: str) -> Chat:
        found = await self.db.look(
            f"SELECT {rows.CHAT} FROM chat"
            " WHERE user_id = $1 AND client_id = $2 AND deleted_at IS NULL",
            user_id,
            client_id,
        )
        return rows.chat(rows.required(found, "chat", client_id))

    async def chats(
        self,
        user_id: str,
        *,
        query: str = "",
        archived: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[Chat], str | None]:
        pinned, updated_at, chat_id = cursors.read(cursor, 2) if cursor is not None else [None] * 3
        found = await self.db.look(
            LIST,
            user_id,
            archived,
            query.strip(),
            _contains(query),
            _all_words(query),
            None if pinned is None else bool(pinned),
            updated_at,
            chat_id,
            limit + 1,
        )
        page = [rows.chat(row) for row in found[:limit]]
        if len(found) <= limit:
            return page, None
        return page, cursors.write(page[-1].pinned, page[-1].updated_at, page[-1].id)

    async def chats_since(self, user_id: str, revision: int, limit: int = 200) -> list[Chat]:
        found = await self.db.look(
            f"SELECT {rows.CHAT} FROM chat WHERE user_id = $1 AND revision > $2 AND NOT transient"
            " ORDER BY revision LIMIT $3",
            user_id,
            revision,
            limit,
        )
        return [rows.chat(row) for row in found]

    async def revision(self, user_id: str) -> int:
        found = await self.db.look("SELECT revision FROM person WHERE user_id = $1", user_id)
        return int(found[0][0]) if found else 0

    async def update_chat(self, chat_id: str, user_id: str, **changes: Unpack[ChatChanges]) -> Chat:
        current = changes.get("current_message_id")

        async def work(session: Session, _: Chat) -> bool:
            if current is not None:
                found = await session.all(
                    "SELECT 1 FROM message WHERE id = $1 AND chat_id = $2", current, chat_id
                )
                rows.required(found, "message", current)
            values = rows.columns(changes)
            if not values:
                return False
            sets = ", ".join(f"{column} = ${place}" for place, column in enumerate(values, 2))
            await session.all(f"UPDATE chat SET {sets} WHERE id = $1", chat_id, *values.values())
            return True

        return await self._change(chat_id, user_id, work)

    async def mark_read(self, chat_id: str, user_id: str) -> Chat:
        async def work(session: Session, chat: Chat) -> bool:
            if chat.unread:
                await session.all("UPDATE chat SET unread = false WHERE id = $1", chat_id)
            return chat.unread

        return await self._change(chat_id, user_id, work)

    async def delete_chat(self, chat_id: str, user_id: str) -> list[Request]:
        async def work(session: Session) -> list[Request]:
            await session.one(LOCK_CHAT, chat_id)
            await self._chat(session, chat_id, user_id)
            found = await session.all(
                f"SELECT {rows.REQUEST} FROM request WHERE chat_id = $1 AND {UNFINISHED}"
                " ORDER BY created_at, id FOR UPDATE",
                chat_id,
            )
            stopped = [rows.request(row) for row in found]
            for request in stopped:
                await self._end(session, request.id, Status.CANCELLED)
            await self._remove_chat(session, chat_id, user_id)
            return stopped

        return await self.db.write(work)

    async def messages(self, chat_id: str, user_id: str) -> list[Message]:
        rows.required(await self.db.look(CHAT, chat_id, user_id), "chat", chat_id)
        found = await self.db.look(
            f"SELECT {rows.MESSAGE} FROM message WHERE chat_id = $1 ORDER BY position",
            chat_id,
        )
        return [rows.message(row) for row in found]

    async def texts(self, message_ids: Sequence[str], user_id: str) -> dict[str, str]:
        found = await self.db.look(
            "SELECT m.id, m.text FROM message m JOIN chat c ON c.id = m.chat_id"
            " WHERE c.user_id = $1 AND m.id = ANY($2)",
            user_id,
            [*message_ids],
        )
        return dict(map(tuple, found))

    async def edit_message(self, message_id: str, user_id: str, text: str) -> Message:
        async def work(session: Session) -> Message:
            request = await self._waiting_request(session, message_id, user_id)
            row = await session.one(
                "UPDATE message SET text = $2, parts = NULL, words = array_to_tsvector($3)"
                f" WHERE id = $1 RETURNING {rows.MESSAGE}",
                message_id,
                text,
                await words.apart(text),
            )
            await session.all(CHANGED, request.chat_id, user_id)
            return rows.message(row)

        return await self.db.write(work)

    async def remove_message(self, message_id: str, user_id: str) -> Request:
        async def work(session: Session) -> Request:
            request = await self._waiting_request(session, message_id, user_id)
            await self._end(session, request.id, Status.CANCELLED)
            gone = [message_id, request.message_id]
            row = await session.one("SELECT parent_id FROM message WHERE id = $1", message_id)
            await session.all(
                "UPDATE message SET parent_id = $1 WHERE parent_id = ANY($2)", row[0], gone
            )
            await session.all(
                "UPDATE chat SET current_message_id = $1"
                " WHERE id = $2 AND current_message_id = ANY($3)",
                row[0],
                request.chat_id,
                gone,
            )
            await session.all("DELETE FROM message WHERE id = ANY($1)", gone)
            await self._forget(session, [request.id])
            await session.all(CHANGED, request.chat_id, user_id)
            return request

        return await self.db.write(work)

    async def add_feedback(self, feedback: Feedback) -> None:
        async def work(session: Session) -> None:
            if (await self._get(session, feedback.request_id)).user_id != feedback.user_id:
                raise refusals.unknown("request", feedback.request_id)
            await session.all(FEEDBACK, *rows.feedback_values(feedback))

        await self.db.write(work)

    async def feedback(self, request_id: str, user_id: str) -> list[Feedback]:
        found = await self.db.look(
            f"SELECT {rows.FEEDBACK} FROM feedback WHERE request_id = $1 AND user_id = $2",
            request_id,
            user_id,
        )
        return [rows.feedback(row) for row in found]

    async def request_of_trace(self, trace_id: str, user_id: str) -> Request:
        found = await self.db.look(
            f"SELECT {rows.REQUEST} FROM request WHERE trace_id = $1 AND user_id = $2"
            " ORDER BY created_at DESC LIMIT 1",
            trace_id,
            user_id,
        )
        return rows.request(rows.required(found, "trace", trace_id))

    async def answer_item(self, item_id: str, user_id: str) -> JSON:
        found = await self.db.look(
            "SELECT m.output FROM request r JOIN message m ON m.id = r.message_id"
            " WHERE r.id = $1 AND r.user_id = $2 AND m.output IS NOT NULL",
            request_of(item_id),
            user_id,
        )
        return rows.item(found, item_id)

    # --- steps, inside a transaction ---

    async def _change(
        self,
        chat_id: str,
        user_id: str,
        work: Callable[[Session, Chat], Awaitable[bool]],
    ) -> Chat:
        """Change a chat that is the person's, and tell its lists when `work` did something."""

        async def change(session: Session) -> Chat:
            await session.one(LOCK_CHAT, chat_id)
            if await work(session, await self._chat(session, chat_id, user_id)):
                await session.all(CHANGED, chat_id, user_id)
            return await self._chat(session, chat_id, user_id)

        return await self.db.write(change)

    async def _chat(self, session: Session, chat_id: str, user_id: str) -> Chat:
        found = await session.all(CHAT, chat_id, user_id)
        return rows.chat(rows.required(found, "chat", chat_id))

    async def _remove_chat(self, session: Session, chat_id: str, user_id: str) -> None:
        """Remove all of a chat but a tombstone, from which live lists learn that it is gone."""
        found = await session.all("SELECT id FROM request WHERE chat_id = $1", chat_id)
        await self._forget(session, [row[0] for row in found])
        await session.all("DELETE FROM message WHERE chat_id = $1", chat_id)
        await session.all(
            f"UPDATE chat SET deleted_at = {NOW}, title = '', current_message_id = NULL"
            " WHERE id = $1",
            chat_id,
        )
        await session.all(CHANGED, chat_id, user_id)

    async def _waiting_request(self, session: Session, message_id: str, user_id: str) -> Request:
        """Hold and return the request that a user message waits for: its only one, not started."""
        chats = await session.all(
            "SELECT c.id FROM message m JOIN chat c ON c.id = m.chat_id WHERE m.id = $1"
            " AND m.role = 'user' AND c.user_id = $2 AND c.deleted_at IS NULL FOR UPDATE OF c",
            message_id,
            user_id,
        )
        rows.required(chats, "message", message_id)
        requests = await session.all(
            f"SELECT {rows.REQUEST} FROM request WHERE id IN (SELECT request_id FROM message"
            " WHERE parent_id = $1 AND role = 'assistant') AND status = 'queued' AND attempt = 0"
            " FOR UPDATE",
            message_id,
        )
        answers = await session.one(
            "SELECT count(*) FROM message WHERE parent_id = $1 AND role = 'assistant'",
            message_id,
        )
        if len(requests) != 1 or answers[0] != 1:
            raise refusals.message_sent()
        return rows.request(requests[0])


def _contains(query: str) -> str:
    """Return a pattern that finds the query anywhere in a title."""
    escaped = query.strip().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _all_words(query: str) -> str:
    """Return a `tsquery`: every word, each also as a beginning; nothing when there is no word."""
    return " & ".join(f"'{word}':*" for word in words.of(query))
