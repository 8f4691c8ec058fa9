"""What is removed when its time is over, in small steps."""

from __future__ import annotations

import time

from perdure.model import JSON
from perdure.stores.sqlite.chats import Chats

ROWS_PER_STEP = 200
TOMBSTONE_S = 86_400.0
"""How long live lists can still learn that a chat was deleted."""


class Retention(Chats):
    """`RequestStore.prune` on one SQLite file, and the housekeeping of its log."""

    async def prune(self, *, events_s: float, requests_s: float, chats_s: float) -> JSON:
        now = time.time()

        def work() -> JSON:
            self.log.tidy()
            return {
                "events": self._prune_events(now - events_s) if events_s else 0,
                "requests": self._prune_requests(now - requests_s) if requests_s else 0,
                "chats": self._prune_chats(now - chats_s) if chats_s else 0,
                "tombstones": self._prune_tombstones(now - TOMBSTONE_S),
            }

        counts = await self.db.write(work)
        await self.index()
        self.db.bound_wal()
        return counts

    def _prune_events(self, before: float) -> int:
        """Remove logs of finished answers; the answer itself stands in the request's row."""
        found = self.db.all(
            "UPDATE request SET events_pruned = 1 WHERE id IN (SELECT id FROM request"
            " WHERE completed_at < ? AND events_pruned = 0 LIMIT ?) RETURNING id",
            before,
            ROWS_PER_STEP,
        )
        for (request_id,) in found:
            self.db.all("DELETE FROM segment WHERE request_id = ?", request_id)
        return len(found)

    def _prune_requests(self, before: float) -> int:
        found = self.db.all(
            "SELECT id FROM request WHERE completed_at < ? LIMIT ?",
            before,
            ROWS_PER_STEP,
        )
        for (request_id,) in found:
            self._forget(request_id)
        return len(found)

    def _prune_chats(self, before: float) -> int:
        found = self.db.all(
            "SELECT id, user_id FROM chat WHERE updated_at < ? AND deleted_at IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM request r WHERE r.chat_id = chat.id"
            " AND r.status IN ('queued', 'streaming')) LIMIT ?",
            before,
            ROWS_PER_STEP,
        )
        for chat_id, user_id in found:
            self._remove_chat(chat_id, user_id)
        return len(found)

    def _prune_tombstones(self, before: float) -> int:
        return len(
            self.db.all("DELETE FROM chat WHERE deleted_at < ? RETURNING id", before),
        )
