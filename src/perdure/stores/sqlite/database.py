"""One SQLite file: its lock, its connections, and group commit of everything that is written.

One process owns the file (a lock beside it says so), one connection writes. The first write of a
turn of the event loop is committed at once, what else comes in that turn is committed together, in
that loop's thread: with the disk's sync the dearest part of a commit, sharing it is cheaper than
handing it to a thread (docs/adr/0002).
Checkpoints run in a thread of their own on a second connection, off the path of the answers.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import pwd
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import apsw

from perdure.errors import PerdureError, Unavailable
from perdure.outage import Outage
from perdure.stores.sqlite.migrations import damaged

T = TypeVar("T")
Work = Callable[[], T]

log = logging.getLogger("perdure.sqlite")

CHECKPOINT_EVERY_S = 1.0
PAGE_BYTES = 4096
WAL_BYTES_MAX = 64 * 1024 * 1024
"""Size from which the writer itself finishes a checkpoint, so that the log file restarts: in a calm
moment, and from twice that size on in any. All answers stand still meanwhile, so it is rare."""
CALM_FRAMES = 64
"""Pages written while others are copied: after a burst the disk is busy, and the few that are left
take 30 to 50 ms in place of 1 to 3."""
BUSY_MS = 250
"""How long a statement waits for a foreign lock: the event loop waits with it."""
FAILED_SYNC = (apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC)
OLDEST_SQLITE = 3_051_003
"""Older libraries can corrupt a file when a second connection checkpoints (WAL-reset bug)."""


class Database:
    """The writer, a reader for the loop's thread, and the commit that all writers share.

    Args:
        path: the file; its folder must exist and be on a local disk.
        synchronous: `full` (a commit survives power loss) or `normal` (it survives a crash).

    """

    def __init__(self, path: Path, synchronous: str = "full") -> None:
        self.path = path
        self.synchronous = synchronous
        self.on_rollback: Callable[[], None] = lambda: None
        self.on_fatal: Callable[[BaseException], None] = _exit
        self._pending: list[tuple[Work[Any], asyncio.Future[Any]]] = []
        self._scheduled = False
        self._lock_file: int | None = None
        self._stop = threading.Event()
        self._steady_since = time.time() - time.monotonic()
        self.damage = ""
        self._copying = Outage(log, "copying the log into the file")

    def open(self) -> None:
        """Take the lock and connect; raises `Unavailable` when another process has the file."""
        if apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE:
            detail = f"SQLite {apsw.sqlite_lib_version()} is too old: 3.51.3 or newer is needed."
            raise Unavailable(detail)
        refuse_foreign(self.path)
        self._lock()
        try:
            make_private(self.path)
            self.writer = self._connect()
            self.reader = self._connect(read_only=True)
            copier = self._connect()
        except (apsw.Error, OSError) as error:
            self._unlock()
            raise translate(error, f"open {self.path}") from error
        self._stop.clear()
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._checkpoints, args=[copier, loop], daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Commit what waits, checkpoint, disconnect and let go of the lock."""
        if self._lock_file is None:
            return
        self.flush()
        self._stop.set()
        self._thread.join()
        self.reader.close()
        try:
            self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except apsw.Error as error:  # the disk is full: the next start finds all in the log
            log.warning("could not checkpoint before leaving: %s", error)
        self.writer.close()
        self._unlock()

    def steady_time(self) -> float:
        """Return unix seconds that never leap: for leases, of which this process alone knows.

        By the machine's own clock a correction, or a laptop that wakes, would end them all at once.
        """
        return self._steady_since + time.monotonic()

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction, at once or shared; return its result once it is committed.

        `work` runs alone in a savepoint: what it raises undoes only its own changes, also those of
        memory. It must refuse (raise a `PerdureError`) before it changes memory.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._pending.append((work, future))
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._end_turn)
            self.flush()
        return await future

    def write_now(self, work: Work[T]) -> T:
        """Run `work` and all that waits in a transaction at once; return when it is committed."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._pending.append((work, future))
        self.flush()
        return future.result()

    def all(self, sql: str, *values: apsw.SQLiteValue) -> list[Any]:
        """Run a statement inside a write transaction and return its rows."""
        return self.writer.execute(sql, values).fetchall()

    def one(self, sql: str, *values: apsw.SQLiteValue) -> Any:
        """Return the first row of `all`, or None."""
        found = self.writer.execute(sql, values).fetchall()
        return found[0] if found else None

    def look(self, sql: str, *values: apsw.SQLiteValue) -> list[Any]:
        """Return rows as committed. Read to the end: an open cursor would pin an old state."""
        try:
            return self.reader.execute(sql, values).fetchall()
        except apsw.Error as error:
            raise self.translated(error, "read") from error

    def flush(self) -> None:
        """Commit all pending work in one transaction and tell each submitter the outcome."""
        batch, self._pending = self._pending, []
        if not batch:
            return
        try:
            self.writer.execute("BEGIN IMMEDIATE")
            attempt = self._attempt if len(batch) > 1 else self._attempt_alone
            outcomes = [attempt(work) for work, _ in batch]
            self.writer.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - every submitter is told, nothing is swallowed
            self._give_up(batch, error)
            return
        for (_, future), (result, problem) in zip(batch, outcomes, strict=True):
            if future.cancelled():
                continue
            if problem is None:
                future.set_result(result)
            else:
                future.set_exception(problem)

    def _end_turn(self) -> None:
        """Commit what came after the first write of a turn, together."""
        self._scheduled = False
        self.flush()

    def _attempt_alone(self, work: Work[Any]) -> tuple[Any, Exception | None]:
        """Run the only piece of work of a transaction: when it fails, all of it is undone."""
        try:
            return work(), None
        except PerdureError as error:
            self.writer.execute("ROLLBACK")
            self.writer.execute("BEGIN")
            return None, error

    def _attempt(self, work: Work[Any]) -> tuple[Any, Exception | None]:
        """Run one piece of work in a savepoint; a failed statement of the disk fails the batch."""
        self.writer.execute("SAVEPOINT work")
        try:
            result = work()
        except (apsw.FullError, apsw.IOError, apsw.CorruptError, apsw.NotADBError):
            raise
        except Exception as error:  # noqa: BLE001 - handed to the submitter
            self.writer.execute("ROLLBACK TO work")
            self.writer.execute("RELEASE work")
            if not isinstance(error, PerdureError):
                # It broke midway: what it did to memory must go as well. A refusal comes first.
                self.on_rollback()
            return None, translate(error, "write")
        self.writer.execute("RELEASE work")
        return result, None

    def _give_up(
        self, batch: list[tuple[Work[Any], asyncio.Future[Any]]], error: Exception
    ) -> None:
        """Undo the transaction. After a failed sync nothing may be acknowledged any more: stop."""
        if (
            isinstance(error, apsw.IOError)
            and getattr(error, "extendedresult", None) in FAILED_SYNC
        ):
            self.on_fatal(error)
        try:
            if self.writer.in_transaction:
                self.writer.execute("ROLLBACK")
            self.on_rollback()
        except apsw.Error as lost:
            # Memory can no longer be told from the file: going on could use a number twice.
            self.on_fatal(lost)
        for _, future in batch:
            if not future.done():
                future.set_exception(self.translated(error, "commit"))

    def translated(self, error: Exception, operation: str) -> Exception:
        """Do as `translate`, and keep in mind that the file is damaged: that does not pass."""
        if not isinstance(error, apsw.CorruptError | apsw.NotADBError):
            return translate(error, operation)
        found = damaged(self.path, self.damage or error)
        if not self.damage:
            self.damage = str(error)
            log.critical("%s", found)
        return found

    def _connect(self, *, read_only: bool = False) -> apsw.Connection:
        connection = apsw.Connection(str(self.path))
        connection.set_busy_timeout(BUSY_MS)
        for pragma in (
            "journal_mode = WAL",
            f"synchronous = {self.synchronous}",
            "wal_autocheckpoint = 0",
            "temp_store = MEMORY",
            "cache_size = -4096",
            f"query_only = {int(read_only)}",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return connection

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every process from opening the file; raises `Unavailable` when one has it."""
        self._lock()
        try:
            yield
        finally:
            self._unlock()

    def _lock(self) -> None:
        path = f"{self.path}.lock"
        try:
            self._lock_file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            give(self._lock_file, self.path.parent)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if self._lock_file is None:
                detail = f"Cannot create {path}: {error.strerror}. Choose another --data-dir."
                raise Unavailable(detail, code="data_dir_unusable") from None
            self._unlock()
            detail = f"Another process is using {self.path}: stop it, or choose another --data-dir."
            raise Unavailable(detail, code="database_locked") from None

    def _unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _checkpoints(self, connection: apsw.Connection, loop: asyncio.AbstractEventLoop) -> None:
        """Copy committed pages into the file each second, in a thread of its own."""
        while not self._stop.wait(CHECKPOINT_EVERY_S):
            try:
                _, before, _ = _checkpoint(connection)
                self._copying.worked()
                if before * PAGE_BYTES > WAL_BYTES_MAX:
                    _, frames, _ = _checkpoint(connection)  # the writer finds hardly any then
                    if restart_due(frames, frames - before):
                        loop.call_soon_threadsafe(self._restart_wal)
            except apsw.Error as error:
                self._copying.failed(error)
            except RuntimeError:
                return  # the loop is closed
        connection.close()

    def _restart_wal(self) -> None:
        """Copy the last pages, so that the next commit begins at the log's start again.

        Only the writer can: while others copy, it writes on, and the log would grow for ever.
        """
        if self._lock_file is None:
            return
        try:
            _checkpoint(self.writer)
        except apsw.Error as error:
            self._copying.failed(error)


