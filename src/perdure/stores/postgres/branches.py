"""Messages that are put into a chat, or taken out of it, without asking anybody; on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.items import text_of
from perdure.model import JSON, Chat, Message
from perdure.ports import NewMessage
from perdure.stores import refusals, rows, words
from perdure.stores.postgres import messages as tree
from perdure.stores.postgres.chats import Chats
from perdure.stores.postgres.database import NOW, Session
from perdure.stores.postgres.transitions import CHANGED, LOCK_CHAT


class Branches(Chats):
    """The part of `ports.ChatStore` that edits a chat's tree."""

    async def add_messages(
        self,
        chat_id: str,
        user_id: str,
        messages: Sequence[NewMessage],
        messages_max: int | None = None,
    ) -> list[Message]:
        runs = 0

        async def work(session: Session) -> list[Message]:
            nonlocal runs
            runs += 1
            before = await self._added(session, chat_id, messages) if runs > 1 else []
            return before or await self._add(session, chat_id, user_id, messages, messages_max)

        return await self.db.write(work)

    async def _added(
        self, session: Session, chat_id: str, messages: Sequence[NewMessage]
    ) -> list[Message]:
        """Return what an earlier run of this very call added although its commit was lost."""
        found = await session.all(
            f"SELECT {rows.MESSAGE} FROM message WHERE chat_id = $1 AND id = ANY($2)"
            " ORDER BY position",
            chat_id,
            [message.id for message in messages],
        )
        return [rows.message(row) for row in found]

    async def _add(
        self,
        session: Session,
        chat_id: str,
        user_id: str,
        messages: Sequence[NewMessage],
        messages_max: int | None,
    ) -> list[Message]:
        parent = (await self._idle_chat(session, chat_id, user_id)).current_message_id
        (count,) = await session.one("SELECT count(*) FROM message WHERE chat_id = $1", chat_id)
        if messages_max is not None and count + len(messages) > messages_max:
            raise refusals.chat_full(count, messages_max)
        added = []
        for message in messages:
            added.append(await tree.insert(session, chat_id, message, parent))
            parent = message.id
        await session.all(
            f"UPDATE chat SET current_message_id = $2, updated_at = {NOW} WHERE id = $1",
            chat_id,
            parent,
        )
        await session.all(CHANGED, chat_id, user_id)
        return added

    async def drop_message(
        self, message_id: str, user_id: str, keep: Sequence[JSON] | None = None
    ) -> Chat:
        async def work(session: Session) -> Chat:
            found = await session.all(
                "SELECT m.chat_id FROM message m JOIN chat c ON c.id = m.chat_id"
                " WHERE m.id = $1 AND c.user_id = $2 AND c.deleted_at IS NULL",
                message_id,
                user_id,
            )
            (chat_id,) = rows.required(found, "message", message_id)
            await self._idle_chat(session, chat_id, user_id)
            if keep is None:
                await self._take_out(session, chat_id, message_id)
            else:
                await self._reduce(session, message_id, keep)
            await session.all(CHANGED, chat_id, user_id)
            return await self._chat(session, chat_id, user_id)

        return await self.db.write(work)

    async def _idle_chat(self, session: Session, chat_id: str, user_id: str) -> Chat:
        """Hold and return a chat of which no request waits or runs."""
        await session.one(LOCK_CHAT, chat_id)
        chat = await self._chat(session, chat_id, user_id)
        if chat.running_request_id or chat.queued:
            raise refusals.chat_being_answered()
        return chat

    async def _take_out(self, session: Session, chat_id: str, message_id: str) -> None:
        # Read under the chat's lock: what it followed may have been taken out just now.
        found = await session.all(
            "DELETE FROM message WHERE id = $1 RETURNING parent_id", message_id
        )
        (parent,) = rows.required(found, "message", message_id)
        await session.all(
            "UPDATE message SET parent_id = $1 WHERE parent_id = $2", parent, message_id
        )
        await session.all(
            "UPDATE chat SET current_message_id = $1 WHERE id = $2 AND current_message_id = $3",
            parent,
            chat_id,
            message_id,
        )

    async def _reduce(self, session: Session, message_id: str, keep: Sequence[JSON]) -> None:
        text = text_of(keep)
        await session.all(
            "UPDATE message SET output = $2, text = $3, words = array_to_tsvector($4)"
            " WHERE id = $1",
            message_id,
            rows.dump([*keep]),
            text,
            await words.apart(text),
        )
