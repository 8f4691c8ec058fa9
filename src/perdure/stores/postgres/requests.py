"""The life of requests: each method one guarded transaction, or one statement."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from perdure.events import Builder, Closing
from perdure.fold import fold
from perdure.model import JSON, Request, Status, Usage, new_id
from perdure.ports import (
    Accepted,
    Append,
    Claim,
    NewRequest,
    RunLimits,
    Slice,
    Verdict,
)
from perdure.stores import cursors as places
from perdure.stores import refusals, rows
from perdure.stores.pacing import COPY_WAIT_MIN_S, DELIVERY_WAIT_MAX_S, backoff_s
from perdure.stores.postgres import admission, log
from perdure.stores.postgres.acceptance import Acceptance
from perdure.stores.postgres.admission import QUEUED
from perdure.stores.postgres.appending import Appending
from perdure.stores.postgres.database import NOW, Pool, Session
from perdure.stores.postgres.transitions import CHANGED, LOCK_CHAT_OF

USAGE = (
    "SELECT user_id, agent_id, status, count(*),"
    " coalesce(sum((usage::json ->> 'input_tokens')::numeric), 0),"
    " coalesce(sum((usage::json ->> 'output_tokens')::numeric), 0)"
    " FROM request WHERE created_at >= $1 GROUP BY user_id, agent_id, status ORDER BY 1, 2, 3"
)
OPENED = f"""
WITH written AS (INSERT INTO segment (request_id, first, last, data) VALUES ($1, $2, $3 - 1, $4))
UPDATE request SET next_sequence = $3 WHERE id = $1 RETURNING {rows.REQUEST}
"""


class Requests(Appending):
    """`ports.RequestStore` on PostgreSQL."""

    async def accept(self, new: NewRequest) -> Accepted:
        runs = 0

        async def work(session: Session) -> Accepted:
            nonlocal runs
            runs += 1
            return await self._accept(session, new, again=runs > 1)

        return await self.db.write(work)

    async def _accept(self, session: Session, new: NewRequest, *, again: bool) -> Accepted:
        accept = Acceptance(session, new)
        if again and await accept.committed():
            return await accept.made(new.id)
        replayed = await accept.replayed()
        if replayed is not None:
            return replayed
        await accept.name_chat()
        await accept.check()
        waiting = await accept.waiting()
        interrupted = waiting if new.if_busy == "interrupt" else []
        for request_id in interrupted:
            await self._get(session, request_id, lock=True)
            await self._end(session, request_id, Status.CANCELLED)
        request = await accept.write()
        admitted = await accept.admit()
        if admitted is None:
            return Accepted(request, interrupted=interrupted, undecided=True)
        request.dispatched_at = admitted.get(new.id)
        return Accepted(request, interrupted=interrupted, admitted=[*admitted])

    async def admit(self, limits: RunLimits) -> list[str]:
        async def work(session: Session) -> list[str]:
            await session.one(f"SELECT {admission.LOCK}")
            return [*await admission.admit(session, limits)]

        if not await self.db.look(f"SELECT 1 FROM request WHERE {QUEUED} LIMIT 1"):
            return []
        return await self.db.write(work)

    async def claim(
        self,
        request_id: str,
        worker_id: str,
        lease_s: float,
        continuing: Collection[str] = (),
    ) -> Claim | None:
        claim_id = new_id("claim")
        runs = 0

        async def work(session: Session) -> Claim | None:
            nonlocal runs
            runs += 1
            await session.one(LOCK_CHAT_OF, request_id)
            row = await session.one(
                "UPDATE request SET status = 'streaming', claim_id = $2, worker_id = $3,"
                f" lease_until = {NOW} + $4, attempt = attempt + 1,"
                f" started_at = coalesce(started_at, {NOW})"
                " WHERE id = $1 AND status = 'queued' AND dispatched_at IS NOT NULL"
                " RETURNING attempt, requeued_for, agent_id",
                request_id,
                claim_id,
                worker_id,
                float(lease_s),
            )
            if row is None:
                return await self._claimed(session, request_id, claim_id) if runs > 1 else None
            attempt, reason, agent_id = row
            opening = (attempt, reason, attempt > 1 and agent_id in continuing)
            return await self._open(session, request_id, claim_id, opening)

        return await self.db.write(work)

    async def _claimed(self, session: Session, request_id: str, claim_id: str) -> Claim | None:
        """Return what an earlier run of this very claim got, if it was committed although lost."""
        row = await session.one(
            f"SELECT {rows.REQUEST} FROM request WHERE id = $1 AND claim_id = $2",
            request_id,
            claim_id,
        )
        if row is None:
            return None
        request = rows.request(row)
        events = await log.whole(session, request_id)
        messages = await self._conversation(session, request.user_message_id)
        return Claim(claim_id, request, events, messages)

    async def _open(
        self,
        session: Session,
        request_id: str,
        claim_id: str,
        opening: tuple[int, str | None, bool],
    ) -> Claim:
        """Write the event that opens an attempt; return all that its worker needs.

        `opening`: the attempt, why it is another one, and whether it goes on behind the last.
        """
        events = await log.whole(session, request_id)
        builder = Builder(fold(events))
        first = builder.first
        builder.in_progress(*opening)
        opened = builder.take()
        following = first + len(opened)
        row = await session.one(OPENED, request_id, first, following, b"\n".join(opened))
        request = rows.request(row)
        messages = await self._conversation(session, request.user_message_id)
        await session.all(CHANGED, request.chat_id, request.user_id)
        return Claim(claim_id, request, [*events, *opened], messages)

    async def renew(self, claims: Mapping[str, str], lease_s: float) -> set[str]:
        if not claims:
            return set()
        found = await self.db.look(
            "WITH mine AS (SELECT r.id FROM request r JOIN unnest($1::text[], $2::text[])"
            " AS m (id, claim_id) ON r.id = m.id AND r.claim_id = m.claim_id"
            " AND r.status = 'streaming' ORDER BY r.id FOR UPDATE OF r)"
            f" UPDATE request r SET lease_until = {NOW} + $3 FROM mine WHERE r.id = mine.id"
            " RETURNING r.id",
            [*claims],
            [*claims.values()],
            float(lease_s),
            pool=Pool.ANSWERING,
        )
        return {row[0] for row in found}

    async def finish(self, last: Append, closing: Closing) -> bool:
        runs = 0

        async def work(session: Session) -> bool:
            nonlocal runs
            runs += 1
            await session.one(LOCK_CHAT_OF, last.request_id)
            done = await self._close(session, last, closing, last.claim_id)
            return done or (runs > 1 and await self._ended_so(session, last, closing))

        return await self.db.write(work)

    async def _ended_so(self, session: Session, last: Append, closing: Closing) -> bool:
        """Tell whether an earlier run of this very end was committed although it was lost."""
        found = await session.one(
            "SELECT 1 FROM request r JOIN segment s ON s.request_id = r.id"
            " WHERE r.id = $1 AND r.status = $2 AND r.next_sequence = $3"
            " AND s.last = $3 - 1 AND s.data = $4",
            last.request_id,
            closing.status,
            last.first + len(last.events),
            b"\n".join(last.events),
        )
        return found is not None

    async def hand_over(self, request_id: str, claim_id: str) -> bool:
        async def work(session: Session) -> bool:
            await session.one(LOCK_CHAT_OF, request_id)
            row = await session.one(
                f"SELECT {rows.REQUEST} FROM request WHERE id = $1 AND claim_id = $2"
                " AND status = 'streaming' FOR UPDATE",
                request_id,
                claim_id,
            )
            if row is None:
                return False
            await self._requeue(session, rows.request(row), "hand_over", crashes=0, wait_s=None)
            return True

        return await self.db.write(work)

    async def cancel(self, request_id: str) -> Request:
        async def work(session: Session) -> Request:
            request = await self._hold(session, request_id)
            if request.status.terminal:
                return request
            await self._end(session, request_id, Status.CANCELLED)
            return await self._get(session, request_id)

        return await self.db.write(work)

    async def reap(self, verdict: Verdict, *, dead: bool = False) -> list[Request]:
        if dead:
            await self.db.look("UPDATE request SET dispatched_at = NULL WHERE status = 'queued'")
        found = await self.db.look(
            "SELECT id FROM request WHERE status = 'streaming'"
            f" AND ($1 OR lease_until < {NOW}) ORDER BY created_at",
            dead,
        )
        taken = [await self._take_over(row[0], verdict, dead=dead) for row in found]
        return [request for request in taken if request is not None]

    async def _take_over(self, request_id: str, verdict: Verdict, *, dead: bool) -> Request | None:
        """Take one request over, unless somebody else did or its lease was renewed meanwhile."""

        async def work(session: Session) -> Request | None:
            await session.one(LOCK_CHAT_OF, request_id)
            row = await session.one(
                f"SELECT {rows.REQUEST} FROM request WHERE id = $1 AND status = 'streaming'"
                f" AND ($2 OR lease_until < {NOW}) FOR UPDATE",
                request_id,
                dead,
            )
            if row is None:
                return None
            request = rows.request(row)
            request.crashes += 1
            failure = verdict(request)
            if failure is None:
                wait_s = None if dead else backoff_s(request.crashes)
                await self._requeue(session, request, "worker_lost", request.crashes, wait_s)
            else:
                crashed = "UPDATE request SET crashes = $2 WHERE id = $1"
                await session.all(crashed, request_id, request.crashes)
                await self._end(session, request_id, Status.FAILED, failure)
            return await self._get(session, request_id)

        return await self.db.write(work)

    async def undelivered(self, after_s: float) -> list[str]:
        # Who looks at the same instant finds the rows locked and leaves them to the first.
        found = await self.db.look(
            "WITH due AS (SELECT id FROM request WHERE status = 'queued'"
            " AND dispatched_at + least($1::double precision,"
            " greatest($2::double precision * (1 << least(deliveries, 10)),"
            f" $3::double precision * least(deliveries, 1))) < {NOW} FOR UPDATE SKIP LOCKED)"
            f" UPDATE request r SET deliveries = deliveries + 1, dispatched_at = {NOW}"
            " FROM due WHERE r.id = due.id RETURNING r.id",
            DELIVERY_WAIT_MAX_S,
            float(after_s),
            COPY_WAIT_MIN_S,
        )
        return [row[0] for row in found]

    async def read(self, cursors: Mapping[str, int], bytes_max: int) -> dict[str, Slice]:
        if not cursors:
            return {}

        async def work(session: Session) -> dict[str, Slice]:
            return await log.slices(session, cursors, bytes_max)

        return await self.db.read(work, pool=Pool.READING)

    async def request(self, request_id: str, user_id: str | None = None) -> Request:
        found = await self.db.look(f"SELECT {rows.REQUEST} FROM request WHERE id = $1", request_id)
        if not found or (user_id is not None and found[0][2] != user_id):
            raise refusals.unknown("request", request_id)
        return rows.request(found[0])

    async def requests(
        self,
        user_id: str | None,
        *,
        status: Status | None = None,
        chat_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[Request], str | None]:
        created_at, request_id = places.read(cursor, 1) if cursor is not None else (None, None)
        owner = "$1::text IS NULL" if user_id is None else "user_id = $1"
        found = await self.db.look(
            f"SELECT {rows.REQUEST} FROM request WHERE {owner} AND NOT transient"
            " AND ($2::text IS NULL OR status = $2) AND ($3::text IS NULL OR chat_id = $3)"
            " AND ($4::double precision IS NULL OR (created_at, id) < ($4, $5::text))"
            " ORDER BY created_at DESC, id DESC LIMIT $6",
            user_id,
            status,
            chat_id,
            created_at,
            request_id,
            limit + 1,
        )
        page = [rows.request(row) for row in found[:limit]]
        if len(found) <= limit:
            return page, None
        return page, places.write(page[-1].created_at, page[-1].id)

    async def usage(self, since: float) -> list[Usage]:
        return [rows.usage(row) for row in await self.db.look(USAGE, float(since))]

    async def present(self, worker_id: str, slots: int, for_s: float) -> None:
        await self.db.look(
            f"WITH forgotten AS (DELETE FROM worker WHERE until < {NOW} - 3600 AND id <> $1)"
            f" INSERT INTO worker (id, slots, until) VALUES ($1, $2, {NOW} + $3)"
            " ON CONFLICT (id) DO UPDATE SET slots = excluded.slots, until = excluded.until",
            worker_id,
            slots,
            float(for_s),
            pool=Pool.ANSWERING,
        )

    async def workers(self) -> int:
        ((count,),) = await self.db.look(admission.WORKERS)
        return int(count)

    async def positions(self) -> dict[str, int]:
        async def work(session: Session) -> dict[str, int]:
            startable = await admission.Admission(session).everyone()
            waiting = dict.fromkeys(candidate.request_id for candidate in startable)
            # Who waits behind another question of the same chat comes after all who could start.
            behind = f"SELECT id FROM request WHERE {QUEUED} ORDER BY created_at, id"
            waiting |= dict.fromkeys(row[0] for row in await session.all(behind))
            return {request_id: place for place, request_id in enumerate(waiting, 1)}

        return await self.db.read(work)

    async def delete_request(self, request_id: str, user_id: str) -> None:
        async def work(session: Session) -> None:
            request = await self._hold(session, request_id)
            if request.user_id != user_id:
                raise refusals.unknown("request", request_id)
            if not request.status.terminal:
                await self._end(session, request_id, Status.CANCELLED)
            await self._forget(session, [request_id])
            await session.all(CHANGED, request.chat_id, request.user_id)

        await self.db.write(work)

    async def input(self, request_id: str, user_id: str) -> list[JSON]:
        await self.request(request_id, user_id)
        found = await self.db.look("SELECT items FROM input WHERE request_id = $1", request_id)
        return list(rows.load(found[0][0])) if found else []

    async def unanswered(self, request_id: str, mark: str) -> None:
        await self.db.look(
            "INSERT INTO idempotency (user_id, key, request_id, fingerprint, created_at)"
            f" SELECT user_id, $2, id, '', {NOW} FROM request WHERE id = $1"
            " ON CONFLICT (user_id, key) DO UPDATE"
            " SET request_id = excluded.request_id, created_at = excluded.created_at",
            request_id,
            rows.UNANSWERED + mark,
        )

    async def rejoin(self, user_id: str, mark: str) -> Request | None:
        async def work(session: Session) -> Request | None:
            row = await session.one(
                "DELETE FROM idempotency WHERE user_id = $1 AND key = $2 RETURNING request_id",
                user_id,
                rows.UNANSWERED + mark,
            )
            return None if row is None else await self._get(session, row[0])

        return await self.db.write(work)

    async def counts(self) -> dict[str, int]:
        found = await self.db.look(
            f"SELECT status, count(*) FROM request WHERE {rows.UNFINISHED} GROUP BY status",
        )
        return {"queued": 0, "streaming": 0} | dict(map(tuple, found))
