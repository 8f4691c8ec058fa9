"""Accepting a question: chat, messages, request and event 0 in one transaction."""

from __future__ import annotations

import msgspec

from perdure.model import Request
from perdure.ports import Accepted, NewMessage, NewRequest
from perdure.stores import refusals, rows
from perdure.stores.postgres import admission, messages
from perdure.stores.postgres.database import NOW, Session
from perdure.stores.postgres.transitions import LOCK_CHAT
from perdure.stores.rows import UNFINISHED

LOCK_NAME = (
    "SELECT pg_advisory_xact_lock(hashtext('perdure.chat-name'), hashtext($1 || chr(10) || $2))"
)
DECIDING = f"""
WITH changed AS (
  INSERT INTO person (user_id, revision) VALUES ($2, 1)
      ON CONFLICT (user_id) DO UPDATE SET revision = person.revision + 1 RETURNING revision
), told AS (
  UPDATE chat SET revision = changed.revision, current_message_id = $3, updated_at = {NOW}
    FROM changed WHERE id = $1 RETURNING 1
)
SELECT {admission.LOCK_IF_FREE} FROM told
"""
"""The person's row, then the admission: in this order, since only what was told is decided on."""
UNSEEN_MAX = 256
"""At most so many questions are being accepted at once by all servers, unseen by each other."""
INSERT = f"""
WITH first AS (INSERT INTO segment (request_id, first, last, data) VALUES ($1, 0, 0, $13))
INSERT INTO request (id, chat_id, user_id, agent_id, user_message_id, message_id, status,
    created_at, next_sequence, metadata, params, transient, notify, follows, traceparent)
VALUES ($1, $2, $3, $4, $5, $6, 'queued', {NOW}, 1, $7, $8, $9, $10, $11, $12)
RETURNING {rows.REQUEST}
"""


