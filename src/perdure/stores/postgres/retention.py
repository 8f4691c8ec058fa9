"""What is removed when its time is over, in small steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from perdure.model import JSON
from perdure.stores.keeping import ROWS_PER_STEP, SESSION_S, TOMBSTONE_S, TRANSIENT_S, WEBHOOK_S
from perdure.stores.postgres.branches import Branches
from perdure.stores.postgres.database import NOW, Session
from perdure.stores.postgres.transitions import LOCK_CHAT
from perdure.stores.rows import UNFINISHED

BEFORE = f"{NOW} - $1::double precision"
# Several processes prune at once: each takes rows that no other holds.
OLD_EVENTS = f"SELECT id FROM request WHERE completed_at < {BEFORE} AND NOT events_pruned"
OLD_REQUESTS = f"SELECT id FROM request WHERE completed_at < {BEFORE}"
OLD_CHATS = (
    f"SELECT id FROM chat WHERE updated_at < {BEFORE} AND deleted_at IS NULL AND NOT EXISTS"
    f" (SELECT 1 FROM request r WHERE r.chat_id = chat.id AND r.{UNFINISHED})"
)
TRANSIENT = f"SELECT chat_id AS id FROM request WHERE transient AND completed_at < {BEFORE}"
WEBHOOKS = f"SELECT id FROM webhook WHERE created_at < {BEFORE} AND due_at IS NULL"
SESSIONS = f"SELECT id FROM credential WHERE kind = 'session' AND expires_at < {BEFORE}"
TOMBSTONES = f"SELECT id FROM chat WHERE deleted_at < {BEFORE}"
KEYS = f"SELECT ctid::text AS id FROM idempotency WHERE request_id = '' AND created_at < {BEFORE}"

Remove = Callable[[Session, list[str]], Awaitable[Any]]


class Retention(Branches):
    """`RequestStore.prune` on PostgreSQL."""

    async def prune(
        self, *, events_s: float, requests_s: float, chats_s: float, dry_run: bool = False
    ) -> JSON:
        if dry_run:
            return {
                "events": await self._due(OLD_EVENTS, events_s),
                "requests": await self._due(OLD_REQUESTS, requests_s),
                "chats": await self._due(OLD_CHATS, chats_s),
                "tombstones": await self._due(TOMBSTONES, TOMBSTONE_S),
                "keys": await self._due(KEYS, TOMBSTONE_S),
                "transient": await self._due(TRANSIENT, TRANSIENT_S),
                "webhooks": await self._due(WEBHOOKS, WEBHOOK_S),
                "sessions": await self._due(SESSIONS, SESSION_S),
            }
        return {
            "events": await self._step(OLD_EVENTS, events_s, self._remove_events),
            "requests": await self._step(OLD_REQUESTS, requests_s, self._forget),
            "chats": await self._prune_chats(OLD_CHATS, chats_s),
            "tombstones": await self._step(TOMBSTONES, TOMBSTONE_S, self._remove_tombstones),
            "keys": await self._step(KEYS, TOMBSTONE_S, self._remove_keys),
            "transient": await self._prune_chats(TRANSIENT, TRANSIENT_S),
            "webhooks": await self._step(WEBHOOKS, WEBHOOK_S, self._remove_webhooks),
            "sessions": await self._step(SESSIONS, SESSION_S, self._remove_sessions),
        }

    async def _due(self, found: str, age_s: float) -> int:
        """Count all that is older than `age_s`."""
        if not age_s:
            return 0
        ((count,),) = await self.db.look(f"SELECT count(*) FROM ({found}) due", float(age_s))
        return int(count)

    async def _step(self, found: str, age_s: float, remove: Remove) -> int:
        """Remove some of what is older than `age_s`; nothing is written when nothing is."""
        if not age_s or not await self.db.look(f"{found} LIMIT 1", float(age_s)):
            return 0

        async def work(session: Session) -> int:
            some = f"{found} ORDER BY id LIMIT {ROWS_PER_STEP} FOR UPDATE SKIP LOCKED"
            old = [row[0] for row in await session.all(some, float(age_s))]
            await remove(session, old)
            return len(old)

        return await self.db.write(work)

    async def _prune_chats(self, found: str, age_s: float) -> int:
        """Remove the chats found one by one, each held while it is looked at once more."""
        if not age_s:
            return 0
        old = await self.db.look(f"{found} LIMIT {ROWS_PER_STEP}", float(age_s))
        return sum([await self._prune_chat(row[0], found, age_s) for row in old])

    async def _prune_chat(self, chat_id: str, found: str, age_s: float) -> bool:
        async def work(session: Session) -> bool:
            await session.one(LOCK_CHAT, chat_id)
            still = await session.one(
                f"SELECT user_id FROM chat WHERE id IN ({found}) AND id = $2",
                float(age_s),
                chat_id,
            )
            if still is not None:
                await self._remove_chat(session, chat_id, still[0])
            return still is not None

        return await self.db.write(work)

    async def _remove_events(self, session: Session, request_ids: list[str]) -> None:
        """Remove the logs of finished answers; the answers themselves stand in the rows."""
        await session.all("DELETE FROM segment WHERE request_id = ANY($1)", request_ids)
        await session.all("UPDATE request SET events_pruned = true WHERE id = ANY($1)", request_ids)

    async def _remove_tombstones(self, session: Session, chat_ids: list[str]) -> None:
        await session.all("DELETE FROM chat WHERE id = ANY($1)", chat_ids)

    async def _remove_keys(self, session: Session, places: list[str]) -> None:
        await session.all("DELETE FROM idempotency WHERE ctid = ANY($1::text[]::tid[])", places)

    async def _remove_webhooks(self, session: Session, webhook_ids: list[str]) -> None:
        await session.all("DELETE FROM webhook WHERE id = ANY($1)", webhook_ids)

    async def _remove_sessions(self, session: Session, session_ids: list[str]) -> None:
        await session.all("DELETE FROM credential WHERE id = ANY($1)", session_ids)
