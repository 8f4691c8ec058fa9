"""Who may run next: fair among persons, then by age. Pure; adapters say who runs and who waits."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from perdure.ports import RunLimits


class Candidate(NamedTuple):
    """A waiting request; ordered by age."""

    created_at: float
    request_id: str
    agent_id: str
    user_id: str


Person = tuple[str, float, Iterator[Candidate]]
"""Somebody who waits: id, when last served by the store's clock, what could start, oldest first."""


class Ranking:
    """One look at the queue: what is active, and who waits in which order.

    An adapter fills `by_user` and `by_agent` with what is admitted or running, and says who waits.
    """

    def __init__(self) -> None:
        self.by_user: Counter[str] = Counter()
        self.by_agent: Counter[str] = Counter()

    def people(self) -> Iterable[Person]:
        """Return who waits, without those behind another request of their chat."""
        raise NotImplementedError

    def choose(self, limits: RunLimits) -> list[Candidate]:
        """Return who fits under the limits, in the order in which they should start."""
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
        latest = 0.0
        for user, served_at, waiting in self.people():
            latest = max(latest, served_at)
            _push(heap, self.by_user[user] + 1, served_at, waiting)
        served = itertools.count(latest + 1)  # by no clock of ours: the store's may be ahead of it
        while heap:
            rank, _, candidate, rest = heapq.heappop(heap)
            if per_user_max is None or rank <= per_user_max:
                yield candidate
                _push(heap, rank + 1, next(served), rest)


_Place = tuple[int, float, Candidate, Iterator[Candidate]]


def _push(heap: list[_Place], rank: int, served_at: float, waiting: Iterator[Candidate]) -> None:
    """Put a person's next waiting request on the heap, if there is one."""
    for candidate in waiting:
        heapq.heappush(heap, (rank, served_at, candidate, waiting))
        return
