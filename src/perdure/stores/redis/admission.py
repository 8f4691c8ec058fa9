"""Who may run next on one server: what is active, and who waits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import groupby
from typing import Self

import msgspec

from perdure.ports import RunLimits
from perdure.stores.fairness import Candidate, Person, Ranking
from perdure.stores.redis import values
from perdure.stores.redis.database import Database, Draft
from perdure.stores.redis.values import Fields, Waiting

VERSION = "admission"
"""Counts decisions: two that were made from one look cannot both be written."""


class Crowd:
    """All who wait and all who are active at one instant, beside what a draft changes of it.

    Args:
        now: the server's clock.
        waiting, active: by request id, as they were read.
        turns: when each waiting person was last served.
        slots: how much the workers that are there can run at once.

    """

    def __init__(
        self,
        now: float,
        waiting: dict[str, bytes],
        active: dict[str, bytes],
        turns: dict[str, float],
        slots: int = 0,
    ) -> None:
        self.now = now
        self.read = waiting
        self.waiting = {key: values.waiting(value) for key, value in waiting.items()}
        self.active = {key: values.waiting(value) for key, value in active.items()}
        self.turns = turns
        self.slots = slots

    @classmethod
    async def look(cls, draft: Draft, also: Collection[str] = ()) -> Self:
        """Return all, and guard the decision that is made from it; `also`: people to know of."""
        key = draft.key
        version, waiting, active, workers = await draft.read(
            ("GET", key(VERSION)),
            ("HGETALL", key("waiting")),
            ("HGETALL", key("active")),
            ("HVALS", key("workers")),
        )
        draft.guard(key(VERSION), "", version)
        slots = sum(_slots(workers, draft.now))
        crowd = cls(draft.now, _by_id(waiting), _by_id(active), {}, slots)
        people = [*{one.user_id for one in crowd.waiting.values()} | {*also}]
        if people:
            (scores,) = await draft.read(("ZMSCORE", key("turns"), *map(values.plain, people)))
            crowd.turns = dict(zip(people, (score or 0.0 for score in scores), strict=True))
        return crowd

    def leave(self, request_id: str) -> None:
        """Count a request no more that the draft ends."""
        self.waiting.pop(request_id, None)
        self.active.pop(request_id, None)

    def in_force(self, limits: RunLimits) -> RunLimits:
        """Return the limits as far as the workers that are there can use them."""
        if not limits.by_slots:
            return limits
        return msgspec.structs.replace(limits, running_max=min(limits.running_max, self.slots))


class Admission(Ranking):
    """One look at a crowd.

    Args:
        crowd: who waits and who is active.
        without: a request that is not looked at.
        early: look also at who backs off.

    """

    def __init__(self, crowd: Crowd, without: str = "", *, early: bool = False) -> None:
        super().__init__()
        self._crowd = crowd
        self._without = without
        self._early = early
        for one in crowd.active.values():
            self.by_user[one.user_id] += 1
            self.by_agent[one.agent_id] += 1

    def people(self) -> Iterator[Person]:
        """Yield who waits, without those behind another request of their chat."""
        found = sorted(self._startable(), key=lambda one: (one.user_id, one))
        for user, theirs in groupby(found, key=lambda one: one.user_id):
            yield user, self._crowd.turns.get(user, 0.0), iter([*theirs])

    def _startable(self) -> Iterator[Candidate]:
        ahead: dict[str, set[str]] = defaultdict(set)
        for request_id, one in self._crowd.active.items():
            ahead[one.chat_id].add(request_id)
        waiting = self._crowd.waiting.items()
        for request_id, one in sorted(waiting, key=lambda item: (item[1].created_at, item[0])):
            before = ahead[one.chat_id]
            free = not before if one.follows is None else one.follows not in before
            before.add(request_id)
            if free and request_id != self._without and (self._early or self._is_due(one)):
                yield Candidate(one.created_at, request_id, one.agent_id, one.user_id)

    def _is_due(self, one: Waiting) -> bool:
        return one.not_before is None or one.not_before <= self._crowd.now


def admit(draft: Draft, crowd: Crowd, limits: RunLimits) -> list[str]:
    """Mark who may run now; return their ids in the order in which they should start."""
    picked = Admission(crowd).choose(crowd.in_force(limits))
    for candidate in picked:
        _dispatch(draft, crowd, candidate)
    if picked:
        decided(draft)
    return [candidate.request_id for candidate in picked]


def decided(draft: Draft) -> None:
    """Make the draft a decision, which others that were made from the same look give way to."""
    draft.add("INCR", draft.key(VERSION))


def wait(draft: Draft, request: Fields) -> bytes:
    """Put a request among those who wait; return it as it is kept there."""
    not_before = request.get("not_before")
    place = Waiting(
        float(request["created_at"]),
        request["user_id"],
        request["agent_id"],
        request["chat_id"],
        None if not_before is None else float(not_before),
        request.get("follows"),
    )
    kept = values.packed(place)
    draft.add("HSET", draft.key("waiting"), request["id"], kept)
    return kept


def leave(draft: Draft, request_id: str) -> None:
    """Take a request out of whatever it waits or runs in."""
    for noun in ("waiting", "active"):
        draft.add("HDEL", draft.key(noun), request_id)
    for noun in ("dispatched", "running"):
        draft.add("ZREM", draft.key(noun), request_id)


def _dispatch(draft: Draft, crowd: Crowd, candidate: Candidate) -> None:
    key, request_id = draft.key, candidate.request_id
    if request_id in crowd.read:
        draft.guard(key("waiting"), request_id, crowd.read[request_id])
    request = key("request", request_id)
    draft.add("HDEL", key("waiting"), request_id)
    draft.add("HSET", key("active"), request_id, crowd.waiting[request_id])
    draft.add("HSET", request, "dispatched_at", draft.now, "deliveries", 0)
    draft.add("ZADD", key("dispatched"), draft.now, request_id)
    draft.add("ZADD", key("turns"), draft.now, candidate.user_id)


async def workers(db: Database) -> int:
    """Count those on the roll that are there and take something."""
    (seconds, micros), told = await db.look(("TIME",), ("HVALS", db.key("workers")))
    return sum(slots > 0 for slots in _slots(told, seconds + micros / 1e6))


def _slots(workers: list[bytes], now: float) -> list[int]:
    """Return the slots of each one on the roll whose time is not over."""
    told = (one.split() for one in workers)
    return [int(slots) for slots, until in told if float(until) > now]


def _by_id(reply: dict[bytes, bytes]) -> dict[str, bytes]:
    return {request_id.decode(): value for request_id, value in reply.items()}
