"""Carrying everything from one SQL store to another: row by row, and all of it or nothing.

What is to be carried is read from both schemas, so that a table or a column that only one of them
has stops the copy before it begins. Each row is digested when it is read and once more from the
target; only when the sums agree the target is committed.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from perdure.errors import Invalid, Unavailable
from perdure.model import JSON
from perdure.wire import clean

Row = tuple[Any, ...]
Columns = Mapping[str, Sequence[str]]
ROWS_PER_BATCH = 500
MODULUS = 1 << 128
TABLES: dict[str, Sequence[str]] = {
    "tally": ("agent_id", "status", "code", "count"),
    "turn": ("user_id", "served_at"),
}
"""Tables that lie differently in each schema; each side shows them so."""


class Side(Protocol):
    """One database of a copy, for itself alone, in one transaction."""

    async def columns(self) -> Columns:
        """Return the columns of each table that is to be carried."""

    def rows(self, table: str, columns: Sequence[str]) -> AsyncIterator[list[Row]]:
        """Yield all rows in batches."""


class Target(Side, Protocol):
    """The side that is filled; it is empty."""

    async def fill(self, table: str, columns: Sequence[str], rows: list[Row]) -> None:
        """Add rows."""

    async def complete(self) -> None:
        """Derive what is not carried: search words, the next numbers."""


async def carry(source: Side, target: Target, tell: Callable[[str], None]) -> JSON:
    """Carry everything; return how many rows each table has.

    Args:
        source: open, in its transaction.
        target: as the source; the caller commits it.
        tell: called with each table's name before it is carried.

    Raises:
        Invalid: the schemas differ.
        Unavailable: what arrived is not what was sent.

    """
    tables = agreed(await source.columns(), await target.columns())
    sent: dict[str, tuple[int, int]] = {}
    for table, columns in tables.items():
        tell(table)
        sent[table] = await _carry(source, target, table, columns)
    await target.complete()
    tell("comparing")
    for table, columns in tables.items():
        if await _sum(target, table, columns) != sent[table]:
            detail = f"The table {table} did not arrive as it was sent; nothing was copied."
            raise Unavailable(detail, code="copy_differs")
    return {table: count for table, (count, _) in sent.items()}


def agreed(source: Columns, target: Columns) -> dict[str, list[str]]:
    """Return what both sides have; raises `Invalid` when one has more than the other."""
    for table in sorted({*source, *target}):
        here, there = set(source.get(table, ())), set(target.get(table, ()))
        if here != there:
            names = ", ".join(sorted(here ^ there))
            detail = f"The schemas differ in the table {table} ({names}): upgrade both first."
            raise Invalid(detail, code="schema_differs")
    return {table: sorted(columns) for table, columns in source.items()}


async def _carry(
    source: Side, target: Target, table: str, columns: Sequence[str]
) -> tuple[int, int]:
    count = total = 0
    async for batch in source.rows(table, columns):
        rows = [tuple(clean(value) for value in row) for row in batch]
        await target.fill(table, columns, rows)
        count += len(rows)
        total += sum(map(_digest, rows))
    return count, total % MODULUS


async def _sum(side: Side, table: str, columns: Sequence[str]) -> tuple[int, int]:
    count = total = 0
    async for rows in side.rows(table, columns):
        count += len(rows)
        total += sum(map(_digest, rows))
    return count, total % MODULUS


def _digest(row: Row) -> int:
    """Return a row as a number; the sum over a table does not depend on its order."""
    plain = [int(value) if isinstance(value, bool) else value for value in row]
    return int.from_bytes(
        hashlib.blake2b(msgspec.msgpack.encode(plain), digest_size=16).digest(), "big"
    )
