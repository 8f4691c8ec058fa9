"""Accepting a question: chat, messages, request and event 0 in one transaction."""

from __future__ import annotations

import time

import msgspec

from perdure.ports import Accepted, NewMessage, NewRequest
from perdure.stores import refusals, rows
from perdure.stores.sqlite.admission import Admission
from perdure.stores.sqlite.database import Database
from perdure.stores.sqlite.log import Log


class AcceptWork:
    """One `accept`, to be run inside a write transaction.

    Args:
        db: the database whose write transaction is under way.
        log: where event 0 goes.
        new: what is asked.

    """

    def __init__(self, db: Database, log: Log, new: NewRequest) -> None:
        self._db = db
        self._log = log
        self._new = new
        self._now = time.time()
        self._name_chat()

    def _name_chat(self) -> None:
        """Use the person's chat that the client calls so, if there is one."""
        name = self._new.client_chat_id
        if name is not None:
            row = self._db.one(
                "SELECT id FROM chat WHERE user_id = ? AND client_id = ? AND deleted_at IS NULL",
                self._new.user_id,
                name,
            )
            if row is not None:
                self._new = msgspec.structs.replace(self._new, chat_id=row[0], new_chat=False)

    def replayed(self) -> Accepted | None:
        """Return what an earlier call with the same idempotency key made, if there was one."""
        new = self._new
        if new.idempotency_key is None:
            return None
        row = self._db.one(
            "SELECT request_id, fingerprint FROM idempotency WHERE user_id = ? AND key = ?",
            new.user_id,
            new.idempotency_key,
        )
        if row is None:
            return None
        if row[1] != new.fingerprint:
            raise refusals.key_of_another_body()
        made = self._db.one(
            f"SELECT {rows.REQUEST} FROM request WHERE id = ?",
            row[0],
        )
        if made is None:
            raise refusals.key_of_a_deleted_request()
        return Accepted(rows.request(made), replayed=True)

    def check(self) -> None:
        """Refuse what does not fit: limits, foreign chats, another agent, unknown parents."""
        self._check_queue()
        if not self._new.new_chat:
            self._check_chat()
        for message_id in filter(None, (self._new.parent_id, self._new.answers)):
            self._check_message(message_id)

    def waiting(self) -> list[str]:
        """Return the chat's unfinished requests, oldest first; raise when the caller wants none."""
        found = self._db.all(
            f"SELECT id FROM request WHERE chat_id = ? AND {rows.UNFINISHED}"
            " ORDER BY created_at, id",
            self._new.chat_id,
        )
        if found and self._new.if_busy == "reject":
            raise refusals.chat_busy()
        return [row[0] for row in found]

    def write(self) -> None:
        """Write all rows."""
        new = self._new
        if new.new_chat:
            self._insert_chat()
        parent = self._parent()
        for message in new.history:
            parent = self._insert_message(message, parent)
        if new.question is not None:
            parent = self._insert_message(new.question, parent)
        answer = NewMessage(id=new.message_id, role="assistant", text="")
        self._insert_message(answer, parent, request_id=new.id)
        self._insert_request(str(parent))
        self._db.all(
            "UPDATE chat SET current_message_id = ?, updated_at = ? WHERE id = ?",
            new.message_id,
            self._now,
            new.chat_id,
        )

    def _parent(self) -> str | None:
        """Return the message that the first new one follows."""
        given = self._new.answers or self._new.parent_id
        if given is not None or self._new.from_root:
            return given
        row = self._db.one("SELECT current_message_id FROM chat WHERE id = ?", self._new.chat_id)
        leaf: str | None = row[0]
        return leaf

    def _check_queue(self) -> None:
        """Refuse when too many wait, in total or of this person, who could not run at once."""
        limits, user = self._new.limits, self._new.user_id
        total = self._count("status = 'queued' AND dispatched_at IS NULL")
        mine = self._count("status = 'queued' AND dispatched_at IS NULL AND user_id = ?", user)
        if total < limits.queued_max and mine < limits.queued_per_user_max:
            return
        admission = Admission(self._db.writer, self._now)
        startable = admission.pick(limits.run)
        theirs = sum(candidate.user_id == user for candidate in startable)
        running, running_of_user = admission.by_user.total(), admission.by_user[user]
        if (
            running + len(startable) < limits.run.running_max
            and running_of_user + theirs < limits.run.running_per_user_max
            and not self._chat_is_busy()
        ):
            return  # it starts at once, whoever else has to wait
        total -= len(startable)
        mine -= theirs
        if total >= limits.queued_max:
            raise refusals.queue_full(total)
        if mine >= limits.queued_per_user_max:
            raise refusals.user_queue_full(mine)

    def _chat_is_busy(self) -> bool:
        """Tell whether anything has to end before the new request may start."""
        before = f"chat_id = ? AND {rows.UNFINISHED}"
        if self._new.follows is None:
            return self._count(before, self._new.chat_id) > 0
        return self._count(f"{before} AND id = ?", self._new.chat_id, self._new.follows) > 0

    def _count(self, where: str, *values: str) -> int:
        count: int = self._db.one(f"SELECT count(*) FROM request WHERE {where}", *values)[0]
        return count

    def _check_chat(self) -> None:
        new = self._new
        row = self._db.one(
            "SELECT agent_id FROM chat WHERE id = ? AND user_id = ? AND deleted_at IS NULL"
            " AND transient = 0",
            new.chat_id,
            new.user_id,
        )
        if row is None:
            raise refusals.unknown("chat", new.chat_id)
        if row[0] != new.agent_id and not new.any_agent:
            raise refusals.other_agent(row[0], new.agent_id)
        (count,) = self._db.one("SELECT count(*) FROM message WHERE chat_id = ?", new.chat_id)
        if count + new.messages_added > new.limits.messages_max:
            raise refusals.chat_full(count, new.limits.messages_max)

    def _check_message(self, message_id: str) -> None:
        found = self._db.one(
            "SELECT 1 FROM message WHERE id = ? AND chat_id = ?",
            message_id,
            self._new.chat_id,
        )
        if found is None:
            raise refusals.unknown_message(message_id)

    def _insert_chat(self) -> None:
        new = self._new
        self._db.all(
            "INSERT INTO chat (id, user_id, agent_id, title, created_at, updated_at, revision,"
            " client_id, transient) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?)",
            new.chat_id,
            new.user_id,
            new.agent_id,
            new.title,
            self._now,
            self._now,
            new.client_chat_id,
            int(new.transient),
        )

    def _insert_message(
        self,
        message: NewMessage,
        parent: str | None,
        request_id: str | None = None,
    ) -> str:
        self._db.all(
            "INSERT INTO message (id, chat_id, parent_id, role, text, parts, request_id,"
            " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            message.id,
            self._new.chat_id,
            parent,
            message.role,
            message.text,
            rows.dump(message.parts),
            request_id,
            self._now,
        )
        if message.text:
            self._db.all("INSERT INTO unindexed VALUES (?)", self._db.writer.last_insert_rowid())
        return message.id

    def _insert_request(self, user_message_id: str) -> None:
        new = self._new
        self._db.all(
            "INSERT INTO request (id, chat_id, user_id, agent_id, user_message_id, message_id,"
            " status, created_at, next_sequence, metadata, params, transient, notify,"
            " follows, traceparent)"
            " VALUES (?, ?, ?, ?, ?, ?, 'queued', ?, 1, ?, ?, ?, ?, ?, ?)",
            new.id,
            new.chat_id,
            new.user_id,
            new.agent_id,
            user_message_id,
            new.message_id,
            self._now,
            rows.dump(new.metadata),
            rows.dump(new.params),
            int(new.transient),
            int(new.notify),
            new.follows,
            new.traceparent,
        )
        if new.input:
            self._db.all("INSERT INTO input VALUES (?, ?)", new.id, rows.dump(new.input))
        self._log.write_segment(new.id, 0, [new.first_event])
        if new.idempotency_key is not None:
            self._db.all(
                "INSERT INTO idempotency VALUES (?, ?, ?, ?, ?)",
                new.user_id,
                new.idempotency_key,
                new.id,
                new.fingerprint,
                self._now,
            )
