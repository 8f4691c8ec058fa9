"""The guarded steps that end, requeue and look up requests, shared by all that write.

Every transaction takes its locks in one order, so that none waits in a circle: idempotency key,
name of a chat, chat, request, person, admission. The chat's row serialises whatever happens in a
chat; only `append` and `renew` go without it: they touch running requests' rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import randrange
from typing import Any

from perdure.events import Builder, Closing
from perdure.fold import fold
from perdure.model import Failure, Message, Request, Status, new_id
from perdure.ports import Append
from perdure.stores import notices, refusals, rows, words
from perdure.stores.postgres import log
from perdure.stores.postgres.database import NOW, Database, Session

LOCK_CHAT = "SELECT 1 FROM chat WHERE id = $1 FOR UPDATE"
LOCK_CHAT_OF = (
    "SELECT 1 FROM chat WHERE id = (SELECT chat_id FROM request WHERE id = $1) FOR UPDATE"
)
CHANGED = """
WITH changed AS (
  INSERT INTO person (user_id, revision) VALUES ($2, 1)
      ON CONFLICT (user_id) DO UPDATE SET revision = person.revision + 1 RETURNING revision
)
UPDATE chat SET revision = changed.revision FROM changed WHERE id = $1
"""
TOLD = """
WITH changed AS (
  INSERT INTO person (user_id, revision) VALUES ($2, 1)
      ON CONFLICT (user_id) DO UPDATE SET revision = person.revision + 1 RETURNING revision
)
UPDATE chat SET revision = changed.revision, last_status = $3, unread = unread OR $4
  FROM changed WHERE id = $1
"""
END = f"""
WITH ended AS (
  UPDATE request SET status = $3, claim_id = NULL, lease_until = NULL, completed_at = {NOW},
         error = $4, usage = $5, output = $6, incomplete_reason = $7, dispatched_at = NULL,
         next_sequence = $2 + $8, trace_id = coalesce($9, trace_id),
         attempt = coalesce($10, attempt), upstream = coalesce($12, upstream)
   WHERE id = $1 AND {rows.UNFINISHED} AND next_sequence = $2
     AND ($11::text IS NULL OR (claim_id = $11 AND status = 'streaming'))
  RETURNING chat_id, user_id, message_id, notify, agent_id
), written AS (
  INSERT INTO segment (request_id, first, last, data) SELECT $1, $2, $2 + $8 - 1, $13 FROM ended
)
SELECT * FROM ended
"""
TALLY = """
INSERT INTO tally AS t (agent_id, status, code, shard, count) VALUES ($1, $2, $3, $4, 1)
    ON CONFLICT (agent_id, status, code, shard) DO UPDATE SET count = t.count + 1
"""
SHARDS = 16
"""Ends in different processes seldom wait for each other's row; it is locked last and briefly."""
CONVERSATION = (
    "WITH RECURSIVE line (id, depth) AS (SELECT $1::text, 0 UNION ALL"
    " SELECT m.parent_id, depth + 1 FROM message m JOIN line ON m.id = line.id"
    " WHERE m.parent_id IS NOT NULL)"
    f" SELECT {', '.join('m.' + c for c in rows.MESSAGE.split(', '))}"
    " FROM line JOIN message m ON m.id = line.id ORDER BY depth DESC"
)


