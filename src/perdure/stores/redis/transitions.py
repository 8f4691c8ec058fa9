"""The guarded steps that end, requeue and look up requests, shared by all that write.

A chat's `revision` serialises whatever happens in it: every change of a chat, its messages or the
state of its requests is made from one revision and gives it the next. Only `append` and `renew` go
without it: who ends a request guards the number it ends at, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from perdure.events import Builder, Closing
from perdure.fold import Fold
from perdure.model import JSON, Failure, Message, Request, Status, new_id
from perdure.ports import Append
from perdure.stores import notices, refusals, words
from perdure.stores.keeping import TOMBSTONE_S
from perdure.stores.redis import admission, lists, log, values
from perdure.stores.redis.database import Database, Draft, Outdated
from perdure.stores.redis.values import Fields

FREEZE_FROM = 3
"""Attempts at ending a request before its worker has to wait: else a fast one would always win."""
FROZEN_MS = 500


class Keeping(msgspec.Struct, frozen=True):
    """After how many seconds Redis itself lets an end's leftovers go; 0 = never."""

    events_s: float = 0.0
    requests_s: float = 0.0


class Held(msgspec.Struct):
    """A request and its chat, as they were at one instant and must still be at the commit."""

    chat: Fields
    request: Fields

    @property
    def id(self) -> str:
        """The request's id."""
        return self.request["id"]

    @property
    def status(self) -> Status:
        """Where the request stands."""
        return Status(self.request["status"])

    @property
    def row(self) -> Request:
        """The request as the core knows it."""
        return values.request(self.request)


class Known(msgspec.Struct):
    """A log that was read, and its fold: a further attempt reads only what came since."""

    fold: Fold
    events: list[bytes]


