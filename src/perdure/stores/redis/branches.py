"""Messages that are put into a chat, or taken out of it, without asking anybody; on Redis."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from perdure.items import text_of
from perdure.model import JSON, Chat, Message
from perdure.ports import NewMessage
from perdure.stores import refusals
from perdure.stores.redis import lists, tree
from perdure.stores.redis.chats import Chats
from perdure.stores.redis.database import Draft
from perdure.stores.redis.values import Fields


class Branches(Chats):
    """The part of `ports.ChatStore` that edits a chat's tree."""

    async def add_messages(
        self,
        chat_id: str,
        user_id: str,
        messages: Sequence[NewMessage],
        messages_max: int | None = None,
    ) -> list[Message]:
        async def work(draft: Draft) -> list[Message]:
            chat = await self._idle(draft, await self._own_chat(draft, chat_id, user_id))
            (count,) = await draft.read(("HLEN", self.key("messages", chat_id)))
            if messages_max is not None and count + len(messages) > messages_max:
                raise refusals.chat_full(count, messages_max)
            await self._refuse_known(draft, messages)
            position, parent = int(chat.get("positions", 0)), chat.get("current_message_id")
            added = []
            for place, message in enumerate(messages, position):
                added.append(tree.made(message, chat_id, parent, now=draft.now))
                await self.steps.write_message(draft, place, added[-1])
                parent = message.id
            changes = {"current_message_id": parent, "positions": position + len(added)}
            lists.put(draft, chat, updated_at=draft.now, **changes)
            self.steps.changed(draft, chat)
            return added

        return await self.db.change(work)

    async def _refuse_known(self, draft: Draft, messages: Sequence[NewMessage]) -> None:
        """Refuse ids that are taken, now and at the commit."""
        if not messages:
            return
        ids, homes = [message.id for message in messages], self.key("homes")
        (found,) = await draft.read(("HMGET", homes, *ids))
        for message_id, home in zip(ids, found, strict=True):
            if home is not None:
                raise refusals.message_exists(message_id)
            draft.guard(homes, message_id, None)

    async def drop_message(
        self, message_id: str, user_id: str, keep: Sequence[JSON] | None = None
    ) -> Chat:
        async def work(draft: Draft) -> str:
            chat = await self._idle(draft, await self._chat_of(draft, message_id, user_id))
            found = await tree.read(draft, chat["id"])
            if message_id not in found:
                raise refusals.unknown("message", message_id)
            if keep is None:
                self._take_out(draft, chat, found, [message_id])
            else:
                position, message = found[message_id]
                output = [*keep]
                less = msgspec.structs.replace(message, output=output, text=text_of(output))
                await self.steps.write_message(draft, position, less, message.output)
            self.steps.changed(draft, chat)
            return chat["id"]

        return await self._chat(await self.db.change(work), user_id)

    async def _idle(self, draft: Draft, chat: Fields) -> Fields:
        """Return a chat of which no request waits or runs."""
        (unfinished,) = await draft.read(("ZCARD", self.key("unfinished", chat["id"])))
        if unfinished:
            raise refusals.chat_being_answered()
        return chat
