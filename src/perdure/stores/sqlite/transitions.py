"""The guarded steps that end, requeue and look up requests, shared by all that write on SQLite.

A take-over (cancel, lost lease, hand-over) is one transaction: it takes the claim away and appends
the event that says so. It works whoever owns the request, hung and dead workers included.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import apsw

from perdure.events import Builder, Closing
from perdure.fold import fold
from perdure.model import Failure, Message, Request, Status, new_id
from perdure.ports import Append
from perdure.stores import notices, refusals, rows
from perdure.stores.sqlite.database import Database
from perdure.stores.sqlite.log import Log


class Transitions:
    """Steps of a write transaction over one database and its log."""

    db: Database
    log: Log

    def _end(self, request_id: str, status: Status, error: Failure | None = None) -> None:
        """Take over and end a request, whoever owns it: cancel, lost worker."""
        builder = Builder(fold(self.log.whole(request_id)))
        first = builder.first
        closing = builder.end(status, error)
        self._close(request_id, first, builder.take(), closing)

    def _close(
        self,
        request_id: str,
        first: int,
        events: Sequence[bytes],
        closing: Closing,
    ) -> None:
        """Write the last events, the row, the message and the chat's state."""
        row = self.db.one(
            "UPDATE request SET status = ?, claim_id = NULL, lease_until = NULL, completed_at = ?,"
            " error = ?, usage = ?, output = ?, incomplete_reason = ?, dispatched_at = NULL"
            f" WHERE id = ? AND {rows.UNFINISHED}"
            " RETURNING chat_id, user_id, message_id, notify, agent_id",
            closing.status,
            time.time(),
            rows.dump(closing.error),
            rows.dump(closing.usage),
            rows.dump(closing.output),
            closing.incomplete_reason,
            request_id,
        )
        if row is None:
            return
        chat_id, user_id, message_id, notify, agent_id = row
        self._count(agent_id, closing)
        if notify:
            self._post(request_id, user_id, closing)
        position = self.db.one(
            "UPDATE message SET text = ?, output = ? WHERE id = ? RETURNING position",
            closing.text,
            rows.dump(closing.output),
            message_id,
        )
        if position is not None and closing.text:
            self.db.all("INSERT OR IGNORE INTO unindexed VALUES (?)", position[0])
        unread = int(closing.status != Status.CANCELLED)
        self.db.all(
            "UPDATE chat SET last_status = ?, unread = max(unread, ?) WHERE id = ?",
            closing.status,
            unread,
            chat_id,
        )
        self._chat_changed(chat_id, user_id)
        self._number(request_id, self.log.seal(request_id, first, events))

    def _count(self, agent_id: str, closing: Closing) -> None:
        self.db.all(
            "INSERT INTO tally VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1",
            agent_id,
            closing.status,
            closing.error.code if closing.error else "",
        )

    def _post(self, request_id: str, user_id: str, closing: Closing) -> None:
        """Put the notice of an end into the outbox."""
        now = time.time()
        self.db.all(
            "INSERT INTO webhook (id, request_id, user_id, type, created_at, due_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            new_id("evt"),
            request_id,
            user_id,
            notices.type_of(closing),
            now,
            now,
        )

    def _annotate(self, append: Append) -> None:
        """Store what an append says beside its events."""
        self.db.all(
            "UPDATE request SET trace_id = coalesce(?, trace_id),"
            " attempt = coalesce(?, attempt), upstream = coalesce(?, upstream) WHERE id = ?",
            append.trace_id,
            append.attempt,
            rows.dump(append.upstream),
            append.request_id,
        )

    def _requeue(
        self,
        request_id: str,
        reason: str,
        crashes: int,
        not_before: float | None,
    ) -> None:
        """Give a running request back to the queue; its open item is closed as incomplete."""
        builder = Builder(fold(self.log.whole(request_id)))
        first = builder.first
        builder.queued()
        row = self.db.one(
            "UPDATE request SET status = 'queued', claim_id = NULL, lease_until = NULL,"
            " dispatched_at = NULL, requeued_for = ?, crashes = max(crashes, ?), not_before = ?"
            " WHERE id = ? AND status = 'streaming' RETURNING chat_id, user_id",
            reason,
            crashes,
            not_before,
            request_id,
        )
        if row is not None:
            self._chat_changed(row[0], row[1])
            self._number(request_id, self.log.seal(request_id, first, builder.take()))

    def _number(self, request_id: str, following: int) -> None:
        self.db.all("UPDATE request SET next_sequence = ? WHERE id = ?", following, request_id)

    def _forget(self, request_id: str) -> None:
        """Remove a request with all that is its own, but its idempotency key."""
        self._bury_keys(request_id)
        for table, column in (
            ("segment", "request_id"),
            ("feedback", "request_id"),
            ("input", "request_id"),
            ("request", "id"),
        ):
            self.db.all(f"DELETE FROM {table} WHERE {column} = ?", request_id)

    def _bury_keys(self, request_id: str) -> None:
        """Let the keys of a request name nothing: a late retry must not ask the question again."""
        self.db.all(
            "DELETE FROM idempotency WHERE request_id = ? AND substr(key, 1, 1) = ?",
            request_id,
            rows.UNANSWERED,
        )
        self.db.all(
            "UPDATE idempotency SET request_id = '', created_at = ? WHERE request_id = ?",
            time.time(),
            request_id,
        )

    def _chat_changed(self, chat_id: str, user_id: str) -> None:
        """Give the chat the person's next revision, so that live lists see the change."""
        row = self.db.one(
            "INSERT INTO person (user_id, revision) VALUES (?, 1)"
            " ON CONFLICT DO UPDATE SET revision = revision + 1"
            " RETURNING revision",
            user_id,
        )
        self.db.all("UPDATE chat SET revision = ? WHERE id = ?", row and row[0], chat_id)

    def _conversation(self, message_id: str) -> list[Message]:
        """Return the messages from the root to `message_id`."""
        found = self.db.all(
            "WITH RECURSIVE line (id, depth) AS (SELECT ?, 0 UNION ALL"
            " SELECT m.parent_id, depth + 1 FROM message m JOIN line ON m.id = line.id"
            " WHERE m.parent_id IS NOT NULL)"
            f" SELECT {', '.join('m.' + c for c in rows.MESSAGE.split(', '))}"
            " FROM line JOIN message m ON m.id = line.id ORDER BY depth DESC",
            message_id,
        )
        return [rows.message(row) for row in found]

    def _get(self, request_id: str) -> Request:
        """Return a request as this transaction sees it."""
        row = self.db.one(f"SELECT {rows.REQUEST} FROM request WHERE id = ?", request_id)
        if row is None:
            raise refusals.unknown("request", request_id)
        return self._numbered(rows.request(row))

    def _seen(self, request_id: str, user_id: str | None = None) -> Request:
        """Return a request as committed, if it is the person's."""
        found = self.db.look(f"SELECT {rows.REQUEST} FROM request WHERE id = ?", request_id)
        if not found or (user_id is not None and found[0][2] != user_id):
            raise refusals.unknown("request", request_id)
        return rows.request(found[0])

    def _numbered(self, request: Request) -> Request:
        live = self.log.live.get(request.id)
        if live is not None:
            request.sequence_number = live.next - 1
        return request

    def _exists(self, where: str, *values: apsw.SQLiteValue) -> bool:
        return bool(self.db.look(f"SELECT 1 FROM request WHERE {where} LIMIT 1", *values))