class Steps:
    """Steps of a change on one server; each adds to a draft."""

    def __init__(self, database: Database, keeping: Keeping) -> None:
        self.db = database
        self.key = database.key
        self.keeping = keeping

    async def hold(self, draft: Draft, request_id: str) -> Held:
        """Return a request with its chat; raises `NotFound`."""
        key = self.key("request", request_id)
        (chat_id,) = await draft.read(("HGET", key, "chat_id"))
        if chat_id is None:
            raise refusals.unknown("request", request_id)
        chat_key = self.key("chat", chat_id.decode())
        chat, request = await draft.read(("HGETALL", chat_key), ("HGETALL", key))
        if not request:
            raise refusals.unknown("request", request_id)
        held = Held(values.fields(chat), values.fields(request))
        draft.guard(chat_key, "revision", held.chat["revision"])
        return held

    async def known(self, draft: Draft, request_id: str) -> Known:
        """Return a request's log; whoever writes behind it guards the number."""
        if draft.attempt >= FREEZE_FROM:
            await self._freeze(draft, request_id)
        known: Known = draft.known.setdefault(request_id, Known(Fold(), []))
        for event in await log.after(self.db, request_id, known.fold.sequence_number):
            known.fold.apply(event)
            known.events.append(event)
        if known.fold.ended:
            raise Outdated  # it ended after its row was read
        return known

    async def _freeze(self, draft: Draft, request_id: str) -> None:
        """Let a worker that writes without a pause wait until this draft is written or given up."""
        key = self.key("frozen", request_id)
        await draft.read(("SET", key, "1", "PX", str(FROZEN_MS)))
        draft.add("DEL", key)

    async def end(
        self, draft: Draft, held: Held, status: Status, error: Failure | None = None
    ) -> None:
        """End a request that is held, whoever owns it: cancel, lost worker."""
        builder = Builder((await self.known(draft, held.id)).fold)
        first = builder.first
        closing = builder.end(status, error)
        await self.close(draft, held, Append(held.id, "", first, builder.take()), closing)

    async def close(self, draft: Draft, held: Held, last: Append, closing: Closing) -> None:
        """Write the last events, the row, the message and the chat's state."""
        self._write_behind(
            draft,
            held,
            last.first,
            last.events,
            status=closing.status,
            completed_at=draft.now,
            error=closing.error,
            usage=closing.usage,
            output=closing.output,
            incomplete_reason=closing.incomplete_reason,
            **_notes(last),
        )
        self._leave(draft, held)
        draft.add("ZREM", self.key("unfinished", held.chat["id"]), held.id)
        self._age(draft, held, last)
        self.tell(draft, held.request, closing)
        await self._tell_message(draft, held.request, closing)
        unread = closing.status != Status.CANCELLED or held.chat.get("unread") == "1"
        lists.put(draft, held.chat, last_status=closing.status, unread=unread)
        self.changed(draft, held.chat)

    def _write_behind(
        self, draft: Draft, held: Held, first: int, events: Sequence[bytes], **changes: object
    ) -> None:
        """Write events and a state that has no owner, if the log still ends before `first`."""
        key = self.key("request", held.id)
        draft.guard(key, "next_sequence", first)
        log.write(draft, held.id, first, events)
        free = {"claim_id": None, "lease_until": None, "dispatched_at": None}
        changes = {"next_sequence": first + len(events)} | free | changes
        draft.put(key, held.request, **changes)

    def _leave(self, draft: Draft, held: Held) -> None:
        """Take a request out of the queue or from its worker."""
        admission.leave(draft, held.id)
        runs = values.running(held.chat)
        if held.id in runs:
            runs.remove(held.id)
            lists.put(draft, held.chat, running=" ".join(runs) or None)

    def _age(self, draft: Draft, held: Held, last: Append) -> None:
        """Note the end for retention, and let Redis forget by itself what nobody prunes."""
        for noun in ("ended", "logs"):
            draft.add("ZADD", self.key(noun), draft.now, held.id)
        if held.request.get("transient") == "1":
            draft.add("ZADD", self.key("transient"), draft.now, held.chat["id"])
        if last.trace_id is not None:
            self._trace(draft, held.request, last.trace_id)
        _expire(draft, self.keeping.events_s, [self.key("log", held.id)])
        _expire(draft, self.keeping.requests_s, self._own(held.request))

    def _own(self, request: Fields) -> list[str]:
        """Return the keys, beside its log, that are a request's own."""
        user = request["user_id"]
        keys = [self.key(noun, request["id"]) for noun in ("request", "input", "feedback")]
        if "idempotency_key" in request:
            keys.append(self.key("key", user, request["idempotency_key"]))
        if "trace_id" in request:
            keys.append(self.key("trace", user, request["trace_id"]))
        return keys

    def _trace(self, draft: Draft, request: Fields, trace_id: str) -> None:
        key = self.key("trace", request["user_id"], trace_id)
        draft.add("ZADD", key, request["created_at"], request["id"])

    def tell(self, draft: Draft, request: Fields, closing: Closing) -> None:
        """Count an end, and put the notice of it into the outbox where one is asked for."""
        code = closing.error.code if closing.error else ""
        how = values.packed((request["agent_id"], closing.status, code))
        draft.add("HINCRBY", self.key("tally"), how, 1)
        if request.get("notify") == "1":
            self._post(draft, request, closing)

    def _post(self, draft: Draft, request: Fields, closing: Closing) -> None:
        webhook_id, user = new_id("evt"), request["user_id"]
        told = {
            "id": webhook_id,
            "request_id": request["id"],
            "user_id": user,
            "type": notices.type_of(closing),
            "created_at": draft.now,
            "due_at": draft.now,
        }
        draft.put(self.key("webhook", webhook_id), {}, **told)
        draft.add("ZADD", self.key("due"), draft.now, webhook_id)
        draft.add("ZADD", self.key("webhooks", user), draft.now, webhook_id)

    async def _tell_message(self, draft: Draft, request: Fields, closing: Closing) -> None:
        """Write what an end means for the message."""
        chat_id, message_id = request["chat_id"], request["message_id"]
        (found,) = await draft.read(("HGET", self.key("messages", chat_id), message_id))
        if found is None:
            return
        position, message = values.message(found)
        ended = msgspec.structs.replace(message, text=closing.text, output=closing.output)
        await self.write_message(draft, position, ended, message.output)

    async def write_message(
        self, draft: Draft, position: int, message: Message, before: list[JSON] | None = None
    ) -> None:
        """Write a message, where it and its items are found, and its words.

        `before`: the items that it had.
        """
        chat_id, homes = message.chat_id, self.key("homes")
        draft.each("HDEL", homes, [item["id"] for item in before or ()])
        for object_id in (message.id, *(item["id"] for item in message.output or ())):
            draft.add("HSET", homes, object_id, chat_id)
        kept = values.placed(message, position)
        draft.add("HSET", self.key("messages", chat_id), message.id, kept)
        found = " ".join(await words.apart(message.text))
        if found:
            draft.add("HSET", self.key("words", chat_id), message.id, f" {found}")
        else:
            draft.add("HDEL", self.key("words", chat_id), message.id)

    async def requeue(
        self, draft: Draft, held: Held, reason: str, crashes: int, wait_s: float | None
    ) -> None:
        """Give a running request that is held back to the queue; its open item ends incomplete."""
        builder = Builder((await self.known(draft, held.id)).fold)
        first = builder.first
        builder.queued()
        self._write_behind(
            draft,
            held,
            first,
            builder.take(),
            status=Status.QUEUED,
            requeued_for=reason,
            crashes=max(crashes, int(held.request.get("crashes", 0))),
            not_before=None if wait_s is None else draft.now + wait_s,
        )
        self._leave(draft, held)
        admission.wait(draft, held.request)
        self.changed(draft, held.chat)

    def changed(self, draft: Draft, chat: Mapping[str, str]) -> None:
        """Give a chat the person's next revision; no list hears of a transient one's."""
        user, chat_id = chat["user_id"], chat["id"]
        changes = "" if chat.get("transient") == "1" else self.key("changes", user)
        places = (self.key("chat", chat_id), changes)
        draft.add("CHANGED", self.key("people"), user, *places, chat_id)

    def forget(self, draft: Draft, request: Fields) -> None:
        """Remove a request with all that is its own, but its key; the messages stay."""
        request_id, user, chat_id = request["id"], request["user_id"], request["chat_id"]
        # A worker may write these until the commit: what is removed must be what there is.
        draft.guard(self.key("request", request_id), "trace_id", request.get("trace_id"))
        admission.leave(draft, request_id)
        if "trace_id" in request:
            draft.add("ZREM", self.key("trace", user, request["trace_id"]), request_id)
        for noun in ("request", "input", "feedback", "log"):
            draft.add("DEL", self.key(noun, request_id))
        if "idempotency_key" in request:
            # It names nothing from now on: a late retry must not ask the question again.
            _expire(draft, TOMBSTONE_S, [self.key("key", user, request["idempotency_key"])])
        for noun, *names in (
            ("unfinished", chat_id),
            ("requests", chat_id),
            ("asked", user),
            ("everyone",),
            ("ended",),
            ("logs",),
        ):
            draft.add("ZREM", self.key(noun, *names), request_id)


def _notes(last: Append) -> dict[str, Any]:
    """Return what an append stores beside its events."""
    told = {"trace_id": last.trace_id, "attempt": last.attempt, "upstream": last.upstream}
    return {name: value for name, value in told.items() if value is not None}


def _expire(draft: Draft, seconds: float, keys: list[str]) -> None:
    if seconds:
        for key in keys:
            draft.add("PEXPIRE", key, int(seconds * 1000))
