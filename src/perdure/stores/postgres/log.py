"""Where events lie: one row for each request and flush, appended under fence and number.

This is the only place that knows the shapes `Append` and `Slice` of the port.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perdure.events import rebuild
from perdure.model import Status
from perdure.ports import Append, Slice
from perdure.stores import refusals, rows
from perdure.stores.postgres.database import Session
from perdure.stores.slices import cut

SEGMENTS_PER_READ = 1024
"""Rows that one read looks at for one request: they bound its work, bytes bound what it takes."""

OWNED = (
    "r.id = g.id AND r.claim_id = g.claim_id AND r.status = 'streaming'"
    " AND r.next_sequence = g.first"
)
"""The fence and the number of every append."""
# Rows are locked in the order of their ids, and each is found by its id: a plan that goes through
# all running requests would read every version that their appends have left behind.
APPEND = f"""
WITH given AS (
  SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bytea[], $6::text[],
                       $7::int[], $8::text[]) WITH ORDINALITY
         AS t (id, claim_id, first, count, data, trace_id, attempt, upstream, place)
), mine AS (
  SELECT g.* FROM (SELECT * FROM given ORDER BY id) g
         JOIN LATERAL (SELECT 1 FROM request r WHERE {OWNED} FOR UPDATE) held ON true
), own AS (
  UPDATE request r SET next_sequence = r.next_sequence + g.count,
         trace_id = coalesce(g.trace_id, r.trace_id), attempt = coalesce(g.attempt, r.attempt),
         upstream = coalesce(g.upstream, r.upstream)
    FROM mine g WHERE r.id = g.id
  RETURNING g.*
), written AS (
  INSERT INTO segment (request_id, first, last, data)
  SELECT id, first, first + count - 1, data FROM own WHERE count > 0
)
SELECT place FROM own
"""
READ = f"""
SELECT r.id, r.status, r.next_sequence, r.events_pruned, s.first, s.data
  FROM unnest($1::text[], $2::int[]) AS c (id, after)
  JOIN request r ON r.id = c.id
  LEFT JOIN LATERAL (
    SELECT first, data FROM (
      SELECT first, data, sum(length(data)) OVER (ORDER BY first) - length(data) AS before FROM (
        SELECT first, data FROM segment WHERE request_id = r.id AND last > c.after
         ORDER BY last LIMIT {SEGMENTS_PER_READ}) near) sized
     WHERE before < $3
  ) s ON true
 ORDER BY r.id, s.first
"""


async def append(session: Session, appends: Sequence[Append]) -> list[bool]:
    """Write what is under a claim in force, at the right number; tell which were."""
    found = await session.all(
        APPEND,
        [a.request_id for a in appends],
        [a.claim_id for a in appends],
        [a.first for a in appends],
        [len(a.events) for a in appends],
        [b"\n".join(a.events) for a in appends],
        [a.trace_id for a in appends],
        [a.attempt for a in appends],
        [rows.dump(a.upstream) for a in appends],
    )
    good = {row[0] for row in found}
    return [place in good for place in range(1, len(appends) + 1)]


async def write_segment(
    session: Session, request_id: str, first: int, events: Sequence[bytes]
) -> None:
    """Write events that the caller has numbered under a guarded update of the request."""
    if events:
        await session.all(
            "INSERT INTO segment (request_id, first, last, data) VALUES ($1, $2, $3, $4)",
            request_id,
            first,
            first + len(events) - 1,
            b"\n".join(events),
        )


async def whole(session: Session, request_id: str) -> list[bytes]:
    """Return a request's whole log."""
    found = await session.all(
        "SELECT data FROM segment WHERE request_id = $1 ORDER BY last", request_id
    )
    return [event for (data,) in found for event in data.split(b"\n")]


async def slices(session: Session, cursors: Mapping[str, int], bytes_max: int) -> dict[str, Slice]:
    """Return what follows each cursor: rows and states of one instant, in one statement."""
    last = 2**31 - 2  # a cursor from the future may be any number
    after = {key: min(cursor, last) for key, cursor in cursors.items()}
    found: dict[str, list[Any]] = {}
    for row in await session.all(READ, [*after], [*after.values()], bytes_max):
        found.setdefault(row[0], []).append(row)
    told: dict[str, Slice] = {}
    for request_id, segments in found.items():
        slice_ = await _slice(session, request_id, cursors[request_id], segments, bytes_max)
        if slice_ is not None:
            told[request_id] = slice_
    return told


async def _slice(
    session: Session, request_id: str, after: int, segments: list[Any], bytes_max: int
) -> Slice | None:
    _, status, following, pruned, *_ = segments[0]
    if pruned and after < following - 1:
        if after >= 0:
            raise refusals.events_pruned()
        return await _retold(session, request_id)
    found = ((first, data) for *_, first, data in segments if data is not None)
    events = cut(found, after, bytes_max)
    return Slice(after + 1, events, following - 1, Status(status).terminal)


async def _retold(session: Session, request_id: str) -> Slice | None:
    """Return a pruned log as its answer tells it; None when the request is gone by now."""
    row = await session.one(f"SELECT {rows.REQUEST} FROM request WHERE id = $1", request_id)
    if row is None:
        return None
    events = rebuild(rows.request(row))
    return Slice(first=0, events=events, last=len(events) - 1, ended=True)
