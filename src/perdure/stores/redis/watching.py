"""What operators look at, on Redis."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from perdure.model import Failure
from perdure.ports import Figures, Overview
from perdure.stores import rows
from perdure.stores.redis import lists, values
from perdure.stores.redis.appending import Appending

ROWS_AT_ONCE = 1000
WORKERS_TOLD = 100
FAILURES_TOLD = 50

_tallied = msgspec.json.Decoder(tuple[str, str, str]).decode
_failure = msgspec.json.Decoder(Failure).decode


class Watching(Appending):
    """`figures` and `overview` of `ports.RequestStore` on Redis."""

    async def figures(self) -> Figures:
        webhook, due = self.key("webhook", "*->created_at"), self.key("due")
        (
            (seconds, micros),
            waiting,
            unclaimed,
            oldest,
            running,
            webhooks,
            first,
            tally,
        ) = await self.db.look(
            ("TIME",),
            ("HVALS", self.key("waiting")),
            ("ZCARD", self.key("dispatched")),
            ("ZRANGE", self.key("dispatched"), "0", "0", "WITHSCORES"),
            ("ZCARD", self.key("running")),
            ("ZCARD", due),
            ("SORT", due, "BY", webhook, "LIMIT", "0", "1", "GET", webhook),
            ("HGETALL", self.key("tally")),
        )
        asked = [values.waiting(one).created_at for one in waiting]
        live = [
            (False, False, len(asked), min(asked, default=None), None),
            (False, True, unclaimed, None, float(oldest[1]) if oldest else None),
            (True, True, running, None, None),
        ]
        since = float(first[0]) if first and first[0] is not None else None
        tallies = sorted((*_tallied(field), int(count)) for field, count in tally.items())
        return rows.figures(seconds + micros / 1e6, live, (webhooks, since), tallies)

    async def overview(self, since: float, step_s: float) -> Overview:
        failures: Counter[tuple[str, str, str]] = Counter()
        course: Counter[tuple[int, str]] = Counter()
        async for (created_at,) in self._since("everyone", since, "created_at"):
            course[int((float(created_at) - since) / step_s), "asked"] += 1
        told = ("completed_at", "agent_id", "status", "error")
        async for completed_at, agent_id, status, error in self._since("ended", since, *told):
            course[int((float(completed_at) - since) / step_s), status.decode()] += 1
            if error is not None:
                failures[agent_id.decode(), status.decode(), _failure(error).code] += 1
        often = sorted(failures.items(), key=lambda one: (-one[1], one[0]))
        return rows.overview(
            since,
            step_s,
            await self._workers(),
            [(*what, count) for what, count in often[:FAILURES_TOLD]],
            [(*what, count) for what, count in sorted(course.items())],
        )

    async def _since(self, noun: str, since: float, *fields: str) -> AsyncIterator[list[Any]]:
        """Yield fields of the requests that a list has from a time on, as far as they are there."""
        async for batch in lists.walk(self.db, self.key(noun), (since, ""), size=ROWS_AT_ONCE):
            keys = (self.key("request", one) for one in batch)
            for found in await self.db.look(*(("HMGET", key, *fields) for key in keys)):
                if found[0] is not None:
                    yield found

    async def _workers(self) -> list[rows.Row]:
        """Return the busiest workers: id, how many answers, since when, first end of a lease."""
        (running,) = await self.db.look(("ZRANGE", self.key("running"), "0", "-1"))
        fields = ("worker_id", "started_at", "lease_until")
        keys = [self.key("request", one.decode()) for one in running]
        found = await self.db.look(*(("HMGET", key, *fields) for key in keys)) if keys else []
        theirs: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for worker_id, started_at, lease_until in found:
            if worker_id is not None and lease_until is not None:
                theirs[worker_id.decode()].append((float(started_at), float(lease_until)))
        busy = sorted(theirs.items(), key=lambda one: (-len(one[1]), one[0]))
        return [
            (worker_id, len(runs), *map(min, zip(*runs, strict=True)))
            for worker_id, runs in busy[:WORKERS_TOLD]
        ]
