"""Who may run next: fair among persons, then by age; one request per chat at a time."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import apsw

from perdure.ports import RunLimits


class Candidate(NamedTuple):
    """A waiting request; ordered by age."""

    created_at: float
    request_id: str
    agent_id: str
    user_id: str


class Admission:
    """One look at the queue; reads through the given connection only.

    Args:
        connection: the writer inside `admit`, so that two looks never pick the same request.
        now: unix seconds; requests that back off until later are passed over.

    """

    def __init__(self, connection: apsw.Connection, now: float) -> None:
        self._connection = connection
        self._now = now
        self.by_user: Counter[str] = Counter()
        self.by_agent: Counter[str] = Counter()

    def pick(self, limits: RunLimits) -> list[Candidate]:
        """Return who fits under the limits, in the order in which they should start."""
        self._count_active()
        free = limits.running_max - self.by_user.total()
        picked: list[Candidate] = []
        if free <= 0:
            return picked
        for candidate in self.order(limits.running_per_user_max):
            cap = limits.running_per_agent_max.get(candidate.agent_id)
            if cap is not None and self.by_agent[candidate.agent_id] >= cap:
                continue
            self.by_agent[candidate.agent_id] += 1
            picked.append(candidate)
            if len(picked) == free:
                break
        return picked

    def order(self, per_user_max: int | None = None) -> Iterator[Candidate]:
        """Yield who waits, best first: by rank, then whose turn is longest ago, then by age.

        A person's rank starts after what of theirs runs already, so that one with many questions
        never stands before one with few. Where all are of one rank they take turns: else who asked
        thirty questions first would keep a single slot until the last of them.
        """
        heap: list[_Place] = []
        people: list[Any] = self._connection.execute(
            "SELECT user_id, served_at FROM person WHERE user_id IN (SELECT user_id FROM request"
            " WHERE status = 'queued' AND dispatched_at IS NULL)",
        ).fetchall()
        for user, served_at in people:
            _push(heap, self.by_user[user] + 1, served_at, self._waiting_of(user))
        served = itertools.count(time.time())  # later than all who were served before
        while heap:
            rank, _, candidate, rest = heapq.heappop(heap)
            if per_user_max is None or rank <= per_user_max:
                yield candidate
                _push(heap, rank + 1, next(served), rest)

    def everyone(self) -> Iterator[Candidate]:
        """Yield all who wait, in the order in which they will start as far as is known now."""
        self._count_active()
        return self.order()

    def _count_active(self) -> None:
        found: list[Any] = self._connection.execute(
            "SELECT user_id, agent_id, count(*) FROM request WHERE status = 'streaming'"
            " OR (status = 'queued' AND dispatched_at IS NOT NULL) GROUP BY user_id, agent_id",
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
            " AND (e.status = 'streaming' OR (e.status = 'queued' AND"
            " (e.created_at, e.id) < (r.created_at, r.id))))"
            " ORDER BY created_at, id",
            (user_id, self._now),
        )
        for request_id, agent_id, created_at in mine:
            yield Candidate(created_at, request_id, agent_id, user_id)


_Place = tuple[int, float, Candidate, Iterator[Candidate]]


def _push(heap: list[_Place], rank: int, served_at: float, waiting: Iterator[Candidate]) -> None:
    """Put a person's next waiting request on the heap, if there is one."""
    for candidate in waiting:
        heapq.heappush(heap, (rank, served_at, candidate, waiting))
        return
