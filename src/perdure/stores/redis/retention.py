"""What is removed when its time is over, in small steps; and what Redis let expire, from lists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from perdure.errors import NotFound
from perdure.model import JSON
from perdure.stores.keeping import ROWS_PER_STEP, SESSION_S, TOMBSTONE_S, TRANSIENT_S, WEBHOOK_S
from perdure.stores.redis import values
from perdure.stores.redis.branches import Branches
from perdure.stores.redis.database import Draft

Remove = Callable[[Draft, list[str]], Awaitable[None]]


class Retention(Branches):
    """`RequestStore.prune` on Redis."""

    async def prune(
        self, *, events_s: float, requests_s: float, chats_s: float, dry_run: bool = False
    ) -> JSON:
        if dry_run:
            return {
                "events": await self._due("logs", events_s),
                "requests": await self._due("ended", requests_s),
                "chats": await self._due_chats("ages", chats_s),
                "tombstones": await self._due("tombstones", TOMBSTONE_S),
                "transient": await self._due_chats("transient", TRANSIENT_S),
                "webhooks": await self._due("settled", WEBHOOK_S),
                "sessions": await self._due("sessions", SESSION_S),
            }
        counts = {
            "events": await self._step("logs", events_s, self._remove_events),
            "requests": await self._step("ended", requests_s, self._remove_requests),
            "chats": await self._prune_chats("ages", chats_s),
            "tombstones": await self._step("tombstones", TOMBSTONE_S, self._remove_tombstones),
            "transient": await self._prune_chats("transient", TRANSIENT_S),
            "webhooks": await self._step("settled", WEBHOOK_S, self._remove_webhooks),
            "sessions": await self._step("sessions", SESSION_S, self._remove_sessions),
        }
        await self._old("turns", TOMBSTONE_S, forget=True)
        return counts

    async def _due(self, noun: str, age_s: float) -> int:
        """Count all of a list that is older than `age_s`."""
        if not age_s:
            return 0
        until = f"({await self._now() - age_s!r}"
        (count,) = await self.db.look(("ZCOUNT", self.key(noun), "-inf", until))
        return int(count)

    async def _due_chats(self, noun: str, age_s: float) -> int:
        """Count all chats of a list that are older than `age_s` and in which nothing goes on."""
        if not age_s:
            return 0
        until = f"({await self._now() - age_s!r}"
        (old,) = await self.db.look(("ZRANGEBYSCORE", self.key(noun), "-inf", until))
        idle = 0
        for start in range(0, len(old), ROWS_PER_STEP):
            keys = (self.key("unfinished", one.decode()) for one in old[start:][:ROWS_PER_STEP])
            idle += (await self.db.look(*(("ZCARD", key) for key in keys))).count(0)
        return idle

    async def _old(self, noun: str, age_s: float, *, forget: bool = False) -> list[str]:
        """Return some of a list that is older than `age_s`; `forget`: remove it from the list."""
        key, until = self.key(noun), f"({await self._now() - age_s!r}"
        if forget:
            await self.db.look(("ZREMRANGEBYSCORE", key, "-inf", until))
            return []
        window = ("LIMIT", "0", str(ROWS_PER_STEP))
        (found,) = await self.db.look(("ZRANGEBYSCORE", key, "-inf", until, *window))
        return [one.decode() for one in found]

    async def _now(self) -> float:
        draft = Draft(self.db, {})
        await draft.read()
        return draft.now

    async def _step(self, noun: str, age_s: float, remove: Remove) -> int:
        """Remove some of what is older than `age_s`; nothing is written when nothing is."""
        old = await self._old(noun, age_s) if age_s else []
        if not old:
            return 0

        async def work(draft: Draft) -> int:
            await draft.read()
            await remove(draft, old)
            draft.each("ZREM", self.key(noun), old)
            return len(old)

        return await self.db.change(work)

    async def _remove_events(self, draft: Draft, request_ids: list[str]) -> None:
        """Remove the logs of finished answers; the answers themselves stand in the rows."""
        keys = [self.key("request", one) for one in request_ids]
        found = await draft.read(*(("HGET", key, "status") for key in keys))
        for request_id, key, status in zip(request_ids, keys, found, strict=True):
            draft.add("DEL", self.key("log", request_id))
            draft.guard(key, "status", status)
            if status is not None:
                draft.add("HSET", key, "events_pruned", 1)

    async def _remove_requests(self, draft: Draft, request_ids: list[str]) -> None:
        found = await draft.read(*(("HGETALL", self.key("request", one)) for one in request_ids))
        for reply in filter(None, found):
            self.steps.forget(draft, values.fields(reply))

    async def _prune_chats(self, noun: str, age_s: float) -> int:
        """Remove chats one by one, each looked at once more."""
        old = await self._old(noun, age_s) if age_s else []
        return sum([await self._prune_chat(noun, chat_id, age_s) for chat_id in old])

    async def _prune_chat(self, noun: str, chat_id: str, age_s: float) -> bool:
        async def work(draft: Draft) -> bool:
            try:
                chat = await self._own_chat(draft, chat_id, None)
            except NotFound:
                draft.add("ZREM", self.key(noun), chat_id)
                return False
            score, unfinished = await draft.read(
                ("ZSCORE", self.key(noun), chat_id),
                ("ZCARD", self.key("unfinished", chat_id)),
            )
            if score is None or score >= draft.now - age_s or unfinished:
                return False
            await self._remove_chat(draft, chat)
            return True

        return await self.db.change(work)

    async def _remove_tombstones(self, draft: Draft, chat_ids: list[str]) -> None:
        keys = [self.key("chat", one) for one in chat_ids]
        found = await draft.read(*(("HGET", key, "user_id") for key in keys))
        for chat_id, key, user in zip(chat_ids, keys, found, strict=True):
            draft.add("DEL", key)
            if user is not None:
                draft.add("ZREM", self.key("changes", user.decode()), chat_id)

    async def _remove_webhooks(self, draft: Draft, webhook_ids: list[str]) -> None:
        keys = [self.key("webhook", one) for one in webhook_ids]
        found = await draft.read(*(("HMGET", key, "user_id", "due_at") for key in keys))
        for webhook_id, key, (user, due_at) in zip(webhook_ids, keys, found, strict=True):
            draft.guard(key, "due_at", due_at)
            if due_at is not None:
                continue  # somebody wants it delivered once more
            draft.add("DEL", key)
            if user is not None:
                draft.add("ZREM", self.key("webhooks", user.decode()), webhook_id)

    async def _remove_sessions(self, draft: Draft, session_ids: list[str]) -> None:
        for session_id in session_ids:
            draft.add("DEL", self.key("credential", session_id))
            draft.add("ZREM", self.key("credentials", "session"), session_id)
