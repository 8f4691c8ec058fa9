"""Chats, messages, search and feedback on SQLite."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Unpack

from perdure.items import request_of
from perdure.model import JSON, Chat, Feedback, Message, Request, Status, new_id
from perdure.ports import ChatChanges
from perdure.stores import cursors, refusals, rows
from perdure.stores.sqlite.transitions import Transitions

INDEX_BYTES_PER_STEP = 256 * 1024
"""Text taken into the search index in one transaction: a few milliseconds of work."""


class Chats(Transitions):
    """`ports.ChatStore` on one SQLite file."""

    async def create_chat(
        self, user_id: str, agent_id: str, title: str, metadata: Mapping[str, str] = {}
    ) -> Chat:
        def work() -> Chat:
            chat_id, now = new_id("chat"), time.time()
            self.db.all(
                "INSERT INTO chat (id, user_id, agent_id, title, created_at, updated_at, revision,"
                " metadata) VALUES (?, ?, ?, ?, ?, ?, 0, ?)",
                chat_id,
                user_id,
                agent_id,
                title,
                now,
                now,
                rows.dump(metadata),
            )
            self._chat_changed(chat_id, user_id)
            return self._chat(chat_id, user_id)

        return await self.db.write(work)

    async def chat(self, chat_id: str, user_id: str) -> Chat:
        found = self.db.look(f"{_CHAT} AND transient = 0", chat_id, user_id)
        return rows.chat(rows.required(found, "chat", chat_id))

    async def chat_of_client(self, client_id: str, user_id: str) -> Chat:
        found = self.db.look(
            f"SELECT {rows.CHAT} FROM chat"
            " WHERE user_id = ? AND client_id = ? AND deleted_at IS NULL",
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
        where = "user_id = ? AND deleted_at IS NULL AND archived = ? AND transient = 0"
        values: list[str | int | float] = [user_id, int(archived)]
        if query.strip():
            await self.index(None)
            where += (
                " AND (title LIKE ? ESCAPE '\\' OR id IN (SELECT m.chat_id FROM search s"
                " JOIN message m ON m.position = s.rowid WHERE s.text MATCH ?))"
            )
            values += [_contains(query), _words(query)]
        if cursor is not None:
            where += " AND (-pinned, -updated_at, id) > (?, ?, ?)"
            pinned, updated_at, chat_id = cursors.read(cursor, 2)
            values += [-float(pinned), -float(updated_at), chat_id]
        found = self.db.look(
            f"SELECT {rows.CHAT} FROM chat WHERE {where}"
            " ORDER BY pinned DESC, updated_at DESC, id LIMIT ?",
            *values,
            limit + 1,
        )
        page = [rows.chat(row) for row in found[:limit]]
        if len(found) <= limit:
            return page, None
        return page, cursors.write(page[-1].pinned, page[-1].updated_at, page[-1].id)

    async def chats_since(self, user_id: str, revision: int, limit: int = 200) -> list[Chat]:
        found = self.db.look(
            f"SELECT {rows.CHAT} FROM chat WHERE user_id = ? AND revision > ? AND transient = 0"
            " ORDER BY revision LIMIT ?",
            user_id,
            revision,
            limit,
        )
        return [rows.chat(row) for row in found]

    async def revision(self, user_id: str) -> int:
        found = self.db.look("SELECT revision FROM person WHERE user_id = ?", user_id)
        return int(found[0][0]) if found else 0

    async def update_chat(self, chat_id: str, user_id: str, **changes: Unpack[ChatChanges]) -> Chat:
        current = changes.get("current_message_id")

        def work() -> Chat:
            self._chat(chat_id, user_id)
            if current is not None:
                found = self.db.all(
                    "SELECT id FROM message WHERE id = ? AND chat_id = ?", current, chat_id
                )
                rows.required(found, "message", current)
            for column, value in rows.columns(changes).items():
                self.db.all(f"UPDATE chat SET {column} = ? WHERE id = ?", value, chat_id)
            self._chat_changed(chat_id, user_id)
            return self._chat(chat_id, user_id)

        return await self.db.write(work)

    async def mark_read(self, chat_id: str, user_id: str) -> Chat:
        def work() -> Chat:
            if self._chat(chat_id, user_id).unread:
                self.db.all("UPDATE chat SET unread = 0 WHERE id = ?", chat_id)
                self._chat_changed(chat_id, user_id)
            return self._chat(chat_id, user_id)

        return await self.db.write(work)

    async def delete_chat(self, chat_id: str, user_id: str) -> list[Request]:
        def work() -> list[Request]:
            self._chat(chat_id, user_id)
            stopped = self._stop_all(chat_id)
            self._remove_chat(chat_id, user_id)
            return stopped

        return await self.db.write(work)

    async def messages(self, chat_id: str, user_id: str) -> list[Message]:
        rows.required(self.db.look(_CHAT, chat_id, user_id), "chat", chat_id)
        found = self.db.look(
            f"SELECT {rows.MESSAGE} FROM message WHERE chat_id = ? ORDER BY position",
            chat_id,
        )
        return [rows.message(row) for row in found]

    async def texts(self, message_ids: Sequence[str], user_id: str) -> dict[str, str]:
        found = self.db.look(
            "SELECT m.id, m.text FROM message m JOIN chat c ON c.id = m.chat_id"
            " WHERE c.user_id = ? AND m.id IN (SELECT value FROM json_each(?))",
            user_id,
            rows.dump(message_ids),
        )
        return dict(found)

    async def edit_message(self, message_id: str, user_id: str, text: str) -> Message:
        def work() -> Message:
            request = self._waiting_request(message_id, user_id)
            row = self.db.one(
                "UPDATE message SET text = ?, parts = NULL WHERE id = ?"
                f" RETURNING position, {rows.MESSAGE}",
                text,
                message_id,
            )
            self._unindex(row[0])
            self.db.all("INSERT OR IGNORE INTO unindexed VALUES (?)", row[0])
            self._chat_changed(request.chat_id, user_id)
            return rows.message(row[1:])

        return await self.db.write(work)

    async def remove_message(self, message_id: str, user_id: str) -> Request:
        def work() -> Request:
            request = self._waiting_request(message_id, user_id)
            self._end(request.id, Status.CANCELLED)
            before = self.db.one("SELECT parent_id FROM message WHERE id = ?", message_id)[0]
            self.db.all(
                "UPDATE message SET parent_id = ? WHERE parent_id IN (?, ?)",
                before,
                message_id,
                request.message_id,
            )
            self.db.all(
                "UPDATE chat SET current_message_id = ?"
                " WHERE id = ? AND current_message_id IN (?, ?)",
                before,
                request.chat_id,
                message_id,
                request.message_id,
            )
            self._remove_messages("id IN (?, ?)", message_id, request.message_id)
            self._forget(request.id)
            self._chat_changed(request.chat_id, user_id)
            return request

        return await self.db.write(work)

    async def add_feedback(self, feedback: Feedback) -> None:
        def work() -> None:
            if self._get(feedback.request_id).user_id != feedback.user_id:
                raise refusals.unknown("request", feedback.request_id)
            self.db.all(
                f"INSERT INTO feedback ({rows.FEEDBACK}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                f" ON CONFLICT DO UPDATE SET {rows.FEEDBACK_ANEW}",
                *rows.feedback_values(feedback),
            )

        await self.db.write(work)

    async def feedback(self, request_id: str, user_id: str) -> list[Feedback]:
        found = self.db.look(
            f"SELECT {rows.FEEDBACK} FROM feedback WHERE request_id = ? AND user_id = ?",
            request_id,
            user_id,
        )
        return [rows.feedback(row) for row in found]

    async def request_of_trace(self, trace_id: str, user_id: str) -> Request:
        found = self.db.look(
            f"SELECT {rows.REQUEST} FROM request WHERE trace_id = ? AND user_id = ?"
            " ORDER BY created_at DESC LIMIT 1",
            trace_id,
            user_id,
        )
        return self._numbered(rows.request(rows.required(found, "trace", trace_id)))

    async def answer_item(self, item_id: str, user_id: str) -> JSON:
        found = self.db.look(
            "SELECT m.output FROM request r JOIN message m ON m.id = r.message_id"
            " WHERE r.id = ? AND r.user_id = ? AND m.output IS NOT NULL",
            request_of(item_id),
            user_id,
        )
        return rows.item(found, item_id)

    async def index(self, bytes_max: int | None = INDEX_BYTES_PER_STEP) -> bool:
        """Take new texts into the search index; tell whether some are left (never with None)."""
        if not self.db.look("SELECT 1 FROM unindexed LIMIT 1"):
            return False

        def work() -> bool:
            done = 0
            for position, text in self.db.all(
                "SELECT u.position, m.text FROM unindexed u LEFT JOIN message m USING (position)"
                " ORDER BY u.position LIMIT ?",
                -1 if bytes_max is None else 200,
            ):
                if text:
                    self.db.all("INSERT INTO search (rowid, text) VALUES (?, ?)", position, text)
                self.db.all("DELETE FROM unindexed WHERE position = ?", position)
                done += len(text or "")
                if bytes_max is not None and done >= bytes_max:
                    break
            return bool(self.db.all("SELECT 1 FROM unindexed LIMIT 1"))

        return await self.db.write(work)

    # --- steps, inside a transaction ---

    def _chat(self, chat_id: str, user_id: str) -> Chat:
        return rows.chat(rows.required(self.db.all(_CHAT, chat_id, user_id), "chat", chat_id))

    def _remove_chat(self, chat_id: str, user_id: str) -> None:
        """Remove all of a chat but a tombstone, from which live lists learn that it is gone."""
        for (request_id,) in self.db.all("SELECT id FROM request WHERE chat_id = ?", chat_id):
            self._forget(request_id)
        self._remove_messages("chat_id = ?", chat_id)
        self.db.all(
            "UPDATE chat SET deleted_at = ?, title = '', current_message_id = NULL WHERE id = ?",
            time.time(),
            chat_id,
        )
        self._chat_changed(chat_id, user_id)

    def _stop_all(self, chat_id: str) -> list[Request]:
        found = self.db.all(
            f"SELECT id FROM request WHERE chat_id = ? AND {rows.UNFINISHED}",
            chat_id,
        )
        stopped = [self._get(row[0]) for row in found]
        for request in stopped:
            self._end(request.id, Status.CANCELLED)
        return stopped

    def _waiting_request(self, message_id: str, user_id: str) -> Request:
        """Return the request that a user message waits for: its only one, not started yet."""
        found = self.db.all(
            "SELECT m.id FROM message m JOIN chat c ON c.id = m.chat_id"
            " WHERE m.id = ? AND m.role = 'user' AND c.user_id = ? AND c.deleted_at IS NULL",
            message_id,
            user_id,
        )
        rows.required(found, "message", message_id)
        requests = self.db.all(
            f"SELECT {rows.REQUEST} FROM request WHERE id IN (SELECT request_id FROM message"
            " WHERE parent_id = ? AND role = 'assistant') AND status = 'queued' AND attempt = 0",
            message_id,
        )
        answers = self.db.one(
            "SELECT count(*) FROM message WHERE parent_id = ? AND role = 'assistant'",
            message_id,
        )
        if len(requests) != 1 or answers[0] != 1:
            raise refusals.message_sent()
        return rows.request(requests[0])

    def _remove_messages(self, where: str, *values: str) -> None:
        for (position,) in self.db.all(f"SELECT position FROM message WHERE {where}", *values):
            self._unindex(position)
        self.db.all(f"DELETE FROM message WHERE {where}", *values)

    def _unindex(self, position: int) -> None:
        self.db.all("DELETE FROM search WHERE rowid = ?", position)
        self.db.all("DELETE FROM unindexed WHERE position = ?", position)


_CHAT = f"SELECT {rows.CHAT} FROM chat WHERE id = ? AND user_id = ? AND deleted_at IS NULL"


def _contains(query: str) -> str:
    """Return a LIKE pattern that finds the query anywhere in a title."""
    escaped = query.strip().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _words(query: str) -> str:
    """Return a full-text query: every word, the last ones also as beginnings."""
    words = query.replace("\0", " ").replace('"', '""').split()
    return " ".join(f'"{word}"*' for word in words)