class Acceptance:
    """One `accept`.

    Args:
        session: its transaction.
        new: what is asked.

    """

    def __init__(self, session: Session, new: NewRequest) -> None:
        self._session = session
        self._new = new

    async def replayed(self) -> Accepted | None:
        """Return what an earlier call with the same idempotency key made, if there was one.

        Else the key is taken: whoever comes with it now waits for the end of this transaction.
        """
        new = self._new
        if new.idempotency_key is None:
            return None
        taken = await self._session.one(
            "INSERT INTO idempotency (user_id, key, request_id, fingerprint, created_at)"
            f" VALUES ($1, $2, $3, $4, {NOW}) ON CONFLICT DO NOTHING RETURNING 1",
            new.user_id,
            new.idempotency_key,
            new.id,
            new.fingerprint,
        )
        if taken is not None:
            return None
        row = await self._session.one(
            "SELECT request_id, fingerprint FROM idempotency WHERE user_id = $1 AND key = $2",
            new.user_id,
            new.idempotency_key,
        )
        if row is None or row[1] != new.fingerprint:
            raise refusals.key_of_another_body()
        return await self.made(row[0])

    async def made(self, request_id: str) -> Accepted:
        """Return what was accepted before."""
        row = await self._session.one(
            f"SELECT {rows.REQUEST} FROM request WHERE id = $1", request_id
        )
        if row is None:
            raise refusals.key_of_a_deleted_request()
        return Accepted(rows.request(row), replayed=True)

    async def committed(self) -> bool:
        """Tell whether an earlier run of this very call was committed although it was lost."""
        found = await self._session.one("SELECT 1 FROM request WHERE id = $1", self._new.id)
        return found is not None

    async def name_chat(self) -> None:
        """Use the person's chat that the client calls so, if there is one.

        Else the name is taken: whoever comes with it now waits for the end of this transaction.
        """
        new = self._new
        if new.client_chat_id is None:
            return
        await self._session.one(LOCK_NAME, new.user_id, new.client_chat_id)
        row = await self._session.one(
            "SELECT id FROM chat WHERE user_id = $1 AND client_id = $2 AND deleted_at IS NULL"
            " FOR UPDATE",
            new.user_id,
            new.client_chat_id,
        )
        if row is not None:
            self._new = msgspec.structs.replace(new, chat_id=row[0], new_chat=False)

    async def check(self) -> None:
        """Refuse foreign chats, another agent, unknown parents; hold the chat."""
        if not self._new.new_chat:
            await self._check_chat()
        for message_id in filter(None, (self._new.parent_id, self._new.answers)):
            found = await self._session.one(
                "SELECT 1 FROM message WHERE id = $1 AND chat_id = $2",
                message_id,
                self._new.chat_id,
            )
            if found is None:
                raise refusals.unknown_message(message_id)

    async def waiting(self) -> list[str]:
        """Return the chat's unfinished requests, oldest first; raise when the caller wants none."""
        if self._new.new_chat:
            return []
        found = await self._session.all(
            f"SELECT id FROM request WHERE chat_id = $1 AND {UNFINISHED} ORDER BY created_at, id",
            self._new.chat_id,
        )
        if found and self._new.if_busy == "reject":
            raise refusals.chat_busy()
        return [row[0] for row in found]

    async def write(self) -> Request:
        """Write all rows and return that of the request."""
        new = self._new
        if new.new_chat:
            await self._insert_chat()
        parent = await self._parent()
        for message in (*new.history, *filter(None, [new.question])):
            await messages.insert(self._session, new.chat_id, message, parent)
            parent = message.id
        answer = NewMessage(id=new.message_id, role="assistant", text="")
        await messages.insert(self._session, new.chat_id, answer, parent, request_id=new.id)
        return await self._insert_request(str(parent))

    async def admit(self) -> dict[str, float] | None:
        """Tell the chat's person, and return who may run now: when they were marked so, by id.

        None: somebody else decides at this instant, and whoever waited for that would hold up the
        next one. The caller decides later, about all who came meanwhile. Raises `TooMany` when more
        wait than may, unless the new one could run at once.
        """
        new = self._new
        place = (new.chat_id, new.user_id, new.message_id)
        (deciding,) = await self._session.one(DECIDING, *place)
        total, mine = await self._count()
        if not deciding and (
            total >= new.limits.queued_max - UNSEEN_MAX or mine >= new.limits.queued_per_user_max
        ):
            await self._session.one(f"SELECT {admission.LOCK}")
            deciding = True
            total, mine = await self._count()
        if total >= new.limits.queued_max or mine >= new.limits.queued_per_user_max:
            await self._check_room(total, mine)
        if not new.start:
            return {}
        return await admission.admit(self._session, new.limits.run) if deciding else None

    async def _count(self) -> tuple[int, int]:
        """Return how many others wait, in total and of this person."""
        total, mine = await self._session.one(admission.COUNT, self._new.user_id, self._new.id)
        return total, mine

    async def _check_room(self, total: int, mine: int) -> None:
        """Refuse the new request unless it could start at once, whoever else has to wait."""
        limits, user = self._new.limits, self._new.user_id
        look = admission.Admission(self._session, without=self._new.id)
        startable = await look.pick(limits.run)
        theirs = sum(candidate.user_id == user for candidate in startable)
        if (
            look.by_user.total() + len(startable) < look.running_max
            and look.by_user[user] + theirs < limits.run.running_per_user_max
            and not await self._chat_is_busy()
        ):
            return
        _refuse(self._new, total - len(startable), mine - theirs)

    async def _chat_is_busy(self) -> bool:
        """Tell whether anything has to end before the new request may start."""
        found = await self._session.one(
            f"SELECT 1 FROM request WHERE chat_id = $1 AND {UNFINISHED} AND id <> $2"
            " AND ($3::text IS NULL OR id = $3) LIMIT 1",
            self._new.chat_id,
            self._new.id,
            self._new.follows,
        )
        return found is not None

    async def _parent(self) -> str | None:
        """Return the message that the first new one follows."""
        given = self._new.answers or self._new.parent_id
        if given is not None or self._new.new_chat or self._new.from_root:
            return given
        row = await self._session.one(
            "SELECT current_message_id FROM chat WHERE id = $1", self._new.chat_id
        )
        leaf: str | None = row[0]
        return leaf

    async def _check_chat(self) -> None:
        new = self._new
        await self._session.one(LOCK_CHAT, new.chat_id)
        row = await self._session.one(
            "SELECT agent_id, (SELECT count(*) FROM message m WHERE m.chat_id = c.id)"
            " FROM chat c WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL"
            " AND NOT transient",
            new.chat_id,
            new.user_id,
        )
        if row is None:
            raise refusals.unknown("chat", new.chat_id)
        agent_id, count = row
        if agent_id != new.agent_id and not new.any_agent:
            raise refusals.other_agent(agent_id, new.agent_id)
        if count + new.messages_added > new.limits.messages_max:
            raise refusals.chat_full(count, new.limits.messages_max)

    async def _insert_chat(self) -> None:
        new = self._new
        await self._session.all(
            "INSERT INTO chat (id, user_id, agent_id, title, created_at, updated_at, revision,"
            f" client_id, transient) VALUES ($1, $2, $3, $4, {NOW}, {NOW}, 0, $5, $6)",
            new.chat_id,
            new.user_id,
            new.agent_id,
            new.title,
            new.client_chat_id,
            new.transient,
        )

    async def _insert_request(self, user_message_id: str) -> Request:
        new = self._new
        row = await self._session.one(
            INSERT,
            new.id,
            new.chat_id,
            new.user_id,
            new.agent_id,
            user_message_id,
            new.message_id,
            rows.dump(new.metadata),
            rows.dump(new.params),
            new.transient,
            new.notify,
            new.follows,
            new.traceparent,
            new.first_event,
        )
        if new.input:
            await self._session.all(
                "INSERT INTO input (request_id, items) VALUES ($1, $2)",
                new.id,
                rows.dump(new.input),
            )
        return rows.request(row)


def _refuse(new: NewRequest, total: int, mine: int) -> None:
    """Raise when so many wait that another one does not fit."""
    if total >= new.limits.queued_max:
        raise refusals.queue_full(total)
    if mine >= new.limits.queued_per_user_max:
        raise refusals.user_queue_full(mine)
