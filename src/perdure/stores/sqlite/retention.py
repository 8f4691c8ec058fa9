"""What is removed when its time is over, in small steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from perdure.model import JSON
from perdure.stores.keeping import ROWS_PER_STEP, SESSION_S, TOMBSTONE_S, TRANSIENT_S, WEBHOOK_S
from perdure.stores.rows import UNFINISHED
from perdure.stores.sqlite.branches import Branches

OLD_EVENTS = "SELECT id FROM request WHERE completed_at < ? AND events_pruned = 0"
OLD_REQUESTS = "SELECT id FROM request WHERE completed_at < ?"
OLD_TRANSIENT = "SELECT id FROM request WHERE transient = 1 AND completed_at < ?"
OLD_WEBHOOKS = "SELECT id FROM webhook WHERE created_at < ? AND due_at IS NULL"
OLD_CHATS = (
    "SELECT id FROM chat WHERE updated_at < ? AND deleted_at IS NULL AND NOT EXISTS"
    f" (SELECT 1 FROM request r WHERE r.chat_id = chat.id AND r.{UNFINISHED})"
)
OVER = "SELECT id FROM credential WHERE kind = 'session' AND expires_at < ?"
TOMBSTONES = "SELECT id FROM chat WHERE deleted_at < ?"
KEYS = "SELECT user_id || char(10) || key FROM idempotency WHERE request_id = '' AND created_at < ?"


def due(look: Callable[[str, float], list[Any]], ages: Mapping[str, float]) -> JSON:
    """Count by noun what is older than it may get; ages in seconds, 0 = kept for ever."""
    return {
        noun: look(f"SELECT count(*) FROM ({found})", before)[0][0] if before else 0
        for noun, (found, before) in _old(ages).items()
    }


def _old(ages: Mapping[str, float]) -> dict[str, tuple[str, float]]:
    """Return by noun what finds the ids of the old, and the time before which they are it."""
    now = time.time()
    return {
        noun: (found, now - age_s if age_s else 0.0)
        for noun, found, age_s in (
            ("events", OLD_EVENTS, ages["events"]),
            ("requests", OLD_REQUESTS, ages["requests"]),
            ("chats", OLD_CHATS, ages["chats"]),
            ("tombstones", TOMBSTONES, TOMBSTONE_S),
            ("keys", KEYS, TOMBSTONE_S),
            ("transient", OLD_TRANSIENT, TRANSIENT_S),
            ("webhooks", OLD_WEBHOOKS, WEBHOOK_S),
            ("sessions", OVER, SESSION_S),
        )
    }


class Retention(Branches):
    """`RequestStore.prune` on one SQLite file, and the housekeeping of its log."""

    async def prune(
        self, *, events_s: float, requests_s: float, chats_s: float, dry_run: bool = False
    ) -> JSON:
        ages = {"events": events_s, "requests": requests_s, "chats": chats_s}
        if dry_run:
            return due(self.db.look, ages)
        if self.log.untidy:
            await self.db.write(self.log.tidy)
        await self.index()
        remove = {
            "events": self._remove_events,
            "requests": self._remove_request,
            "chats": self._remove_old_chat,
            "tombstones": self._remove_tombstone,
            "keys": self._remove_key,
            "transient": self._remove_transient,
            "webhooks": self._remove_webhook,
            "sessions": self._remove_session,
        }
        return {
            noun: await self._step(found, before, remove[noun]) if before else 0
            for noun, (found, before) in _old(ages).items()
        }

    async def _step(self, found: str, before: float, remove: Callable[[str], None]) -> int:
        """Remove some of what is older than `before`; nothing is written when nothing is."""
        sql = f"{found} LIMIT {ROWS_PER_STEP}"
        if not self.db.look(sql, before):
            return 0

        def work() -> int:
            old = self.db.all(sql, before)
            for (object_id,) in old:
                remove(object_id)
            return len(old)

        return await self.db.write(work)

    def _remove_events(self, request_id: str) -> None:
        """Remove the log of a finished answer; the answer itself stands in the request's row."""
        self.db.all("DELETE FROM segment WHERE request_id = ?", request_id)
        self.db.all("UPDATE request SET events_pruned = 1 WHERE id = ?", request_id)

    def _remove_request(self, request_id: str) -> None:
        self._forget(request_id)

    def _remove_old_chat(self, chat_id: str) -> None:
        (user_id,) = self.db.one("SELECT user_id FROM chat WHERE id = ?", chat_id)
        self._remove_chat(chat_id, user_id)

    def _remove_tombstone(self, chat_id: str) -> None:
        self.db.all("DELETE FROM chat WHERE id = ?", chat_id)

    def _remove_key(self, name: str) -> None:
        user_id, _, key = name.rpartition("\n")  # a key is printable
        self.db.all("DELETE FROM idempotency WHERE user_id = ? AND key = ?", user_id, key)

    def _remove_transient(self, request_id: str) -> None:
        request = self._get(request_id)
        self._remove_chat(request.chat_id, request.user_id)

    def _remove_webhook(self, webhook_id: str) -> None:
        self.db.all("DELETE FROM webhook WHERE id = ?", webhook_id)

    def _remove_session(self, session_id: str) -> None:
        self.db.all("DELETE FROM credential WHERE id = ?", session_id)
