"""A PostgreSQL database as a side of a copy (`stores.copying`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from perdure.errors import Conflict, Invalid
from perdure.stores import words
from perdure.stores.copying import ROWS_PER_BATCH, TABLES, Columns, Row
from perdure.stores.postgres import PostgresStore
from perdure.stores.postgres.database import FOREIGN, Access, translate, unreachable

OWN = ("migration", "probe", "worker")
DERIVED = {("message", "words"), ("tally", "shard")}
WORDS_PER_BATCH = 200
CASTS: dict[str, Callable[[Any], Any]] = {"boolean": bool, "double precision": float}


class PostgresSide:
    """A database in one transaction of a connection of its own."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._types: dict[tuple[str, str], str] = {}

    async def columns(self) -> Columns:
        found = await self._connection.fetch(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position"
        )
        tables: dict[str, list[str]] = {}
        for table, column, kind in found:
            if table not in OWN and (table, column) not in DERIVED:
                tables.setdefault(table, []).append(column)
                self._types[table, column] = kind
        return {**tables, **TABLES}

    async def rows(self, table: str, columns: Sequence[str]) -> AsyncIterator[list[Row]]:
        sql = f"SELECT {', '.join(columns)} FROM {table}"
        if table == "tally":
            shown = ", ".join("sum(count)::bigint" if c == "count" else c for c in columns)
            sql = f"SELECT {shown} FROM tally GROUP BY agent_id, status, code"
        batch: list[Row] = []
        async for row in self._connection.cursor(sql, prefetch=ROWS_PER_BATCH):
            batch.append(tuple(row))
            if len(batch) == ROWS_PER_BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    async def fill(self, table: str, columns: Sequence[str], rows: list[Row]) -> None:
        casts = [CASTS.get(self._types[table, column]) for column in columns]
        records = [
            tuple(
                value if cast is None or value is None else cast(value)
                for cast, value in zip(casts, row, strict=True)
            )
            for row in rows
        ]
        names = [*columns]
        if table == "tally":
            names.append("shard")
            records = [(*record, 0) for record in records]
        await self._connection.copy_records_to_table(table, records=records, columns=names)

    async def complete(self) -> None:
        """Fold the texts for search, and let new messages be numbered behind the old ones."""
        last = -1
        while found := await self._connection.fetch(
            "SELECT position, text FROM message WHERE position > $1 ORDER BY position LIMIT $2",
            last,
            WORDS_PER_BATCH,
        ):
            last = found[-1][0]
            folded = [(position, await words.apart(text)) for position, text in found]
            await self._connection.executemany(
                "UPDATE message SET words = array_to_tsvector($2) WHERE position = $1", folded
            )
        await self._connection.execute(
            "SELECT setval(pg_get_serial_sequence('message', 'position'),"
            " coalesce(max(position), 0) + 1, false) FROM message"
        )


@asynccontextmanager
async def source(access: Access) -> AsyncIterator[PostgresSide]:
    """Show the database as it is in one instant, without changing it."""
    async with _alone(access, "repeatable_read", readonly=True) as connection:
        yield PostgresSide(connection)


@asynccontextmanager
async def target(access: Access) -> AsyncIterator[PostgresSide]:
    """Fill an empty database in one transaction, which is committed at the end."""
    async with _alone(access, "read_committed", readonly=False) as connection:
        if await connection.fetchval("SELECT EXISTS (SELECT 1 FROM chat)"):
            detail = f"{access.shown} holds chats already; a copy goes into an empty database."
            raise Invalid(detail)
        yield PostgresSide(connection)


@asynccontextmanager
async def _alone(access: Access, isolation: str, *, readonly: bool) -> AsyncIterator[Any]:
    """Open a transaction on a migrated database that no other process of Perdure has open."""
    store = PostgresStore(access)
    await store.open()
    await store.close()
    options = {**access.options(), "command_timeout": None}
    try:
        connection = await asyncpg.connect(**options)
    except FOREIGN as error:
        raise unreachable(error, access) from error
    try:
        others = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'perdure'"
        )
        if others:
            detail = f"Servers or workers are connected to {access.shown}: stop them first."
            raise Conflict(detail, code="database_in_use")
        async with connection.transaction(isolation=isolation, readonly=readonly):
            yield connection
    except FOREIGN as error:
        raise translate(error, "copy") from error
    finally:
        await connection.close()
