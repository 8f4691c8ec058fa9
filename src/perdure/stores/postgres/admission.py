"""Who may run next in one database: what is active, and who waits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import msgspec

from perdure.ports import RunLimits
from perdure.stores import rows
from perdure.stores.fairness import Candidate, Person, Ranking
from perdure.stores.postgres.database import NOW, Session

LOCK = "pg_advisory_xact_lock(hashtext('perdure.admission'))"
"""Whoever decides about who may run holds it to the end of its transaction."""
LOCK_IF_FREE = "pg_try_advisory_xact_lock(hashtext('perdure.admission'))"
EVERYBODY = RunLimits(running_max=2**31 - 1, running_per_user_max=2**31 - 1)
QUEUED = "status = 'queued' AND dispatched_at IS NULL"
LOOK = f"""
WITH active AS (
  SELECT user_id, agent_id, count(*) AS n FROM request WHERE status = 'streaming'
      OR (status = 'queued' AND dispatched_at IS NOT NULL) GROUP BY user_id, agent_id
), room AS (
  SELECT most, most - (SELECT coalesce(sum(n), 0) FROM active) AS free FROM (
    SELECT least($3::bigint, CASE WHEN $4 THEN (
      SELECT coalesce(sum(slots), 0) FROM worker WHERE until > {NOW}) END) AS most) total
), waiting AS (
  SELECT r.user_id, coalesce(t.served_at, 0) AS served_at, r.id, r.agent_id, r.created_at,
         row_number() OVER (PARTITION BY r.user_id, r.agent_id ORDER BY r.created_at, r.id) AS nth
    FROM request r LEFT JOIN turn t ON t.user_id = r.user_id
   WHERE (SELECT free FROM room) > 0
     AND r.status = 'queued' AND r.dispatched_at IS NULL AND r.id <> $1
     AND ($2 OR r.not_before IS NULL OR r.not_before <= {NOW})
     AND NOT EXISTS (SELECT 1 FROM request e WHERE e.chat_id = r.chat_id AND e.id <> r.id
         AND (r.follows IS NULL OR e.id = r.follows)
         AND (e.status = 'streaming' OR (e.status = 'queued'
              AND (e.created_at, e.id) < (r.created_at, r.id))))
)
SELECT most, (SELECT json_agg(json_build_array(user_id, agent_id, n)) FROM active),
  (SELECT json_agg(json_build_array(user_id, served_at, id, agent_id, created_at)
      ORDER BY user_id, created_at, id) FROM waiting WHERE nth <= free) FROM room
"""
"""What is active and who could start; in one statement, since the whole deployment waits for it."""
WORKERS = f"SELECT count(*) FROM worker WHERE slots > 0 AND until > {NOW}"
COUNT = (
    "SELECT count(*), count(*) FILTER (WHERE user_id = $1)"
    f" FROM request WHERE {QUEUED} AND id <> $2"
)
# Rows that another transaction holds are passed over: it ends them, or waits for us.
DISPATCH = f"""
WITH free AS (
  SELECT id FROM request WHERE id = ANY($1::text[]) AND status = 'queued'
     AND dispatched_at IS NULL FOR UPDATE SKIP LOCKED
), taken AS (
  UPDATE request r SET dispatched_at = {NOW}, deliveries = 0 FROM free
   WHERE r.id = free.id RETURNING r.id, r.user_id, r.dispatched_at
), served AS (
  INSERT INTO turn (user_id, served_at) SELECT user_id, {NOW} FROM taken GROUP BY user_id
      ON CONFLICT (user_id) DO UPDATE SET served_at = excluded.served_at
)
SELECT id, dispatched_at FROM taken
"""


class Admission(Ranking):
    """One look at the queue.

    Args:
        session: a transaction; for decisions it holds `LOCK`.
        without: a request that is not looked at.

    Attributes:
        running_max: how many may run, as far as the workers that are there can take them.

    """

    def __init__(self, session: Session, without: str = "") -> None:
        super().__init__()
        self._session = session
        self._without = without
        self._waiting: list[Any] = []
        self.running_max = 0

    async def pick(self, limits: RunLimits) -> list[Candidate]:
        """Return who fits under the limits, in the order in which they should start."""
        await self._look(limits, early=False)
        return self.choose(msgspec.structs.replace(limits, running_max=self.running_max))

    async def everyone(self) -> list[Candidate]:
        """Return all who wait, in the order in which they will start as far as is known now."""
        await self._look(EVERYBODY, early=True)
        return list(self.order())

    async def _look(self, limits: RunLimits, *, early: bool) -> None:
        """Count what is active and find who could start; `early`: also who backs off."""
        self.running_max, active, waiting = await self._session.one(
            LOOK, self._without, early, limits.running_max, limits.by_slots
        )
        for user, agent, count in rows.load(active) or ():
            self.by_user[user] += count
            self.by_agent[agent] += count
        self._waiting = rows.load(waiting) or []

    def people(self) -> Iterator[Person]:
        """Yield who waits, as it was found."""
        for user, found in groupby(self._waiting, key=lambda row: row[0]):
            mine = [*found]
            waiting = (Candidate(row[4], row[2], row[3], user) for row in mine)
            yield user, mine[0][1], waiting


async def admit(session: Session, limits: RunLimits) -> dict[str, float]:
    """Mark who may run now, under `LOCK`; return when, by id, in the order they should start."""
    picked = [candidate.request_id for candidate in await Admission(session).pick(limits)]
    if not picked:
        return {}
    taken = dict(map(tuple, await session.all(DISPATCH, picked)))
    return {request_id: taken[request_id] for request_id in picked if request_id in taken}
