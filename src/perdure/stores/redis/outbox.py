"""Webhooks and verdicts that wait for delivery, on Redis, taken by several processes."""

from __future__ import annotations

import msgspec

from perdure.model import Feedback, Status, Webhook
from perdure.stores import refusals
from perdure.stores.keeping import WEBHOOK_S
from perdure.stores.redis import lists, values
from perdure.stores.redis.appending import Appending
from perdure.stores.redis.database import Draft
from perdure.stores.redis.values import Fields

FORGOTTEN_S = WEBHOOK_S + 86_400.0
"""After how long Redis itself forgets a settled webhook that nobody pruned."""

TRACE_LOOK_S = 2.0
"""Distance of two looks for the trace of a request that has not ended."""

_place = msgspec.json.Decoder(tuple[str, str, str]).decode


class Outbox(Appending):
    """`ports.Outbox` on Redis."""

    async def take_webhooks(self, hide_s: float, limit: int = 20) -> list[Webhook]:
        found = await self.db.run("take", self.db.access.prefix, hide_s, limit)
        taken = [values.webhook(values.pairs(reply)) for reply in found]
        return sorted(taken, key=lambda webhook: webhook.created_at)

    async def settle_webhook(
        self, webhook_id: str, *, error: str | None = None, retry_s: float | None = None
    ) -> None:
        async def work(draft: Draft) -> None:
            found = await self._webhook(draft, webhook_id)
            if not found:
                return
            if error is not None and retry_s is not None:
                due_at = draft.now + retry_s
                draft.put(self.key("webhook", webhook_id), found, error=error, due_at=due_at)
                draft.add("ZADD", self.key("due"), due_at, webhook_id)
            else:
                self._settle(draft, found, error)

        await self.db.change(work)

    def _settle(self, draft: Draft, found: Fields, error: str | None) -> None:
        """Note that it was delivered, or that it is given up."""
        key, how = self.key("webhook", found["id"]), "failed_at" if error else "delivered_at"
        draft.put(key, found, due_at=None, error=error, **{how: draft.now})
        draft.add("ZREM", self.key("due"), found["id"])
        draft.add("ZADD", self.key("settled"), found["created_at"], found["id"])
        draft.add("PEXPIRE", key, int(FORGOTTEN_S * 1000))

    async def _webhook(self, draft: Draft, webhook_id: str) -> Fields:
        """Return a webhook, which must still be there at the commit; empty: there is none."""
        key = self.key("webhook", webhook_id)
        (found,) = await draft.read(("HGETALL", key))
        if found:
            draft.guard(key, "id", webhook_id)
        return values.fields(found)

    async def webhooks(self, user_id: str, *, dead: bool = False, limit: int = 50) -> list[Webhook]:
        page: list[Webhook] = []
        key = self.key("webhooks", user_id)
        async for batch in lists.walk(self.db, key, None, down=True):
            found = await self.db.look(*(("HGETALL", self.key("webhook", one)) for one in batch))
            kept = [values.fields(reply) for reply in found if reply]
            page += [values.webhook(one) for one in kept if "failed_at" in one or not dead]
            if len(page) >= limit:
                break
        return page[:limit]

    async def redeliver_webhook(self, webhook_id: str, user_id: str) -> Webhook:
        async def work(draft: Draft) -> Webhook:
            found = await self._webhook(draft, webhook_id)
            if found.get("user_id") != user_id:
                raise refusals.unknown("webhook", webhook_id)
            key = self.key("webhook", webhook_id)
            anew = {"delivered_at": None, "failed_at": None, "error": None}
            draft.put(key, found, due_at=draft.now, attempts=0, **anew)
            draft.add("ZREM", self.key("settled"), webhook_id)
            draft.add("ZADD", self.key("due"), draft.now, webhook_id)
            draft.add("PERSIST", key)
            return values.webhook(found)

        return await self.db.change(work)

    async def take_feedback(self, hide_s: float, limit: int = 20) -> list[Feedback]:
        key = self.key("untold")
        if not (await self.db.look(("ZCARD", key)))[0]:
            return []

        async def work(draft: Draft) -> list[Feedback]:
            await draft.read()  # the clock
            due = ("-inf", repr(draft.now), "LIMIT", "0", str(limit))
            (found,) = await draft.read(("ZRANGEBYSCORE", key, *due))
            taken = [await self._take_feedback(draft, one, hide_s) for one in found]
            return sorted(filter(None, taken), key=lambda verdict: verdict.created_at)

        return await self.db.change(work)

    async def _take_feedback(self, draft: Draft, member: bytes, hide_s: float) -> Feedback | None:
        """Take one verdict, if it is still there and can be told."""
        request_id, user_id, name = _place(member)
        own, request = self.key("feedback", request_id), self.key("request", request_id)
        place = values.packed([user_id, name]).decode()
        given, traces = await draft.read(
            ("HGET", own, place), ("HMGET", request, "trace_id", "status")
        )
        if given is None:
            draft.add("ZREM", self.key("untold"), member)
            return None
        trace_id, status = (None if one is None else one.decode() for one in traces)
        verdict = msgspec.json.decode(given, type=Feedback)
        trace_id = verdict.trace_id or trace_id
        if trace_id is None and status in (Status.QUEUED, Status.STREAMING):
            draft.add("ZADD", self.key("untold"), draft.now + TRACE_LOOK_S, member)
            return None
        draft.guard(own, place, given)
        verdict.trace_id, verdict.due_at = trace_id, draft.now + hide_s
        verdict.tries += 1
        keep(draft, verdict)
        return verdict

    async def settle_feedback(self, taken: Feedback, retry_s: float | None = None) -> None:
        own = self.key("feedback", taken.request_id)
        place = values.packed([taken.user_id, taken.name]).decode()

        async def work(draft: Draft) -> None:
            (given,) = await draft.read(("HGET", own, place))
            if given is None:
                return
            verdict = msgspec.json.decode(given, type=Feedback)
            if verdict.id != taken.id:
                return
            draft.guard(own, place, given)
            verdict.due_at = None if retry_s is None else draft.now + retry_s
            keep(draft, verdict)

        await self.db.change(work)


def keep(draft: Draft, verdict: Feedback) -> None:
    """Write a verdict, and when it is due."""
    own, place = draft.key("feedback", verdict.request_id), [verdict.user_id, verdict.name]
    member = [verdict.request_id, *place]
    draft.add("HSET", own, place, verdict)
    if verdict.due_at is None:
        draft.add("ZREM", draft.key("untold"), member)
    else:
        draft.add("ZADD", draft.key("untold"), verdict.due_at, member)
