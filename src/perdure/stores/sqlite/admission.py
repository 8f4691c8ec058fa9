"""Who may run next in one SQLite file: what is active, and who waits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apsw

from perdure.ports import RunLimits
from perdure.stores import rows
from perdure.stores.fairness import Candidate, Person, Ranking


class Admission(Ranking):
    """One look at the queue; reads through the given connection only.

    Args:
        connection: the writer inside `admit`, so that two looks never pick the same request.
        now: unix seconds; requests that back off until later are passed over.

    """

    def __init__(self, connection: apsw.Connection, now: float) -> None:
        super().__init__()
        self._connection = connection
        self._now = now

    def pick(self, limits: RunLimits) -> list[Candidate]:
        """Return who fits under the limits, in the order in which they should start."""
        self._count_active()
        return self.choose(limits)

    def everyone(self) -> Iterator[Candidate]:
        """Yield all who wait, in the order in which they will start as far as is known now."""
        self._count_active()
        return self.order()

    def people(self) -> Iterator[Person]:
        """Yield who waits."""
        found: list[Any] = self._connection.execute(
            "SELECT user_id, served_at FROM person WHERE user_id IN (SELECT user_id FROM request"
            " WHERE status = 'queued' AND dispatched_at IS NULL)",
        ).fetchall()
        for user, served_at in found:
            yield user, served_at, self._waiting_of(user)

    def _count_active(self) -> None:
        found: list[Any] = self._connection.execute(
            "SELECT user_id, agent_id, count(*) FROM request"
            f" WHERE {rows.UNFINISHED} AND status = 'streaming' GROUP BY user_id, agent_id"
            " UNION ALL SELECT user_id, agent_id, 1 FROM request"
            f" WHERE {rows.UNFINISHED} AND status = 'queued' AND dispatched_at IS NOT NULL",
        ).fetchall()
        for user, agent, count in found:
            self.by_user[user] += count
            self.by_agent[agent] += count

    def _waiting_of(self, user_id: str) -> Iterator[Candidate]:
        """Yield who waits of a person, oldest first, without those behind one of their chat."""
        mine: Any = self._connection.execute(
            "SELECT id, agent_id, created_at FROM request r WHERE user_id = ? AND status = 'queued'"
            " AND dispatched_at IS NULL AND (not_before IS NULL OR not_before <= ?)"
            " AND NOT EXISTS (SELECT 1 FROM request e WHERE e.chat_id = r.chat_id AND e.id <> r.id"
            " AND (r.follows IS NULL OR e.id = r.follows)"
            f" AND e.{rows.UNFINISHED}"
            " AND (e.status = 'streaming' OR (e.created_at, e.id) < (r.created_at, r.id)))"
            " ORDER BY created_at, id",
            (user_id, self._now),
        )
        for request_id, agent_id, created_at in mine:
            yield Candidate(created_at, request_id, agent_id, user_id)
