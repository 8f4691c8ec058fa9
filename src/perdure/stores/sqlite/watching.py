"""What operators look at, on SQLite."""

from __future__ import annotations

import time

from perdure.ports import Figures, Overview
from perdure.stores import rows
from perdure.stores.sqlite.transitions import Transitions


class Watching(Transitions):
    """`figures` and `overview` of `ports.RequestStore` on one SQLite file."""

    async def figures(self) -> Figures:
        live = self.db.look(
            "SELECT status = 'streaming', dispatched_at IS NOT NULL, count(*), min(created_at),"
            f" min(dispatched_at) FROM request WHERE {rows.UNFINISHED} GROUP BY 1, 2"
        )
        webhooks = self.db.look(
            "SELECT count(*), min(created_at) FROM webhook WHERE due_at IS NOT NULL"
        )
        tallies = self.db.look("SELECT agent_id, status, code, count FROM tally ORDER BY 1, 2, 3")
        return rows.figures(time.time(), live, webhooks[0], tallies)

    async def overview(self, since: float, step_s: float) -> Overview:
        return rows.overview(
            since,
            step_s,
            self.db.look(
                "SELECT coalesce(worker_id, ''), count(*), min(started_at), min(lease_until)"
                " FROM request"
                f" WHERE {rows.UNFINISHED} AND status = 'streaming'"
                " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100"
            ),
            self.db.look(
                "SELECT agent_id, status, json_extract(error, '$.code'), count(*) FROM request"
                " WHERE completed_at >= ? AND error IS NOT NULL"
                " GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 3 LIMIT 50",
                since,
            ),
            self.db.look(
                "SELECT CAST((created_at - ?1) / ?2 AS INTEGER), 'asked', count(*) FROM request"
                " WHERE created_at >= ?1 GROUP BY 1 UNION ALL"
                " SELECT CAST((completed_at - ?1) / ?2 AS INTEGER), status, count(*) FROM request"
                " WHERE completed_at >= ?1 GROUP BY 1, 2",
                since,
                step_s,
            ),
        )
