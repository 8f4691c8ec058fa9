"""Webhooks and verdicts that wait for delivery, on SQLite."""

from __future__ import annotations

import time

from perdure.model import Feedback, Webhook
from perdure.stores import rows
from perdure.stores.sqlite.transitions import Transitions

DUE = "due_at IS NOT NULL AND due_at <= ?"

TAKE_FEEDBACK = f"""
UPDATE feedback SET tries = tries + 1, due_at = ?, trace_id = coalesce(
       trace_id, (SELECT r.trace_id FROM request r WHERE r.id = request_id))
 WHERE (request_id, user_id, name) IN (
       SELECT f.request_id, f.user_id, f.name FROM feedback f JOIN request r ON r.id = f.request_id
        WHERE f.due_at <= ? AND (coalesce(f.trace_id, r.trace_id) IS NOT NULL
              OR r.status NOT IN ('queued', 'streaming'))
        ORDER BY f.due_at, f.id LIMIT ?)
 RETURNING {rows.FEEDBACK}
"""


class Outbox(Transitions):
    """`ports.Outbox` on one SQLite file."""

    async def take_webhooks(self, hide_s: float, limit: int = 20) -> list[Webhook]:
        if not self.db.look(f"SELECT 1 FROM webhook WHERE {DUE} LIMIT 1", time.time()):
            return []

        def work() -> list[Webhook]:
            now = time.time()
            found = self.db.all(
                "UPDATE webhook SET attempts = attempts + 1, due_at = ? WHERE id IN"
                f" (SELECT id FROM webhook WHERE {DUE} ORDER BY due_at, id LIMIT ?)"
                f" RETURNING {rows.WEBHOOK}",
                now + hide_s,
                now,
                limit,
            )
            return sorted(map(rows.webhook, found), key=lambda webhook: webhook.created_at)

        return await self.db.write(work)

    async def settle_webhook(
        self, webhook_id: str, *, error: str | None = None, retry_s: float | None = None
    ) -> None:
        now = time.time()
        again = now + retry_s if error is not None and retry_s is not None else None
        given_up = now if error is not None and retry_s is None else None

        def work() -> None:
            self.db.all(
                "UPDATE webhook SET due_at = ?, delivered_at = ?, failed_at = ?, error = ?"
                " WHERE id = ?",
                again,
                now if error is None else None,
                given_up,
                error,
                webhook_id,
            )

        await self.db.write(work)

    async def webhooks(self, user_id: str, *, dead: bool = False, limit: int = 50) -> list[Webhook]:
        only = " AND failed_at IS NOT NULL" if dead else ""
        found = self.db.look(
            f"SELECT {rows.WEBHOOK} FROM webhook WHERE user_id = ?{only}"
            " ORDER BY created_at DESC, id DESC LIMIT ?",
            user_id,
            limit,
        )
        return [rows.webhook(row) for row in found]

    async def redeliver_webhook(self, webhook_id: str, user_id: str) -> Webhook:
        def work() -> Webhook:
            found = self.db.all(
                "UPDATE webhook SET due_at = ?, attempts = 0, delivered_at = NULL,"
                " failed_at = NULL, error = NULL WHERE id = ? AND user_id = ?"
                f" RETURNING {rows.WEBHOOK}",
                time.time(),
                webhook_id,
                user_id,
            )
            return rows.webhook(rows.required(found, "webhook", webhook_id))

        return await self.db.write(work)

    async def take_feedback(self, hide_s: float, limit: int = 20) -> list[Feedback]:
        if not self.db.look("SELECT 1 FROM feedback WHERE due_at <= ? LIMIT 1", time.time()):
            return []

        def work() -> list[Feedback]:
            now = time.time()
            found = self.db.all(TAKE_FEEDBACK, now + hide_s, now, limit)
            return sorted(map(rows.feedback, found), key=lambda verdict: verdict.created_at)

        return await self.db.write(work)

    async def settle_feedback(self, taken: Feedback, retry_s: float | None = None) -> None:
        def work() -> None:
            self.db.all(
                "UPDATE feedback SET due_at = ? WHERE request_id = ? AND user_id = ? AND name = ?"
                " AND id = ?",
                None if retry_s is None else time.time() + retry_s,
                taken.request_id,
                taken.user_id,
                taken.name,
                taken.id,
            )

        await self.db.write(work)
