"""The life of requests on SQLite: each method one guarded transaction of the group commit."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

import apsw

from perdure.events import Builder, Closing, rebuild
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
from perdure.stores import cursors, refusals, rows
from perdure.stores.pacing import DELIVERY_WAIT_MAX_S, backoff_s
from perdure.stores.sqlite.acceptance import AcceptWork
from perdure.stores.sqlite.admission import Admission
from perdure.stores.sqlite.transitions import Transitions

USAGE = (
    "SELECT user_id, agent_id, status, count(*),"
    " coalesce(sum(json_extract(usage, '$.input_tokens')), 0),"
    " coalesce(sum(json_extract(usage, '$.output_tokens')), 0)"
    " FROM request WHERE created_at >= ? GROUP BY user_id, agent_id, status ORDER BY 1, 2, 3"
)


class Requests(Transitions):
    """`ports.RequestStore` on one SQLite file."""

    async def accept(self, new: NewRequest) -> Accepted:
        def work() -> Accepted:
            accept = AcceptWork(self.db, self.log, new)
            replayed = accept.replayed()
            if replayed is not None:
                return replayed
            accept.check()
            waiting = accept.waiting()
            interrupted = waiting if new.if_busy == "interrupt" else []
            for request_id in interrupted:
                self._end(request_id, Status.CANCELLED)
            accept.write()
            request = self._get(new.id)
            self._chat_changed(request.chat_id, new.user_id)
            admitted = self._admit(new.limits.run) if new.start else []
            return Accepted(request, interrupted=interrupted, admitted=admitted)

        return await self.db.write(work)

    async def admit(self, limits: RunLimits) -> list[str]:
        if not self._exists("status = 'queued' AND dispatched_at IS NULL"):
            return []

        return await self.db.write(lambda: self._admit(limits))

    def _admit(self, limits: RunLimits) -> list[str]:
        now = time.time()
        picked = Admission(self.db.writer, now).pick(limits)
        for candidate in picked:
            self.db.all(
                "UPDATE request SET dispatched_at = ?, deliveries = 0 WHERE id = ?",
                now,
                candidate.request_id,
            )
            self.db.all(
                "UPDATE person SET served_at = ? WHERE user_id = ?",
                now,
                candidate.user_id,
            )
        return [candidate.request_id for candidate in picked]

    async def claim(
        self,
        request_id: str,
        worker_id: str,
        lease_s: float,
        continuing: Collection[str] = (),
    ) -> Claim | None:
        def work() -> Claim | None:
            claim_id, now = new_id("claim"), time.time()
            row = self.db.one(
                "UPDATE request SET status = 'streaming', claim_id = ?, worker_id = ?,"
                " lease_until = ?, attempt = attempt + 1, started_at = coalesce(started_at, ?)"
                " WHERE id = ? AND status = 'queued' AND dispatched_at IS NOT NULL"
                " RETURNING attempt, requeued_for, agent_id",
                claim_id,
                worker_id,
                self.db.steady_time() + lease_s,
                now,
                request_id,
            )
            if row is None:
                return None
            events = self.log.whole(request_id)
            builder = Builder(fold(events))
            first = builder.first
            builder.in_progress(row[0], row[1], row[0] > 1 and row[2] in continuing)
            opened = builder.take()
            request = self._get(request_id)
            self._chat_changed(request.chat_id, request.user_id)
            messages = self._conversation(request.user_message_id)
            self.log.begin(request_id, claim_id, first, opened)
            request.sequence_number = first + len(opened) - 1
            return Claim(claim_id, request, [*events, *opened], messages)

        return await self.db.write(work)

    async def renew(self, claims: Mapping[str, str], lease_s: float) -> set[str]:
        def work() -> set[str]:
            until = self.db.steady_time() + lease_s
            return {
                request_id
                for request_id, claim_id in claims.items()
                if self.db.one(
                    "UPDATE request SET lease_until = ? WHERE id = ? AND claim_id = ?"
                    " AND status = 'streaming' RETURNING id",
                    until,
                    request_id,
                    claim_id,
                )
            }

        return await self.db.write(work) if claims else set()

    async def append(self, appends: Sequence[Append]) -> list[bool]:
        def work() -> list[bool]:
            verdicts = self.log.append(appends)
            for append, good in zip(appends, verdicts, strict=True):
                told = append.trace_id or append.attempt or append.upstream is not None
                if told and good:
                    self._annotate(append)
            return verdicts

        return self.db.write_now(work)

    async def finish(self, last: Append, closing: Closing) -> bool:
        def work() -> bool:
            live = self.log.live.get(last.request_id)
            owned = live is not None and self.log.owns(last.request_id, last.claim_id)
            if live is None or not owned or live.next != last.first:
                return False
            self._annotate(last)
            self._close(last.request_id, last.first, last.events, closing)
            return True

        return await self.db.write(work)

    async def hand_over(self, request_id: str, claim_id: str) -> bool:
        def work() -> bool:
            if not self.log.owns(request_id, claim_id):
                return False
            self._requeue(request_id, "hand_over", crashes=0, not_before=None)
            return True

        return await self.db.write(work)

    async def cancel(self, request_id: str) -> Request:
        def work() -> Request:
            request = self._get(request_id)
            if not request.status.terminal:
                self._end(request_id, Status.CANCELLED)
            return self._get(request_id)

        return await self.db.write(work)

    async def reap(self, verdict: Verdict, *, dead: bool = False) -> list[Request]:
        def work() -> list[Request]:
            now = time.time()
            if dead:
                self.db.all(
                    "UPDATE request SET dispatched_at = NULL"
                    f" WHERE {rows.UNFINISHED} AND status = 'queued'"
                )
            found = self.db.all(
                f"SELECT {rows.REQUEST} FROM request WHERE {rows.UNFINISHED}"
                " AND status = 'streaming' AND (? OR lease_until < ?) ORDER BY created_at",
                dead,
                self.db.steady_time(),
            )
            requests = [rows.request(row) for row in found]
            for request in requests:
                request.crashes += 1
                failure = verdict(request)
                if failure is None:
                    # A restart of the whole process is pacing enough.
                    later = None if dead else now + backoff_s(request.crashes)
                    self._requeue(request.id, "worker_lost", request.crashes, later)
                else:
                    self.db.all(
                        "UPDATE request SET crashes = ? WHERE id = ?",
                        request.crashes,
                        request.id,
                    )
                    self._end(request.id, Status.FAILED, failure)
            return [self._get(request.id) for request in requests]

        lapsed = f"{rows.UNFINISHED} AND status = 'streaming' AND lease_until < ?"
        if not dead and not self._exists(lapsed, self.db.steady_time()):
            return []
        return await self.db.write(work)

    async def undelivered(self, after_s: float) -> list[str]:
        due = (
            f"{rows.UNFINISHED} AND status = 'queued' AND dispatched_at IS NOT NULL"
            " AND dispatched_at + min(?, ? * (1 << min(deliveries, 10))) < ?"
        )
        values = (DELIVERY_WAIT_MAX_S, after_s, time.time())
        if not self._exists(due, *values):
            return []

        def work() -> list[str]:
            found = self.db.all(
                "UPDATE request SET deliveries = deliveries + 1, dispatched_at = ?"
                f" WHERE {due} RETURNING id",
                time.time(),
                *values,
            )
            return [str(row[0]) for row in found]

        return await self.db.write(work)

    async def read(self, cursors: Mapping[str, int], bytes_max: int) -> dict[str, Slice]:
        hot = self.log.hot
        try:
            return {
                request_id: found
                for request_id, after in cursors.items()
                if (
                    found := hot(request_id, after, bytes_max)
                    or self._slice(request_id, after, bytes_max)
                )
                is not None
            }
        except apsw.Error as error:
            raise self.db.translated(error, "read a log") from error

    def _slice(self, request_id: str, after: int, bytes_max: int) -> Slice | None:
        if request_id in self.log.live:
            return self.log.slice(request_id, after, bytes_max, None)
        found = self.db.look(
            "SELECT status, next_sequence, events_pruned FROM request WHERE id = ?",
            request_id,
        )
        if not found:
            return None
        status, following, pruned = Status(found[0][0]), found[0][1], found[0][2]
        if pruned and after < following - 1:
            if after >= 0:
                raise refusals.events_pruned()
            events = rebuild(self._seen(request_id))
            return Slice(first=0, events=events, last=len(events) - 1, ended=True)
        if not status.terminal:
            slice_ = self.log.slice(request_id, after, bytes_max, following)
            return Slice(slice_.first, slice_.events, following - 1, ended=False)
        return self.log.slice(request_id, after, bytes_max, following)

    async def request(self, request_id: str, user_id: str | None = None) -> Request:
        return self._numbered(self._seen(request_id, user_id))

    async def requests(
        self,
        user_id: str | None,
        *,
        status: Status | None = None,
        chat_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[Request], str | None]:
        where = "transient = 0"
        values: list[str | float] = []
        for column, value in (("user_id", user_id), ("status", status), ("chat_id", chat_id)):
            if value is not None:
                where += f" AND {column} = ?"
                values.append(str(value))
        if status is not None and not status.terminal:
            where += f" AND {rows.UNFINISHED}"
        if cursor is not None:
            where += " AND (created_at, id) < (?, ?)"
            values += cursors.read(cursor, 1)
        found = self.db.look(
            f"SELECT {rows.REQUEST} FROM request WHERE {where}"
            " ORDER BY created_at DESC, id DESC LIMIT ?",
            *values,
            limit + 1,
        )
        page = [self._numbered(rows.request(row)) for row in found[:limit]]
        if len(found) <= limit:
            return page, None
        return page, cursors.write(page[-1].created_at, page[-1].id)

    async def usage(self, since: float) -> list[Usage]:
        return [rows.usage(row) for row in self.db.look(USAGE, since)]

    async def positions(self) -> dict[str, int]:
        try:
            startable = list(Admission(self.db.reader, float("inf")).everyone())
        except apsw.Error as error:
            raise self.db.translated(error, "read the queue") from error
        waiting = dict.fromkeys(candidate.request_id for candidate in startable)
        # Who waits behind another question of the same chat comes after all who could start.
        behind = self.db.look(
            "SELECT id FROM request INDEXED BY request_waiting"
            " WHERE status = 'queued' AND dispatched_at IS NULL ORDER BY created_at, id",
        )
        waiting |= dict.fromkeys(row[0] for row in behind)
        return {request_id: place for place, request_id in enumerate(waiting, 1)}

    async def delete_request(self, request_id: str, user_id: str) -> None:
        def work() -> None:
            request = self._get(request_id)
            if request.user_id != user_id:
                raise refusals.unknown("request", request_id)
            if not request.status.terminal:
                self._end(request_id, Status.CANCELLED)
            self._forget(request_id)
            self._chat_changed(request.chat_id, request.user_id)

        await self.db.write(work)

    async def input(self, request_id: str, user_id: str) -> list[JSON]:
        self._seen(request_id, user_id)
        found = self.db.look("SELECT items FROM input WHERE request_id = ?", request_id)
        return list(rows.load(str(found[0][0]))) if found else []

    async def unanswered(self, request_id: str, mark: str) -> None:
        await self.db.write(
            lambda: self.db.all(
                "INSERT OR REPLACE INTO idempotency SELECT user_id, ?, id, '', ? FROM request"
                " WHERE id = ?",
                rows.UNANSWERED + mark,
                time.time(),
                request_id,
            )
        )

    async def rejoin(self, user_id: str, mark: str) -> Request | None:
        def work() -> Request | None:
            row = self.db.one(
                "DELETE FROM idempotency WHERE user_id = ? AND key = ? RETURNING request_id",
                user_id,
                rows.UNANSWERED + mark,
            )
            return None if row is None else self._get(row[0])

        return await self.db.write(work)

    async def counts(self) -> dict[str, int]:
        found = self.db.look(
            f"SELECT status, count(*) FROM request WHERE {rows.UNFINISHED} GROUP BY status",
        )
        return {"queued": 0, "streaming": 0} | dict(found)
