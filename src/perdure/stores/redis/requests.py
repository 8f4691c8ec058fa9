"""The life of requests: each method one guarded change, or one script."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from functools import partial

from perdure.errors import NotFound
from perdure.events import Builder, Closing
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
from perdure.stores.keeping import UNANSWERED_S
from perdure.stores.pacing import COPY_WAIT_MIN_S, DELIVERY_WAIT_MAX_S, backoff_s
from perdure.stores.redis import admission, lists, log, tree, values
from perdure.stores.redis.acceptance import Acceptance
from perdure.stores.redis.admission import Admission, Crowd
from perdure.stores.redis.appending import Appending
from perdure.stores.redis.database import Draft
from perdure.stores.redis.transitions import Held
from perdure.stores.redis.values import Fields


class Requests(Appending):
    """`ports.RequestStore` on Redis."""

    async def accept(self, new: NewRequest) -> Accepted:
        # One decision at a time in this process: others would only have to be made anew.
        async with self._deciding:
            return await self.db.change(lambda draft: Acceptance(self.steps, draft, new).run())

    async def admit(self, limits: RunLimits) -> list[str]:
        (waiting,) = await self.db.look(("HLEN", self.key("waiting")))
        if not waiting:
            return []

        async def work(draft: Draft) -> list[str]:
            return admission.admit(draft, await Crowd.look(draft), limits)

        async with self._deciding:
            return await self.db.change(work)

    async def claim(
        self,
        request_id: str,
        worker_id: str,
        lease_s: float,
        continuing: Collection[str] = (),
    ) -> Claim | None:
        claim_id = new_id("claim")

        async def work(draft: Draft) -> Claim | None:
            held = await self._held(draft, request_id)
            if held is None or held.status != Status.QUEUED:
                return None
            dispatched_at = held.request.get("dispatched_at")
            if dispatched_at is None:
                return None
            key = self.key("request", request_id)
            draft.guard(key, "dispatched_at", dispatched_at)
            owner = {"claim_id": claim_id, "worker_id": worker_id}
            owner["lease_until"] = repr(draft.now + lease_s)
            draft.put(key, held.request, **owner)
            return await self._open(draft, held, claim_id, continuing)

        return await self.db.change(work)

    async def _open(
        self, draft: Draft, held: Held, claim_id: str, continuing: Collection[str]
    ) -> Claim:
        """Write the event that opens an attempt; return all that its worker needs."""
        known = await self.steps.known(draft, held.id)
        builder, found = Builder(known.fold), held.request
        first, attempt = builder.first, int(found.get("attempt", 0)) + 1
        goes_on = attempt > 1 and found["agent_id"] in continuing
        builder.in_progress(attempt, found.get("requeued_for"), goes_on)
        opened = builder.take()
        key = self.key("request", held.id)
        draft.guard(key, "next_sequence", first)
        log.write(draft, held.id, first, opened)
        draft.put(
            key,
            found,
            status=Status.STREAMING,
            attempt=attempt,
            started_at=found.get("started_at", draft.now),
            next_sequence=first + len(opened),
        )
        draft.add("ZREM", self.key("dispatched"), held.id)
        draft.add("ZADD", self.key("running"), found["lease_until"], held.id)
        lists.put(draft, held.chat, running=" ".join([*values.running(held.chat), held.id]))
        self.steps.changed(draft, held.chat)
        talk = tree.branch(await tree.read(draft, found["chat_id"]), found["user_message_id"])
        return Claim(claim_id, held.row, [*known.events, *opened], talk)

    async def _held(self, draft: Draft, request_id: str) -> Held | None:
        try:
            return await self.steps.hold(draft, request_id)
        except NotFound:
            return None

    async def _owned(self, draft: Draft, request_id: str, claim_id: str) -> Held | None:
        """Return a running request under this claim; the commit looks at the claim once more."""
        held = await self._held(draft, request_id)
        if held is None or held.status != Status.STREAMING:
            return None
        if held.request.get("claim_id") != claim_id:
            return None
        draft.guard(self.key("request", request_id), "claim_id", claim_id)
        return held

    async def finish(self, last: Append, closing: Closing) -> bool:
        async def work(draft: Draft) -> bool:
            held = await self._owned(draft, last.request_id, last.claim_id)
            if held is None or int(held.request["next_sequence"]) != last.first:
                return False
            await self.steps.close(draft, held, last, closing)
            return True

        return await self.db.change(work)

    async def hand_over(self, request_id: str, claim_id: str) -> bool:
        async def work(draft: Draft) -> bool:
            held = await self._owned(draft, request_id, claim_id)
            if held is None:
                return False
            await self.steps.requeue(draft, held, "hand_over", crashes=0, wait_s=None)
            return True

        return await self.db.change(work)

    async def cancel(self, request_id: str) -> Request:
        async def work(draft: Draft) -> Request:
            held = await self.steps.hold(draft, request_id)
            if not held.status.terminal:
                await self.steps.end(draft, held, Status.CANCELLED)
            return held.row

        return await self.db.change(work)

    async def reap(self, verdict: Verdict, *, dead: bool = False) -> list[Request]:
        if dead:
            await self._wait_again()
        (seconds, _), *_ = await self.db.look(("TIME",))
        until = "+inf" if dead else str(seconds + 1)  # looked at once more, to the microsecond
        (found,) = await self.db.look(("ZRANGEBYSCORE", self.key("running"), "-inf", until))
        taken = [await self._take_over(one.decode(), verdict, dead=dead) for one in found]
        changed = [request for request in taken if request is not None]
        return sorted(changed, key=lambda request: request.created_at)

    async def _wait_again(self) -> None:
        """Let what was admitted and not claimed wait for admission again."""
        (found,) = await self.db.look(("ZRANGE", self.key("dispatched"), "0", "-1"))

        async def work(draft: Draft, request_id: str) -> None:
            held = await self._held(draft, request_id)
            if held is None or held.status != Status.QUEUED:
                return
            admission.leave(draft, request_id)
            draft.put(self.key("request", request_id), held.request, dispatched_at=None)
            admission.wait(draft, held.request)

        for one in found:
            await self.db.change(partial(work, request_id=one.decode()))

    async def _take_over(self, request_id: str, verdict: Verdict, *, dead: bool) -> Request | None:
        """Take one request over, unless somebody else did or its lease was renewed meanwhile."""

        async def work(draft: Draft) -> Request | None:
            held = await self._held(draft, request_id)
            if held is None or held.status != Status.STREAMING:
                return None
            lease = held.request["lease_until"]
            if not dead and float(lease) >= draft.now:
                return None
            key = self.key("request", request_id)
            draft.guard(key, "lease_until", lease)
            crashes = int(held.request.get("crashes", 0)) + 1
            draft.put(key, held.request, crashes=crashes)
            failure = verdict(held.row)
            if failure is None:
                wait_s = None if dead else backoff_s(crashes)
                await self.steps.requeue(draft, held, "worker_lost", crashes, wait_s)
            else:
                await self.steps.end(draft, held, Status.FAILED, failure)
            return held.row

        return await self.db.change(work)

    async def undelivered(self, after_s: float) -> list[str]:
        limits = (after_s, DELIVERY_WAIT_MAX_S, COPY_WAIT_MIN_S)
        found = await self.db.run("deliver", self.db.access.prefix, *limits)
        return [request_id.decode() for request_id in found]

    async def read(self, cursors: Mapping[str, int], bytes_max: int) -> dict[str, Slice]:
        return await log.read(self.db, cursors, bytes_max) if cursors else {}

    async def request(self, request_id: str, user_id: str | None = None) -> Request:
        (found,) = await self.db.look(("HGETALL", self.key("request", request_id)))
        fields = values.fields(found)
        if not fields or (user_id is not None and fields["user_id"] != user_id):
            raise refusals.unknown("request", request_id)
        return values.request(fields)

    async def requests(
        self,
        user_id: str | None,
        *,
        status: Status | None = None,
        chat_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[Request], str | None]:
        key = self._list(user_id, chat_id)
        page: list[Request] = []
        async for found in self._newest(key, cursor):
            wanted = user_id in (None, found["user_id"]) and status in (None, found["status"])
            if wanted and found.get("transient") != "1":
                page.append(values.request(found))
            if len(page) > limit:
                break
        if len(page) <= limit:
            return page, None
        return page[:limit], places.write(page[limit - 1].created_at, page[limit - 1].id)

    def _list(self, user_id: str | None, chat_id: str | None) -> str:
        """Return the key of the shortest list that has all that is asked for."""
        if chat_id is not None:
            return self.key("requests", chat_id)
        return self.key("everyone") if user_id is None else self.key("asked", user_id)

    async def usage(self, since: float) -> list[Usage]:
        sums: dict[tuple[str, str, str], list[int]] = {}
        async for found in self._newest(self.key("everyone"), None):
            if float(found["created_at"]) < since:
                break
            who = (found["user_id"], found["agent_id"], found["status"])
            told = values.request(found).usage or {}
            tokens = (int(told.get(f"{way}_tokens", 0)) for way in ("input", "output"))
            before = sums.get(who, [0, 0, 0])
            sums[who] = [a + b for a, b in zip(before, (1, *tokens), strict=True)]
        return [rows.usage((*who, *sums[who])) for who in sorted(sums)]

    async def _newest(self, key: str, cursor: str | None) -> AsyncIterator[Fields]:
        """Yield a list's requests, newest first; what Redis let expire is taken out of it."""
        behind = None
        if cursor is not None:
            created_at, request_id = places.read(cursor, 1)
            behind = (float(created_at), str(request_id))
        async for batch in lists.walk(self.db, key, behind, down=True):
            found = await self.db.look(*(("HGETALL", self.key("request", one)) for one in batch))
            gone = [one for one, reply in zip(batch, found, strict=True) if not reply]
            if gone:
                await self.db.look(("ZREM", key, *gone))
            for reply in filter(None, found):
                yield values.fields(reply)

    async def present(self, worker_id: str, slots: int, for_s: float) -> None:
        await self.db.run("present", self.db.access.prefix, worker_id, slots, for_s, hot=True)

    async def workers(self) -> int:
        return await admission.workers(self.db)

    async def positions(self) -> dict[str, int]:
        crowd = await Crowd.look(Draft(self.db, {}))
        startable = Admission(crowd, early=True).order()
        waiting = dict.fromkeys(candidate.request_id for candidate in startable)
        # Who waits behind another question of the same chat comes after all who could start.
        behind = sorted(crowd.waiting, key=lambda one: (crowd.waiting[one].created_at, one))
        waiting |= dict.fromkeys(behind)
        return {request_id: place for place, request_id in enumerate(waiting, 1)}

    async def delete_request(self, request_id: str, user_id: str) -> None:
        async def work(draft: Draft) -> None:
            held = await self.steps.hold(draft, request_id)
            if held.request["user_id"] != user_id:
                raise refusals.unknown("request", request_id)
            if not held.status.terminal:
                await self.steps.end(draft, held, Status.CANCELLED)
            self.steps.forget(draft, held.request)
            self.steps.changed(draft, held.chat)

        await self.db.change(work)

    async def input(self, request_id: str, user_id: str) -> list[JSON]:
        await self.request(request_id, user_id)
        (found,) = await self.db.look(("GET", self.key("input", request_id)))
        return [] if found is None else list(rows.load(found))

    async def unanswered(self, request_id: str, mark: str) -> None:
        user_id = (await self.request(request_id)).user_id
        key = self.key("unanswered", user_id, mark)
        await self.db.look(("SET", key, request_id, "EX", str(int(UNANSWERED_S))))

    async def rejoin(self, user_id: str, mark: str) -> Request | None:
        (found,) = await self.db.look(("GETDEL", self.key("unanswered", user_id, mark)))
        if found is None:
            return None
        try:
            return await self.request(found.decode())
        except NotFound:
            return None

    async def counts(self) -> dict[str, int]:
        waiting, dispatched, running = await self.db.look(
            ("HLEN", self.key("waiting")),
            ("ZCARD", self.key("dispatched")),
            ("ZCARD", self.key("running")),
        )
        return {"queued": waiting + dispatched, "streaming": running}
