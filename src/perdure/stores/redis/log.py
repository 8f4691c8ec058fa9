"""Where events lie: one entry of a stream for each request and flush; its id is the next number.

This is the only place that knows the shapes `Append` and `Slice` of the port.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perdure.events import rebuild
from perdure.model import Status
from perdure.ports import Append, Slice
from perdure.stores import refusals
from perdure.stores.redis import values
from perdure.stores.redis.database import Database, Draft
from perdure.stores.slices import cut

LAST = 2**31
"""A cursor from the future may be any number; scripts count exactly up to 2^53."""


def words(append: Append, *, doubt: bool) -> tuple[Any, ...]:
    """Return an append as the script takes it; `doubt`: an earlier try may have written it."""
    return (
        append.request_id,
        append.claim_id,
        append.first,
        len(append.events),
        b"\n".join(append.events),
        append.trace_id or "",
        append.attempt or "",
        "" if append.upstream is None else values.plain(append.upstream),
        int(doubt),
    )


def write(draft: Draft, request_id: str, first: int, events: Sequence[bytes]) -> None:
    """Write events that the draft numbers under a guard."""
    if events:
        place = f"{first + len(events)}-0"
        draft.add("XADD", draft.key("log", request_id), place, "e", b"\n".join(events))


async def after(database: Database, request_id: str, number: int) -> list[bytes]:
    """Return a request's log behind a number that ends an entry; -1 = the whole log."""
    key = database.key("log", request_id)
    (found,) = await database.look(("XRANGE", key, str(number + 2), "+"))
    return [event for _, data in found for event in data[b"e"].split(b"\n")]


async def read(database: Database, cursors: Mapping[str, int], bytes_max: int) -> dict[str, Slice]:
    """Return what follows each cursor."""
    asked = [word for key, cursor in cursors.items() for word in (key, min(cursor, LAST))]
    told: dict[str, Slice] = {}
    for row in await database.run("read", database.access.prefix, bytes_max, *asked):
        request_id = row[0].decode()
        slice_ = await _slice(database, cursors[request_id], row, bytes_max)
        if slice_ is not None:
            told[request_id] = slice_
    return told


async def _slice(database: Database, after: int, row: list[Any], bytes_max: int) -> Slice | None:
    request_id, status, following, pruned, found = row
    last = int(following) - 1
    if pruned and after < last:
        if after >= 0:
            raise refusals.events_pruned()
        return await _retold(database, request_id.decode())
    events = cut(_segments(found), after, bytes_max)
    return Slice(after + 1, events, last, Status(status.decode()).terminal)


def _segments(found: list[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield each entry's first number and its events."""
    for place, data in zip(found[::2], found[1::2], strict=True):
        yield int(place.partition(b"-")[0]) - data.count(b"\n") - 1, data


async def _retold(database: Database, request_id: str) -> Slice | None:
    """Return a pruned log as its answer tells it; None when the request is gone by now."""
    (reply,) = await database.look(("HGETALL", database.key("request", request_id)))
    if not reply:
        return None
    events = rebuild(values.request(values.fields(reply)))
    return Slice(first=0, events=events, last=len(events) - 1, ended=True)
