"""Webhooks that wait for delivery, on Redis; several processes take them side by side."""

from __future__ import annotations

from perdure.model import Webhook
from perdure.stores import refusals
from perdure.stores.keeping import WEBHOOK_S
from perdure.stores.redis import lists, values
from perdure.stores.redis.appending import Appending
from perdure.stores.redis.database import Draft
from perdure.stores.redis.values import Fields

FORGOTTEN_S = WEBHOOK_S + 86_400.0
"""After how long Redis itself forgets a settled webhook that nobody pruned."""


class Outbox(Appending):
    """`ports.Outbox` on Redis."""

    async def take_webhooks(self, hide_s: float, limit: int = 20) -> list[Webhook]:
        found = await self.db.run("take", self.db.access.prefix, hide_s, limit)
        taken = [values.webhook(values.pairs(reply)) for reply in found]
        return sorted(taken, key=lambda webhook: webhook.created_at)

    async def settle_webhook(
        self, webhook_id: str, *, error: str | None = None, retry_s: float | None = None
    ) -> None:
        async def work(draft: Draft) -> None:
            found = await self._webhook(draft, webhook_id)
            if not found:
                return
            if error is not None and retry_s is not None:
                due_at = draft.now + retry_s
                draft.put(self.key("webhook", webhook_id), found, error=error, due_at=due_at)
                draft.add("ZADD", self.key("due"), due_at, webhook_id)
            else:
                self._settle(draft, found, error)

        await self.db.change(work)

    def _settle(self, draft: Draft, found: Fields, error: str | None) -> None:
        """Note that it was delivered, or that it is given up."""
        key, how = self.key("webhook", found["id"]), "failed_at" if error else "delivered_at"
        draft.put(key, found, due_at=None, error=error, **{how: draft.now})
        draft.add("ZREM", self.key("due"), found["id"])
        draft.add("ZADD", self.key("settled"), found["created_at"], found["id"])
        draft.add("PEXPIRE", key, int(FORGOTTEN_S * 1000))

    async def _webhook(self, draft: Draft, webhook_id: str) -> Fields:
        """Return a webhook, which must still be there at the commit; empty: there is none."""
        key = self.key("webhook", webhook_id)
        (found,) = await draft.read(("HGETALL", key))
        if found:
            draft.guard(key, "id", webhook_id)
        return values.fields(found)

    async def webhooks(self, user_id: str, *, dead: bool = False, limit: int = 50) -> list[Webhook]:
        page: list[Webhook] = []
        key = self.key("webhooks", user_id)
        async for batch in lists.walk(self.db, key, None, down=True):
            found = await self.db.look(*(("HGETALL", self.key("webhook", one)) for one in batch))
            kept = [values.fields(reply) for reply in found if reply]
            page += [values.webhook(one) for one in kept if "failed_at" in one or not dead]
            if len(page) >= limit:
                break
        return page[:limit]

    async def redeliver_webhook(self, webhook_id: str, user_id: str) -> Webhook:
        async def work(draft: Draft) -> Webhook:
            found = await self._webhook(draft, webhook_id)
            if found.get("user_id") != user_id:
                raise refusals.unknown("webhook", webhook_id)
            key = self.key("webhook", webhook_id)
            anew = {"delivered_at": None, "failed_at": None, "error": None}
            draft.put(key, found, due_at=draft.now, attempts=0, **anew)
            draft.add("ZREM", self.key("settled"), webhook_id)
            draft.add("ZADD", self.key("due"), draft.now, webhook_id)
            draft.add("PERSIST", key)
            return values.webhook(found)

        return await self.db.change(work)
