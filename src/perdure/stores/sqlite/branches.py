"""Messages that are put into a chat, or taken out of it, without asking anybody; on SQLite."""

from __future__ import annotations

import time
from collections.abc import Sequence

from perdure.items import text_of
from perdure.model import JSON, Chat, Message
from perdure.ports import NewMessage
from perdure.stores import refusals, rows
from perdure.stores.sqlite.chats import Chats


class Branches(Chats):
    """The part of `ports.ChatStore` that edits a chat's tree."""

    async def add_messages(
        self,
        chat_id: str,
        user_id: str,
        messages: Sequence[NewMessage],
        messages_max: int | None = None,
    ) -> list[Message]:
        def work() -> list[Message]:
            parent = self._idle_chat(chat_id, user_id).current_message_id
            (count,) = self.db.one("SELECT count(*) FROM message WHERE chat_id = ?", chat_id)
            if messages_max is not None and count + len(messages) > messages_max:
                raise refusals.chat_full(count, messages_max)
            added = []
            for message in messages:
                added.append(self._add_message(chat_id, parent, message))
                parent = message.id
            self.db.all(
                "UPDATE chat SET current_message_id = ?, updated_at = ? WHERE id = ?",
                parent,
                time.time(),
                chat_id,
            )
            self._chat_changed(chat_id, user_id)
            return added

        return await self.db.write(work)

    async def drop_message(
        self, message_id: str, user_id: str, keep: Sequence[JSON] | None = None
    ) -> Chat:
        def work() -> Chat:
            found = self.db.all(
                "SELECT m.chat_id, m.parent_id FROM message m JOIN chat c ON c.id = m.chat_id"
                " WHERE m.id = ? AND c.user_id = ? AND c.deleted_at IS NULL",
                message_id,
                user_id,
            )
            chat_id, parent = rows.required(found, "message", message_id)
            self._idle_chat(chat_id, user_id)
            if keep is None:
                self._take_out(chat_id, message_id, parent)
            else:
                self._reduce(message_id, keep)
            self._chat_changed(chat_id, user_id)
            return self._chat(chat_id, user_id)

        return await self.db.write(work)

    def _idle_chat(self, chat_id: str, user_id: str) -> Chat:
        chat = self._chat(chat_id, user_id)
        if chat.running_request_id or chat.queued:
            raise refusals.chat_being_answered()
        return chat

    def _add_message(self, chat_id: str, parent: str | None, message: NewMessage) -> Message:
        row = self.db.one(
            "INSERT INTO message (id, chat_id, parent_id, role, text, parts, created_at)"
            f" VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING position, {rows.MESSAGE}",
            message.id,
            chat_id,
            parent,
            message.role,
            message.text,
            rows.dump(message.parts),
            time.time(),
        )
        if message.text:
            self.db.all("INSERT OR IGNORE INTO unindexed VALUES (?)", row[0])
        return rows.message(row[1:])

    def _take_out(self, chat_id: str, message_id: str, parent: str | None) -> None:
        self.db.all("UPDATE message SET parent_id = ? WHERE parent_id = ?", parent, message_id)
        self.db.all(
            "UPDATE chat SET current_message_id = ? WHERE id = ? AND current_message_id = ?",
            parent,
            chat_id,
            message_id,
        )
        self._remove_messages("id = ?", message_id)

    def _reduce(self, message_id: str, keep: Sequence[JSON]) -> None:
        (position,) = self.db.one(
            "UPDATE message SET output = ?, text = ? WHERE id = ? RETURNING position",
            rows.dump(list(keep)),
            text_of(keep),
            message_id,
        )
        self._unindex(position)
        self.db.all("INSERT OR IGNORE INTO unindexed VALUES (?)", position)
