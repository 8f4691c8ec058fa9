"""Webhooks and verdicts that wait for delivery, on PostgreSQL, taken by several processes."""

from __future__ import annotations

from perdure.model import Feedback, Webhook
from perdure.stores import rows
from perdure.stores.postgres.database import NOW
from perdure.stores.postgres.transitions import Transitions

# What another process takes at this instant is passed over.
TAKE = f"""
WITH due AS (
  SELECT id AS due_id FROM webhook WHERE due_at <= {NOW}
   ORDER BY due_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE webhook SET attempts = attempts + 1, due_at = {NOW} + $1::double precision
  FROM due WHERE id = due_id RETURNING {rows.WEBHOOK}
"""
SETTLE = f"""
UPDATE webhook SET error = $2::text,
       due_at = CASE WHEN $2 IS NOT NULL THEN {NOW} + $3::double precision END,
       delivered_at = CASE WHEN $2 IS NULL THEN {NOW} END,
       failed_at = CASE WHEN $2 IS NOT NULL AND $3 IS NULL THEN {NOW} END
 WHERE id = $1
"""

TAKE_FEEDBACK = f"""
WITH due AS (
  SELECT f.request_id AS due_request, f.user_id AS due_user, f.name AS due_name,
         coalesce(f.trace_id, r.trace_id) AS due_trace
    FROM feedback f JOIN request r ON r.id = f.request_id
   WHERE f.due_at <= {NOW} AND (coalesce(f.trace_id, r.trace_id) IS NOT NULL
         OR r.status NOT IN ('queued', 'streaming'))
   ORDER BY f.due_at, f.id LIMIT $2 FOR UPDATE OF f SKIP LOCKED
)
UPDATE feedback SET tries = tries + 1, due_at = {NOW} + $1::double precision, trace_id = due_trace
  FROM due WHERE request_id = due_request AND user_id = due_user AND name = due_name
 RETURNING {rows.FEEDBACK}
"""
SETTLE_FEEDBACK = f"""
UPDATE feedback SET due_at = {NOW} + $5::double precision
 WHERE request_id = $1 AND user_id = $2 AND name = $3 AND id = $4
"""


class Outbox(Transitions):
    """`ports.Outbox` on PostgreSQL."""

    async def take_webhooks(self, hide_s: float, limit: int = 20) -> list[Webhook]:
        found = await self.db.look(TAKE, float(hide_s), limit)
        return sorted(map(rows.webhook, found), key=lambda webhook: webhook.created_at)

    async def settle_webhook(
        self, webhook_id: str, *, error: str | None = None, retry_s: float | None = None
    ) -> None:
        await self.db.look(SETTLE, webhook_id, error, None if retry_s is None else float(retry_s))

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
        return rows.webhook(rows.required(found, "webhook", webhook_id))

    async def take_feedback(self, hide_s: float, limit: int = 20) -> list[Feedback]:
        found = await self.db.look(TAKE_FEEDBACK, float(hide_s), limit)
        return sorted(map(rows.feedback, found), key=lambda verdict: verdict.created_at)

    async def settle_feedback(self, taken: Feedback, retry_s: float | None = None) -> None:
        named = (taken.request_id, taken.user_id, taken.name, taken.id)
        await self.db.look(SETTLE_FEEDBACK, *named, None if retry_s is None else float(retry_s))
