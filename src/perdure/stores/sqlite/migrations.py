"""The schema of a SQLite file, brought up to date: each migration in one transaction."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import apsw

from perdure.errors import Unavailable
from perdure.stores.migrations import Migration, due
from perdure.stores.migrations import numbered as files


def numbered() -> list[Migration]:
    """Return this adapter's migrations, in order."""
    return files("perdure.stores.sqlite")


def migrate(connection: apsw.Connection) -> int:
    """Bring the file up to date and return its version.

    Raises:
        Unavailable: the file is newer than this program, or an applied migration was changed.

    """
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL,"
        " checksum TEXT NOT NULL, applied_at REAL NOT NULL) STRICT",
    )
    found: list[Any] = connection.execute("SELECT number, checksum FROM migration").fetchall()
    applied: dict[int, str] = dict(found)
    known = numbered()
    newest = known[-1].number
    if applied and max(applied) > newest:
        raise newer(max(applied), newest)
    for migration in due(known, applied):
        with connection:
            connection.execute(migration.sql).fetchall()
            connection.execute(
                "INSERT INTO migration VALUES (?, ?, ?, ?)",
                (migration.number, migration.name, migration.checksum, time.time()),
            )
    return newest


def newer(schema: int, known: int) -> Unavailable:
    """Return the refusal of a file that a later version of this program has written."""
    detail = (
        f"The file has schema {schema}, this program knows {known}; it was made by a newer Perdure:"
        " install that version or restore a backup."
    )
    return Unavailable(detail, code="schema_too_new")


def damaged(path: Path, fault: object) -> Unavailable:
    """Return the refusal of a file that cannot be read as it was written."""
    detail = f"{path} is damaged ({fault}): put a backup in its place."
    return Unavailable(detail, code="database_damaged")
