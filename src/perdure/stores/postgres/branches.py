"""Messages that are put into a chat, or taken out of it, without asking anybody."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.items import text_of
from perdure.model import JSON, Chat, Message
from perdure.ports import NewMessage
from perdure.stores import refusals, rows
from perdure.stores.postgres import words
from perdure.stores.postgres.chats import Chats
from perdure.stores.postgres.database import NOW, Session
from perdure.stores.postgres.transitions import CHANGED, LOCK_CHAT


class Branches(Chats):
    """The part of `ports.ChatStore` that edits a chat's tree."""

    async def add_messages(
        self, chat_id: str, user_id: str, messages: Sequence[NewMessage]
    ) -> list[Message]:
        async def work(session: Session) -> list[Message]:
            parent = (await self._idle_chat(session, chat_id, user_id)).current_message_id
            added = []
            for message in messages:
                added.append(await self._add_message(session, chat_id, parent, message))
                parent = message.id
            await session.all(
                f"UPDATE chat SET current_message_id = $2, updated_at = {NOW} WHERE id = $1",
                chat_id,
                parent,
            )
            await session.all(CHANGED, chat_id, user_id)
            return added

        return await self.db.write(work)

    async def drop_message(
        self, message_id: str, user_id: str, keep: Sequence[JSON] | None = None
    ) -> Chat:
        async def work(session: Session) -> Chat:
            row = await session.one(
                "SELECT m.chat_id FROM message m JOIN chat c ON c.id = m.chat_id"
                " WHERE m.id = $1 AND c.user_id = $2 AND c.deleted_at IS NULL",
                message_id,
                user_id,
            )
            if row is None:
                raise refusals.unknown("message", message_id)
            chat_id = row[0]
            await self._idle_chat(session, chat_id, user_id)
            if keep is None:
                await self._take_out(session, chat_id, message_id)
            else:
                await self._reduce(session, message_id, keep)
            await session.all(CHANGED, chat_id, user_id)
            return await self._chat(session, chat_id, user_id)

        return await self.db.write(work)

    async def _idle_chat(self, session: Session, chat_id: str, user_id: str) -> Chat:
        """Hold a chat in which nothing runs or waits."""
        await session.one(LOCK_CHAT, chat_id)
        chat = await self._chat(session, chat_id, user_id)
        if chat.running_request_id or chat.queued:
            raise refusals.chat_unfinished()
        return chat

    async def _add_message(
        self, session: Session, chat_id: str, parent: str | None, message: NewMessage
    ) -> Message:
        row = await session.one(
            "INSERT INTO message (id, chat_id, parent_id, role, text, parts, created_at, words)"
            f" VALUES ($1, $2, $3, $4, $5, $6, {NOW}, array_to_tsvector($7))"
            f" RETURNING {rows.MESSAGE}",
            message.id,
            chat_id,
            parent,
            message.role,
            message.text,
            rows.dump(message.parts),
            words.of(message.text),
        )
        return rows.message(row)

    async def _take_out(self, session: Session, chat_id: str, message_id: str) -> None:
        row = await session.one("SELECT parent_id FROM message WHERE id = $1", message_id)
        parent = row and row[0]
        await session.all(
            "UPDATE message SET parent_id = $1 WHERE parent_id = $2", parent, message_id
        )
        await session.all(
            "UPDATE chat SET current_message_id = $1 WHERE id = $2 AND current_message_id = $3",
            parent,
            chat_id,
            message_id,
        )
        await session.all("DELETE FROM message WHERE id = $1", message_id)

    async def _reduce(self, session: Session, message_id: str, keep: Sequence[JSON]) -> None:
        text = text_of(keep)
        await session.all(
            "UPDATE message SET output = $2, text = $3, words = array_to_tsvector($4)"
            " WHERE id = $1",
            message_id,
            rows.dump(list(keep)),
            text,
            words.of(text),
        )