class Transitions:
    """Steps of a transaction over one database."""

    db: Database

    async def _hold(self, session: Session, request_id: str) -> Request:
        """Lock a request after its chat, so that nobody changes or extends it; return it."""
        await session.one(LOCK_CHAT_OF, request_id)
        return await self._get(session, request_id, lock=True)

    async def _end(
        self, session: Session, request_id: str, status: Status, error: Failure | None = None
    ) -> None:
        """End a request that is held, whoever owns it: cancel, lost worker."""
        builder = Builder(fold(await log.whole(session, request_id)))
        first = builder.first
        closing = builder.end(status, error)
        last = Append(request_id, "", first, builder.take())
        await self._close(session, last, closing)

    async def _close(
        self, session: Session, last: Append, closing: Closing, claim_id: str | None = None
    ) -> bool:
        """Write the last events, the row, the message and the chat's state, if the guard holds.

        `claim_id`: the fence of the worker that ends its request.
        """
        row = await session.one(
            END,
            last.request_id,
            last.first,
            closing.status,
            rows.dump(closing.error),
            rows.dump(closing.usage),
            rows.dump(closing.output),
            closing.incomplete_reason,
            len(last.events),
            last.trace_id,
            last.attempt,
            claim_id,
            rows.dump(last.upstream),
            b"\n".join(last.events),
        )
        if row is None:
            return False
        if row["notify"]:
            await self._post(session, last.request_id, row["user_id"], closing)
        await self._tell_end(session, row, closing)
        code = closing.error.code if closing.error else ""
        await session.all(TALLY, row["agent_id"], closing.status, code, randrange(SHARDS))  # noqa: S311
        return True

    async def _post(
        self, session: Session, request_id: str, user_id: str, closing: Closing
    ) -> None:
        """Put the notice of an end into the outbox."""
        await session.all(
            "INSERT INTO webhook (id, request_id, user_id, type, created_at, due_at)"
            f" SELECT $1, $2, $3, $4, now, now FROM (SELECT {NOW} AS now) clock",
            new_id("evt"),
            request_id,
            user_id,
            notices.type_of(closing),
        )

    async def _tell_end(self, session: Session, row: Any, closing: Closing) -> None:
        """Write what an end means for the message and the chat."""
        chat_id, user_id, message_id, *_ = row
        await session.all(
            "UPDATE message SET text = $2, output = $3, words = array_to_tsvector($4)"
            " WHERE id = $1",
            message_id,
            closing.text,
            rows.dump(closing.output),
            await words.apart(closing.text),
        )
        unread = closing.status != Status.CANCELLED
        await session.all(TOLD, chat_id, user_id, closing.status, unread)

    async def _requeue(
        self, session: Session, request: Request, reason: str, crashes: int, wait_s: float | None
    ) -> None:
        """Give a running request that is held back to the queue; its open item ends incomplete."""
        builder = Builder(fold(await log.whole(session, request.id)))
        first = builder.first
        builder.queued()
        events = builder.take()
        await session.all(
            "UPDATE request SET status = 'queued', claim_id = NULL, lease_until = NULL,"
            " dispatched_at = NULL, requeued_for = $2, crashes = greatest(crashes, $3),"
            f" not_before = {NOW} + $4::double precision, next_sequence = $5 + $6"
            " WHERE id = $1 AND status = 'streaming' AND next_sequence = $5",
            request.id,
            reason,
            crashes,
            wait_s,
            first,
            len(events),
        )
        await log.write_segment(session, request.id, first, events)
        await session.all(CHANGED, request.chat_id, request.user_id)

    async def _forget(self, session: Session, request_ids: Sequence[str]) -> None:
        """Remove requests with all that is their own, but their idempotency keys."""
        await self._bury_keys(session, request_ids)
        for table, column in (
            ("segment", "request_id"),
            ("feedback", "request_id"),
            ("input", "request_id"),
            ("request", "id"),
        ):
            await session.all(f"DELETE FROM {table} WHERE {column} = ANY($1)", [*request_ids])

    async def _bury_keys(self, session: Session, request_ids: Sequence[str]) -> None:
        """Let the keys of requests name nothing: a late retry must not ask the question again."""
        await session.all(
            "DELETE FROM idempotency WHERE request_id = ANY($1) AND left(key, 1) = $2",
            [*request_ids],
            rows.UNANSWERED,
        )
        await session.all(
            f"UPDATE idempotency SET request_id = '', created_at = {NOW}"
            " WHERE request_id = ANY($1)",
            [*request_ids],
        )

    async def _conversation(self, session: Session, message_id: str) -> list[Message]:
        """Return the messages from the root to `message_id`."""
        return [rows.message(row) for row in await session.all(CONVERSATION, message_id)]

    async def _get(self, session: Session, request_id: str, *, lock: bool = False) -> Request:
        """Return a request as this transaction sees it."""
        row = await session.one(
            f"SELECT {rows.REQUEST} FROM request WHERE id = $1{' FOR UPDATE' * lock}", request_id
        )
        if row is None:
            raise refusals.unknown("request", request_id)
        return rows.request(row)
