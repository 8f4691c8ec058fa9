"""A SQLite file as a side of a copy (`stores.copying`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw

from perdure.errors import Invalid
from perdure.stores.copying import ROWS_PER_BATCH, TABLES, Columns, Row
from perdure.stores.sqlite import SqliteStore
from perdure.stores.sqlite.backup import judge, sync
from perdure.stores.sqlite.database import Database, translate

OWN = ("migration", "journal", "unindexed", "search", "sqlite_")
"""What the names of tables begin with that no other store has."""


class SqliteSide:
    """A file that this process owns.

    Args:
        store: open.

    """

    def __init__(self, store: SqliteStore) -> None:
        self._writer = store.db.writer

    async def columns(self) -> Columns:
        found: list[Any] = self._writer.execute(
            "SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c"
            " WHERE m.type = 'table'"
        ).fetchall()
        tables: dict[str, list[str]] = {}
        for table, column in found:
            if not table.startswith(OWN) and (table, column) != ("person", "served_at"):
                tables.setdefault(table, []).append(column)
        return {**tables, **TABLES}

    async def rows(self, table: str, columns: Sequence[str]) -> AsyncIterator[list[Row]]:
        where = " FROM person WHERE served_at > 0" if table == "turn" else f" FROM {table}"
        found: Any = self._writer.execute(f"SELECT {', '.join(columns)}{where}")
        batch: list[Row] = []
        for row in found:
            batch.append(row)
            if len(batch) == ROWS_PER_BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    async def fill(self, table: str, columns: Sequence[str], rows: list[Row]) -> None:
        if table == "turn":
            place = [columns.index("served_at"), columns.index("user_id")]
            served = [(row[place[0]], row[place[1]]) for row in rows]
            self._writer.executemany("UPDATE person SET served_at = ? WHERE user_id = ?", served)
            return
        marks = ", ".join("?" * len(columns))
        insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
        self._writer.executemany(insert, rows)

    async def complete(self) -> None:
        self._writer.execute(
            "INSERT INTO unindexed SELECT position FROM message WHERE text <> ''"
        ).fetchall()


@asynccontextmanager
async def source(path: Path) -> AsyncIterator[SqliteSide]:
    """Open a file that no server has, with all events where a copy looks for them."""
    store = SqliteStore(_there(path))
    await store.open()
    try:
        await store.db.write(store.log.settle)
        yield SqliteSide(store)
    finally:
        await store.close()


@asynccontextmanager
async def target(path: Path) -> AsyncIterator[SqliteSide]:
    """Make a file; it has its name when everything is in it, and is not there otherwise."""
    partial = _beside(path)
    with Database(path).locked():
        store = SqliteStore(partial)
        await store.open()
        try:
            with store.db.writer:
                yield SqliteSide(store)
        except apsw.Error as error:
            raise translate(error, f"fill {path}") from error
        finally:
            await store.close()
        judge(partial)
        sync(partial)
        partial.rename(path)
        _remove(partial)


def _there(path: Path) -> Path:
    if not path.is_file():
        detail = f"There is no database {path}."
        raise Invalid(detail)
    return path


def _beside(path: Path) -> Path:
    """Return the name under which a new file is made."""
    if path.exists():
        detail = f"{path} exists; a copy goes into a new file."
        raise Invalid(detail)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    _remove(partial)
    return partial


def _remove(path: Path) -> None:
    for end in ("", "-wal", "-shm", ".lock"):
        Path(f"{path}{end}").unlink(missing_ok=True)
