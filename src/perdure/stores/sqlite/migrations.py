"""Numbered, expand-only changes of the schema, each applied once, in order, in one transaction."""

from __future__ import annotations

import hashlib
import time
from importlib import resources
from typing import Any

import apsw

from perdure.errors import Unavailable


def numbered() -> list[tuple[int, str, str]]:
    """Return the migrations as `(number, name, SQL)`, in order."""
    folder = resources.files("perdure.stores.sqlite") / "schema"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(int(name.split("_")[0]), name, (folder / name).read_text("utf-8")) for name in names]


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
    if applied and max(applied) > known[-1][0]:
        detail = f"The file has schema {max(applied)}, this program knows {known[-1][0]}: upgrade."
        raise Unavailable(detail, code="schema_too_new")
    for number, name, sql in known:
        checksum = hashlib.sha256(sql.encode()).hexdigest()
        if number not in applied:
            with connection:
                connection.execute(sql).fetchall()
                connection.execute(
                    "INSERT INTO migration VALUES (?, ?, ?, ?)",
                    (number, name, checksum, time.time()),
                )
        elif applied[number] != checksum:
            detail = f"The applied migration {name} differs from this program's."
            raise Unavailable(detail, code="schema_changed")
    return known[-1][0]
