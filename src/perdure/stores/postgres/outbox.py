"""Webhooks that wait for delivery, on PostgreSQL: several processes take different ones."""

from __future__ import annotations

from perdure.model import Webhook
from perdure.stores import refusals, rows
from perdure.stores.postgres.database import NOW
from perdure.stores.postgres.transitions import Transitions

TAKE = f"""
WITH due AS (
  SELECT id FROM webhook WHERE due_at <= {NOW} ORDER BY due_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE webhook w SET attempts = attempts + 1, due_at = {NOW} + $1 FROM due WHERE w.id = due.id
RETURNING {", ".join(f"w.{column}" for column in rows.WEBHOOK.split(", "))}
"""


class Outbox(Transitions):
    """`ports.Outbox` on PostgreSQL."""

    async def take_webhooks(self, hide_s: float, limit: int = 20) -> list[Webhook]:
        found = await self.db.look(TAKE, float(hide_s), limit)
        return sorted(map(rows.webhook, found), key=lambda webhook: webhook.created_at)

    async def settle_webhook(
        self, webhook_id: str, *, error: str | None = None, retry_s: float | None = None
    ) -> None:
        await self.db.look(
            "UPDATE webhook SET error = $2::text,"
            f" due_at = CASE WHEN $2::text IS NOT NULL THEN {NOW} + $3::double precision END,"
            f" delivered_at = CASE WHEN $2::text IS NULL THEN {NOW} END, failed_at ="
            f" CASE WHEN $2::text IS NOT NULL AND $3::double precision IS NULL THEN {NOW} END"
            " WHERE id = $1",
            webhook_id,
            error,
            retry_s,
        )

    async def webhooks(self, user_id: str, *, dead: bool = False, limit: int = 50) -> list[Webhook]:
        found = await self.db.look(
            f"SELECT {rows.WEBHOOK} FROM webhook WHERE user_id = $1"
            " AND (NOT $2 OR failed_at IS NOT NULL) ORDER BY created_at DESC, id DESC LIMIT $3",
            user_id,
            dead,
            limit,
        )
        return [rows.webhook(row) for row in found]

    async def redeliver_webhook(self, webhook_id: str, user_id: str) -> Webhook:
        found = await self.db.look(
            f"UPDATE webhook SET due_at = {NOW}, attempts = 0, delivered_at = NULL,"
            " failed_at = NULL, error = NULL WHERE id = $1 AND user_id = $2"
            f" RETURNING {rows.WEBHOOK}",
            webhook_id,
            user_id,
        )
        if not found:
            raise refusals.unknown("webhook", webhook_id)
        return rows.webhook(found[0])