def _checkpoint(connection: apsw.Connection) -> tuple[int, int, int]:
    """Copy what can be copied without waiting; return `(busy, frames in the log, copied)`."""
    found: Any = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    busy, frames, copied = found[0]
    return busy, frames, copied


def restart_due(frames: int, meanwhile: int) -> bool:
    """Tell whether the log is to restart now.

    Args:
        frames: pages in the log.
        meanwhile: how many of them came while the others were copied.

    """
    size = frames * PAGE_BYTES
    return size > 2 * WAL_BYTES_MAX or (size > WAL_BYTES_MAX and meanwhile < CALM_FRAMES)


def make_folder(folder: Path) -> None:
    """Make the folder of a database; raises `Unavailable` with what is in the way."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        detail = f"Cannot use the folder {folder}: {error.strerror}. Choose another --data-dir."
        raise Unavailable(detail, code="data_dir_unusable") from None


def make_private(path: Path) -> None:
    """Make a file that nobody else on the machine may read, unless it is there.

    SQLite gives the same rights to what it puts beside it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        give(path, path.parent)


def give(file: Path | int, like: Path) -> None:
    """Where root works here, let a file belong to whoever has `like`: a server may not be root."""
    if os.geteuid() == 0:
        owner = like.stat()
        with suppress(PermissionError):  # root of a container may not be allowed to
            os.chown(file, owner.st_uid, owner.st_gid)


