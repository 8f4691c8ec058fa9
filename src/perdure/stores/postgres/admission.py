"""Who may run next in one database: what is active, and who waits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import msgspec

from perdure.ports import RunLimits
from perdure.stores.fairness import Candidate, Person, Ranking
from perdure.stores.postgres.database import NOW, Session

LOCK = "hashtext('perdure.admission')"
"""Whoever decides about who may run holds it to the end of its transaction."""
EVERYBODY = 2**31 - 1
ACTIVE = (
    "SELECT user_id, agent_id, count(*) FROM request WHERE status = 'streaming'"
    " OR (status = 'queued' AND dispatched_at IS NOT NULL) GROUP BY user_id, agent_id"
)
WAITING = f"""
SELECT user_id, served_at, id, agent_id, created_at FROM (
  SELECT r.user_id, coalesce(t.served_at, 0) AS served_at, r.id, r.agent_id, r.created_at,
         row_number() OVER (PARTITION BY r.user_id, r.agent_id ORDER BY r.created_at, r.id) AS nth
    FROM request r LEFT JOIN turn t ON t.user_id = r.user_id
   WHERE r.status = 'queued' AND r.dispatched_at IS NULL AND r.id <> $1
     AND ($2 OR r.not_before IS NULL OR r.not_before <= {NOW})
     AND NOT EXISTS (SELECT 1 FROM request e WHERE e.chat_id = r.chat_id AND e.id <> r.id
         AND (r.follows IS NULL OR e.id = r.follows)
         AND (e.status = 'streaming' OR (e.status = 'queued'
              AND (e.created_at, e.id) < (r.created_at, r.id))))) w
 WHERE nth <= $3 ORDER BY user_id, created_at, id
"""
# Rows that another transaction holds are passed over: it ends them, or waits for us.
DISPATCH = f"""
WITH free AS (
  SELECT id FROM request WHERE id = ANY($1::text[]) AND status = 'queued'
     AND dispatched_at IS NULL FOR UPDATE SKIP LOCKED
)
UPDATE request r SET dispatched_at = {NOW}, deliveries = 0 FROM free
 WHERE r.id = free.id RETURNING r.id
"""
SLOTS = f"SELECT coalesce(sum(slots), 0) FROM worker WHERE until > {NOW}"
SERVED = f"""
INSERT INTO turn (user_id, served_at)
SELECT user_id, {NOW} FROM request WHERE id = ANY($1::text[]) GROUP BY user_id
    ON CONFLICT (user_id) DO UPDATE SET served_at = excluded.served_at
"""


class Admission(Ranking):
    """One look at the queue.

    Args:
        session: a transaction; for decisions it holds `LOCK`.
        without: a request that is not looked at.

    """

    def __init__(self, session: Session, without: str = "") -> None:
        super().__init__()
        self._session = session
        self._without = without
        self._waiting: list[Any] = []

    async def lock(self) -> None:
        """Wait until nobody else decides; what they decided is seen from here on."""
        await self._session.one(f"SELECT pg_advisory_xact_lock({LOCK})")

    async def pick(self, limits: RunLimits) -> list[Candidate]:
        """Return who fits under the limits, in the order in which they should start."""
        await self.count_active()
        limits = await self.in_force(limits)
        free = limits.running_max - self.by_user.total()
        if free <= 0:
            return []
        await self._look(free, early=False)
        return self.choose(limits)

    async def in_force(self, limits: RunLimits) -> RunLimits:
        """Return the limits as far as the workers that are there can use them."""
        if not limits.by_slots:
            return limits
        slots = int((await self._session.one(SLOTS))[0])
        return msgspec.structs.replace(limits, running_max=min(limits.running_max, slots))

    async def everyone(self) -> list[Candidate]:
        """Return all who wait, in the order in which they will start as far as is known now."""
        await self.count_active()
        await self._look(EVERYBODY, early=True)
        return list(self.order())

    async def count_active(self) -> None:
        """Count what is admitted or running."""
        for user, agent, count in await self._session.all(ACTIVE):
            self.by_user[user] += count
            self.by_agent[agent] += count

    async def _look(self, each: int, *, early: bool) -> None:
        """Find who waits, at most `each` of a person and agent; `early`: also who backs off."""
        self._waiting = await self._session.all(WAITING, self._without, early, each)

    def people(self) -> Iterator[Person]:
        """Yield who waits, as it was found."""
        for user, found in groupby(self._waiting, key=lambda row: row[0]):
            mine = [*found]
            waiting = (Candidate(row[4], row[2], row[3], user) for row in mine)
            yield user, mine[0][1], waiting


async def admit(session: Session, limits: RunLimits) -> list[str]:
    """Mark who may run now; return their ids in the order in which they should start."""
    admission = Admission(session)
    await admission.lock()
    picked = [candidate.request_id for candidate in await admission.pick(limits)]
    if not picked:
        return []
    taken = {row[0] for row in await session.all(DISPATCH, picked)}
    await session.all(SERVED, [*taken])
    return [request_id for request_id in picked if request_id in taken]
