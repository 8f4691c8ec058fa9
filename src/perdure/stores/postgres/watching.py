"""What operators look at, on PostgreSQL."""

from __future__ import annotations

from perdure.ports import Figures, Overview
from perdure.stores import rows
from perdure.stores.postgres.database import NOW, Session
from perdure.stores.postgres.transitions import Transitions
from perdure.stores.rows import UNFINISHED

LIVE = (
    "SELECT status = 'streaming', dispatched_at IS NOT NULL, count(*), min(created_at),"
    f" min(dispatched_at) FROM request WHERE {UNFINISHED} GROUP BY 1, 2"
)
WEBHOOKS = "SELECT count(*), min(created_at) FROM webhook WHERE due_at IS NOT NULL"
TALLIES = (
    "SELECT agent_id, status, code, sum(count)::bigint FROM tally GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
)
WORKERS = (
    "SELECT coalesce(worker_id, ''), count(*), min(started_at), min(lease_until)"
    " FROM request WHERE status = 'streaming' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100"
)
FAILURES = (
    "SELECT agent_id, status, error::json ->> 'code', count(*) FROM request"
    " WHERE completed_at >= $1 AND error IS NOT NULL"
    " GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 3 LIMIT 50"
)
COURSE = """
SELECT floor((created_at - $1) / $2::double precision)::integer, 'asked', count(*) FROM request
    WHERE created_at >= $1::double precision GROUP BY 1
UNION ALL
SELECT floor((completed_at - $1) / $2)::integer, status, count(*) FROM request
    WHERE completed_at >= $1 GROUP BY 1, 2
"""


class Watching(Transitions):
    """`figures` and `overview` of `ports.RequestStore` on PostgreSQL."""

    async def figures(self) -> Figures:
        async def work(session: Session) -> Figures:
            # One instant for all of them, so that what was accepted never seems to shrink.
            await session.script("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            live = await session.all(LIVE)
            (webhooks,) = await session.all(WEBHOOKS)
            tallies = await session.all(TALLIES)
            ((now,),) = await session.all(f"SELECT {NOW}")
            return rows.figures(now, live, webhooks, tallies)

        return await self.db.write(work)

    async def overview(self, since: float, step_s: float) -> Overview:
        async def work(session: Session) -> Overview:
            workers = await session.all(WORKERS)
            failures = await session.all(FAILURES, since)
            return rows.overview(
                since, step_s, workers, failures, await session.all(COURSE, since, step_s)
            )

        return await self.db.read(work)
