"""The hot path: what all running answers of a process add, in one statement and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from perdure.errors import Unavailable
from perdure.ports import Append
from perdure.stores.doubts import Doubts
from perdure.stores.postgres import log
from perdure.stores.postgres.database import Database, Session
from perdure.stores.postgres.transitions import Transitions


class Appending(Transitions):
    """`RequestStore.append`, one at a time: the next one's numbers follow the last one's."""

    def __init__(self, database: Database) -> None:
        self.db = database
        self._lane = asyncio.Lock()
        self._doubts = Doubts()

    async def append(self, appends: Sequence[Append]) -> list[bool]:
        if not appends:
            return []
        async with self._lane:
            return await self._append(appends)

    async def _append(self, appends: Sequence[Append]) -> list[bool]:
        runs = 0

        async def work(session: Session) -> list[bool]:
            nonlocal runs
            runs += 1
            verdicts = await log.append(session, appends)
            return [
                good
                or (
                    (runs > 1 or self._doubts.about(append)) and await self._stored(session, append)
                )
                for good, append in zip(verdicts, appends, strict=True)
            ]

        try:
            verdicts = await self.db.append(work)
        except Unavailable:
            self._doubts.add(appends)
            raise
        self._doubts.settle(appends)
        return verdicts

    async def _stored(self, session: Session, append: Append) -> bool:
        """Tell whether an append that was lost in its commit is there, under the same claim."""
        found = await session.one(
            "SELECT 1 FROM request r LEFT JOIN segment s ON s.request_id = r.id AND s.last = $3 - 1"
            " WHERE r.id = $1 AND r.claim_id = $2 AND r.status = 'streaming'"
            " AND r.next_sequence = $3 AND ($4 = ''::bytea OR s.data = $4)",
            append.request_id,
            append.claim_id,
            append.first + len(append.events),
            b"\n".join(append.events),
        )
        return found is not None
