"""A look at a SQLite file that may be in use: it locks nothing and changes nothing."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from perdure.errors import Unavailable
from perdure.model import JSON
from perdure.stores.sqlite.database import BUSY_MS, translate
from perdure.stores.sqlite.migrations import damaged, newer, numbered

LOOK_S = 10.0
"""How long pages are looked through: meanwhile the log beside a file in use cannot restart."""
STEPS = 10_000


def look_at(path: Path) -> JSON:
    """Return the schema of a file, and whether all of it was looked through.

    Raises:
        Unavailable: it cannot be read, is damaged, is no database of ours, or too new.

    """
    try:
        with closing(_opened(path)) as connection:
            schema = _schema(connection)
            if schema > (known := numbered()[-1].number):
                raise newer(schema, known)
            return {"schema": schema, "schema_known": known, "whole": _sound(path, connection)}
    except apsw.SQLError as error:
        detail = f"{path} holds tables of something else ({error})."
        raise Unavailable(detail, code="schema_differs") from error
    except apsw.CorruptError as error:
        raise damaged(path, error) from error
    except apsw.Error as error:
        raise translate(error, f"open {path}") from error


def _opened(path: Path) -> apsw.Connection:
    """Connect to read; where no process has the file, SQLite puts none beside it."""
    in_use = all(Path(f"{path}{end}").exists() for end in ("-wal", "-shm"))
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    uri = f"{path.resolve().as_uri()}?{'mode=ro' if in_use else 'immutable=1'}"
    connection = apsw.Connection(uri, flags=flags)
    connection.set_busy_timeout(BUSY_MS)
    return connection


def _schema(connection: apsw.Connection) -> int:
    """Return the newest migration of a file; 0: it is empty."""
    empty: list[Any] = connection.execute("SELECT count(*) = 0 FROM sqlite_schema").fetchall()
    if empty[0][0]:
        return 0
    found: list[Any] = connection.execute("SELECT max(number) FROM migration").fetchall()
    return int(found[0][0] or 0)


def _sound(path: Path, connection: apsw.Connection) -> bool:
    """Tell whether there was time for all pages; raises `Unavailable` where one is damaged."""
    deadline = time.monotonic() + LOOK_S
    connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
    try:
        found: list[Any] = connection.execute("PRAGMA quick_check(1)").fetchall()
    except apsw.InterruptError:
        return False
    if found != [("ok",)]:
        raise damaged(path, found[0][0])
    return True