def refuse_foreign(path: Path) -> None:
    """Raise `Unavailable`, with the owner, when a database or what lies beside it is foreign."""
    for end in ("", ".lock", "-wal", "-shm"):
        file = Path(f"{path}{end}")
        if file.exists() and not os.access(file, os.R_OK | os.W_OK):
            owner, own = _name(file.stat().st_uid), _name(os.geteuid())
            detail = f"Cannot open {file}: it belongs to {owner}: chown it to {own}."
            raise Unavailable(detail, code="data_dir_unusable")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def translate(error: Exception, operation: str) -> Exception:
    """Turn SQLite's errors into ours; ours and bugs pass unchanged."""
    if isinstance(error, OSError):
        return Unavailable(f"Could not {operation}: {error.strerror}.", code="store_unavailable")
    if isinstance(error, PerdureError) or not isinstance(error, apsw.Error):
        return error
    if isinstance(error, apsw.FullError):
        return Unavailable(f"The disk is full (SQLite: {operation}).", code="disk_full")
    why = "it is no SQLite database" if isinstance(error, apsw.NotADBError) else error
    return Unavailable(f"SQLite could not {operation}: {why}", code="store_unavailable")


def _exit(error: BaseException) -> None:
    """End the process: a second try after a failed sync can falsely succeed."""
    log.critical("the disk failed to take a commit, stopping: %s", error)
    logging.shutdown()
    os._exit(70)
