"""The hot path: what all running answers of a process add, by one script and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from perdure.errors import Unavailable
from perdure.ports import Append
from perdure.stores.doubts import Doubts
from perdure.stores.redis import log
from perdure.stores.redis.database import Database
from perdure.stores.redis.transitions import Keeping, Steps

DONE, NOT_NOW = 1, 2
FROZEN_S = 0.005
"""Between two looks at a request that somebody ends just now; a fraction of a second in all."""


class Appending:
    """`RequestStore.append`, one at a time: the next one's numbers follow the last one's."""

    def __init__(self, database: Database, keeping: Keeping) -> None:
        self.db = database
        self.key = database.key
        self.steps = Steps(database, keeping)
        self._deciding = asyncio.Lock()
        self._lane = asyncio.Lock()
        self._doubts = Doubts()

    async def append(self, appends: Sequence[Append]) -> list[bool]:
        if not appends:
            return []
        async with self._lane:
            return await self._append(appends)

    async def _append(self, appends: Sequence[Append]) -> list[bool]:
        given = [log.words(one, doubt=self._doubts.about(one)) for one in appends]
        verdicts = [NOT_NOW] * len(given)
        try:
            while left := [n for n, verdict in enumerate(verdicts) if verdict == NOT_NOW]:
                told = await self.db.append([word for n in left for word in given[n]])
                for n, verdict in zip(left, told, strict=True):
                    verdicts[n] = verdict
                if NOT_NOW in told:
                    await asyncio.sleep(FROZEN_S)
        except Unavailable:
            self._doubts.add(appends)
            raise
        self._doubts.settle(appends)
        return [verdict == DONE for verdict in verdicts]

    async def renew(self, claims: Mapping[str, str], lease_s: float) -> set[str]:
        if not claims:
            return set()
        given = [word for pair in claims.items() for word in pair]
        found = await self.db.run("renew", self.db.access.prefix, lease_s, *given, hot=True)
        return {request_id.decode() for request_id in found}
