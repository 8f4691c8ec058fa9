"""Accepting a question: chat, messages, request and event 0 in one change."""

from __future__ import annotations

import msgspec

from perdure.model import Status
from perdure.ports import Accepted, NewMessage, NewRequest
from perdure.stores import refusals
from perdure.stores.redis import admission, lists, log, tree, values
from perdure.stores.redis.admission import Admission, Crowd
from perdure.stores.redis.database import Draft
from perdure.stores.redis.transitions import Held, Steps
from perdure.stores.redis.values import Fields

OPTIONAL = ("params", "transient", "notify", "follows", "traceparent")
"""What a request's hash only has where it is given."""


class Acceptance:
    """One attempt at an `accept`.

    Args:
        steps: the store's own.
        draft: what it writes.
        new: what is asked.

    """

    def __init__(self, steps: Steps, draft: Draft, new: NewRequest) -> None:
        self._steps = steps
        self._draft = draft
        self._new = new
        self._key = steps.key
        self._chat: Fields = {}
        self._request: Fields = {}
        self._crowd: Crowd | None = None
        self._interrupted: list[str] = []

    async def run(self) -> Accepted:
        """Draft everything, or raise why not."""
        replayed = await self._replayed()
        if replayed is not None:
            return replayed
        await self._name_chat()
        held = await self._check()
        if self._new.if_busy == "interrupt":
            for one in held:
                await self._steps.end(self._draft, one, Status.CANCELLED)
                self._interrupted.append(one.id)
        await self._write()
        first = [one for one in held if self._new.follows in (None, one.id)]
        admitted = await self._queue(busy=bool(first) and self._new.if_busy != "interrupt")
        self._steps.changed(self._draft, self._chat)
        request = values.request(self._request)
        return Accepted(request, interrupted=self._interrupted, admitted=admitted)

    async def _replayed(self) -> Accepted | None:
        """Return what an earlier call with the same idempotency key made, if there was one."""
        new = self._new
        if new.idempotency_key is None:
            return None
        key = self._key("key", new.user_id, new.idempotency_key)
        (found,) = await self._draft.read(("HGETALL", key))
        if not found:
            self._draft.guard(key, "request_id", None)
            self._draft.put(key, {}, request_id=new.id, fingerprint=new.fingerprint)
            return None
        made = values.fields(found)
        if made["fingerprint"] != new.fingerprint:
            raise refusals.key_of_another_body()
        (request,) = await self._draft.read(("HGETALL", self._key("request", made["request_id"])))
        if not request:
            raise refusals.key_of_a_deleted_request()
        return Accepted(values.request(values.fields(request)), replayed=True)

    async def _name_chat(self) -> None:
        """Use the person's chat that the client calls so, if there is one; else take the name."""
        new = self._new
        if new.client_chat_id is None:
            return
        names = self._key("names", new.user_id)
        (found,) = await self._draft.read(("HGET", names, values.plain(new.client_chat_id)))
        self._draft.guard(names, new.client_chat_id, found)
        if found is not None:
            self._new = msgspec.structs.replace(new, chat_id=found.decode(), new_chat=False)

    async def _check(self) -> list[Held]:
        """Refuse what does not fit; return the chat's unfinished requests, oldest first."""
        new = self._new
        ids = [message.id for message in (*new.history, *filter(None, [new.question]))]
        links = [*filter(None, (new.parent_id, new.answers))]
        ids.append(new.message_id)
        (homes,) = await self._draft.read(("HMGET", self._key("homes"), *ids, *links))
        held = [] if new.new_chat else await self._check_chat()
        for message_id, home in zip(links, homes[len(ids) :], strict=True):
            if home is None or home.decode() != new.chat_id:
                raise refusals.unknown_message(message_id)
        for message_id, home in zip(ids, homes, strict=False):
            if home is not None:
                raise refusals.message_exists(message_id)
            self._draft.guard(self._key("homes"), message_id, None)
        if held and new.if_busy == "reject":
            raise refusals.chat_busy()
        return held

    async def _check_chat(self) -> list[Held]:
        new, key = self._new, self._key("chat", self._new.chat_id)
        chat, count, unfinished = await self._draft.read(
            ("HGETALL", key),
            ("HLEN", self._key("messages", new.chat_id)),
            ("ZRANGE", self._key("unfinished", new.chat_id), "0", "-1"),
        )
        self._chat = values.fields(chat)
        gone = "deleted_at" in self._chat or self._chat.get("transient") == "1"
        if gone or self._chat.get("user_id") != new.user_id:
            raise refusals.unknown("chat", new.chat_id)
        self._draft.guard(key, "revision", self._chat["revision"])
        if self._chat["agent_id"] != new.agent_id and not new.any_agent:
            raise refusals.other_agent(self._chat["agent_id"], new.agent_id)
        if count + new.messages_added > new.limits.messages_max:
            raise refusals.chat_full(count, new.limits.messages_max)
        requests = [("HGETALL", self._key("request", found.decode())) for found in unfinished]
        found = await self._draft.read(*requests)
        # One that is gone was removed just now: the commit will not fit this revision.
        return [Held(self._chat, values.fields(reply)) for reply in found if reply]

    async def _write(self) -> None:
        """Write chat, messages and request."""
        new, draft = self._new, self._draft
        if new.new_chat:
            self._make_chat()
        position, parent = int(self._chat.get("positions", 0)), self._parent()
        answer = NewMessage(id=new.message_id, role="assistant", text="")
        for message in (*new.history, *filter(None, [new.question]), answer):
            if message is answer:
                self._make_request(str(parent))
            place = (new.chat_id, parent, new.id if message is answer else None)
            made = tree.made(message, *place, now=draft.now)
            await self._steps.write_message(draft, position, made)
            position, parent = position + 1, message.id
        now = draft.now
        lists.put(draft, self._chat, current_message_id=parent, positions=position, updated_at=now)

    def _parent(self) -> str | None:
        """Return the message that the first new one follows."""
        given = self._new.answers or self._new.parent_id
        if given is not None or self._new.new_chat or self._new.from_root:
            return given
        return self._chat.get("current_message_id")

    def _make_chat(self) -> None:
        new, draft = self._new, self._draft
        draft.guard(self._key("chat", new.chat_id), "id", None)
        self._chat = lists.make(
            draft,
            id=new.chat_id,
            user_id=new.user_id,
            agent_id=new.agent_id,
            title=new.title,
            client_id=new.client_chat_id,
            transient=new.transient or None,
        )
        if new.client_chat_id is not None:
            draft.add("HSET", self._key("names", new.user_id), new.client_chat_id, new.chat_id)

    def _make_request(self, user_message_id: str) -> None:
        new, draft = self._new, self._draft
        told = {
            name: getattr(new, name)
            for name in ("id", "chat_id", "user_id", "agent_id", "message_id", "metadata")
        }
        optional = {name: getattr(new, name) for name in OPTIONAL}
        told |= {name: value for name, value in optional.items() if value}
        if new.idempotency_key is not None:
            told["idempotency_key"] = new.idempotency_key
        draft.put(
            self._key("request", new.id),
            self._request,
            user_message_id=user_message_id,
            status=Status.QUEUED,
            created_at=draft.now,
            next_sequence=1,
            **told,
        )
        for noun, *names in (
            ("everyone",),
            ("asked", new.user_id),
            ("requests", new.chat_id),
            ("unfinished", new.chat_id),
        ):
            draft.add("ZADD", self._key(noun, *names), draft.now, new.id)
        if new.input:
            draft.add("SET", self._key("input", new.id), [*new.input])
        log.write(draft, new.id, 0, [new.first_event])

    async def _queue(self, *, busy: bool) -> list[str]:
        """Let the request wait, unless too many do, and admit who may run now."""
        new, draft = self._new, self._draft
        admission.decided(draft)
        crowd = await Crowd.look(draft, [new.user_id])
        for request_id in self._interrupted:
            crowd.leave(request_id)
        self._check_queue(crowd, busy=busy)
        crowd.waiting[new.id] = values.waiting(admission.wait(draft, self._request))
        admitted = admission.admit(draft, crowd, new.limits.run) if new.start else []
        if new.id in admitted:
            self._request["dispatched_at"] = repr(draft.now)
        return admitted

    def _check_queue(self, crowd: Crowd, *, busy: bool) -> None:
        """Refuse when too many wait, in total or of this person, who could not run at once."""
        limits, user = self._new.limits, self._new.user_id
        total, mine = len(crowd.waiting), _of(user, crowd)
        if total < limits.queued_max and mine < limits.queued_per_user_max:
            return
        look, run = Admission(crowd), crowd.in_force(limits.run)
        running, running_of_user = look.by_user.total(), look.by_user[user]
        startable = look.choose(run)
        theirs = sum(candidate.user_id == user for candidate in startable)
        if (
            running + len(startable) < run.running_max
            and running_of_user + theirs < run.running_per_user_max
            and not busy
        ):
            return  # it starts at once, whoever else has to wait
        _refuse(self._new, total - len(startable), mine - theirs)


def _of(user: str, crowd: Crowd) -> int:
    return sum(one.user_id == user for one in crowd.waiting.values())


def _refuse(new: NewRequest, total: int, mine: int) -> None:
    """Raise when so many wait that another one does not fit."""
    if total >= new.limits.queued_max:
        raise refusals.queue_full(total)
    if mine >= new.limits.queued_per_user_max:
        raise refusals.user_queue_full(mine)
