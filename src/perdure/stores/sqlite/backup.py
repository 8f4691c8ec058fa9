"""Copies of a SQLite file: made while a server writes to it, judged before they count, put back.

A copy is one file, the state of one instant. It has its name only when it is whole: it is made
under another one, judged, synced and then renamed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec

from perdure.errors import Invalid, Unavailable
from perdure.model import JSON
from perdure.stores.sqlite import retention
from perdure.stores.sqlite.database import (
    BUSY_MS,
    Database,
    give,
    make_folder,
    make_private,
    translate,
)

_decode = msgspec.msgpack.Decoder(list[tuple[str, int, bytes]]).decode

FAULTS_TOLD = 5
TABLES = ("chat", "message", "request")


def back_up(source: Path, target: Path) -> JSON:
    """Copy a database that may be in use to a file that does not exist yet; return what is in it.

    Raises:
        Invalid: no such source, or the target exists.
        Unavailable: it cannot be read or written, or the copy is not sound.

    """
    if not source.is_file():
        detail = f"There is no database {source}; name its folder: --data-dir"
        raise Invalid(detail)
    if target.exists():
        detail = f"{target} exists; a backup never overwrites anything."
        raise Invalid(detail)
    partial = target.with_name(f"{target.name}.partial")
    try:
        _copy(source, partial)
        contents = judge(partial)
        sync(partial)
        partial.rename(target)
        sync(target.parent)
    except apsw.Error as error:
        raise translate(error, f"back up {source}") from error
    except OSError as error:
        detail = f"Cannot write {target}: {error.strerror}."
        raise Unavailable(detail) from error
    finally:
        partial.unlink(missing_ok=True)
    return contents


def restore(backup: Path, path: Path) -> tuple[JSON, Path | None]:
    """Put a sound copy in place of a database that no process has open.

    Returns what is in it, and where the database that was there lies now (None: there was none).

    Raises:
        Invalid: there is no such backup.
        Unavailable: it is not sound, a process has the database, or the disk refuses.

    """
    if not backup.is_file():
        detail = f"There is no backup {backup}."
        raise Invalid(detail)
    make_folder(path.parent)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with Database(path).locked():
            _copy(backup, partial)
            contents = judge(partial)
            if path.exists():
                give(partial, path)
            sync(partial)
            before = _set_aside(path)
            partial.rename(path)
            sync(path.parent)
    except apsw.Error as error:
        raise translate(error, f"read {backup}") from error
    except OSError as error:
        detail = f"Cannot put {backup} in place of {path}: {error.strerror}."
        raise Unavailable(detail) from error
    finally:
        partial.unlink(missing_ok=True)
    return contents, before


def due(path: Path, ages: Mapping[str, float]) -> JSON:
    """Count what `prune` would remove from a file that may be in use; see `retention.due`."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        connection.set_busy_timeout(BUSY_MS)
        try:
            return retention.due(
                lambda sql, before: connection.execute(sql, (before,)).fetchall(), ages
            )
        except apsw.Error as error:
            raise translate(error, f"look at {path}") from error


def judge(path: Path) -> JSON:
    """Return how many of each noun a file holds; raises `Unavailable` when it is not sound.

    Sound: SQLite finds no damage, and each log is whole: events 0, 1, 2 … to the number that its
    row names, an end where the request has one.
    """
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        found: list[Any] = connection.execute("PRAGMA integrity_check").fetchall()
        faults = [str(row[0]) for row in found if row[0] != "ok"] or list(_torn(connection))
        if faults:
            told = "; ".join(faults[:FAULTS_TOLD])
            detail = f"{path} is damaged: {told}"
            raise Unavailable(detail, code="backup_damaged")
        return {
            f"{table}s": connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
            for table in TABLES
        }


def _torn(connection: apsw.Connection) -> Iterator[str]:
    """Yield what is wrong with the logs of the requests."""
    hot: dict[str, int] = {}
    for (data,) in connection.execute("SELECT data FROM journal ORDER BY id"):
        for request_id, first, lines in _decode(data):
            hot[request_id] = max(hot.get(request_id, 0), first + lines.count(b"\n") + 1)
    logs: Any = connection.execute(
        "SELECT r.id, r.status IN ('queued', 'streaming'), r.next_sequence, count(s.first),"
        " min(s.first), max(s.last), sum(s.last - s.first + 1) FROM request r"
        " LEFT JOIN segment s ON s.request_id = r.id WHERE r.events_pruned = 0 GROUP BY r.id"
    )
    for request_id, alive, following, segments, first, last, events in logs:
        if not segments or first != 0 or last + 1 != events or last + 1 != following:
            yield f"the log of {request_id} has gaps"
        elif not alive and hot.get(request_id, 0) > following:
            yield f"the log of {request_id} goes on after its end"


def _copy(source: Path, target: Path) -> None:
    """Copy the state of one instant; writers of the source are not held up.

    One step: with several, each commit in between would begin it anew.
    """
    target.unlink(missing_ok=True)
    make_private(target)
    with (
        closing(apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READWRITE)) as reader,
        closing(apsw.Connection(str(target))) as writer,
    ):
        reader.set_busy_timeout(BUSY_MS)
        with writer.backup("main", reader, "main") as backup:
            backup.step(-1)
        # One file, with nothing beside it.
        writer.execute("PRAGMA journal_mode = DELETE").fetchall()


def _set_aside(path: Path) -> Path | None:
    """Rename a database, with what belongs to it."""
    if not path.exists():
        return None
    kept = path.with_name(f"{path.name}.replaced-{time.strftime('%Y%m%d-%H%M%S')}")
    for end in ("-wal", "-shm", ""):
        beside = Path(f"{path}{end}")
        if beside.exists():
            beside.rename(f"{kept}{end}")
    return kept


def sync(path: Path) -> None:
    """Wait until the disk has a file or a folder."""
    with _opened(path) as file:
        os.fsync(file)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)
