"""The default store: one SQLite file, one process, group commit."""

from __future__ import annotations

import time
from pathlib import Path

import apsw
import msgspec

from perdure.errors import Unavailable
from perdure.model import JSON
from perdure.stores.sqlite.credentials import Credentials
from perdure.stores.sqlite.database import Database, make_folder, translate
from perdure.stores.sqlite.log import Log
from perdure.stores.sqlite.migrations import damaged, migrate
from perdure.stores.sqlite.outbox import Outbox
from perdure.stores.sqlite.requests import Requests
from perdure.stores.sqlite.retention import Retention
from perdure.stores.sqlite.watching import Watching

__all__ = ["SqliteStore"]


class SqliteStore(Requests, Retention, Outbox, Credentials, Watching):
    """`ports.Store` on one SQLite file, which this process owns while it is open.

    Args:
        path: the file; made when missing, its folder too.
        synchronous: `full` (survives power loss) or `normal` (survives a crash of the process).

    """

    append_rest = 4.0

    def __init__(self, path: Path, synchronous: str = "full") -> None:
        self.db = Database(path, synchronous)
        self.schema = 0

    async def open(self) -> None:
        make_folder(self.db.path.parent)
        self.db.open()
        try:
            self.schema = migrate(self.db.writer)
            self.log = Log(self.db.writer, self.db.reader)
            self.log.recover()
        except apsw.SQLError as error:
            self.db.close()
            detail = f"{self.db.path} holds tables of something else ({error})."
            raise Unavailable(detail, code="schema_differs") from error
        except (apsw.CorruptError, msgspec.MsgspecError, ValueError) as error:
            self.db.close()
            raise damaged(self.db.path, error) from error
        except apsw.Error as error:
            self.db.close()
            raise translate(error, f"open {self.db.path}") from error
        except Exception:
            self.db.close()
            raise
        self.db.on_rollback = self.log.recover

    async def close(self) -> None:
        self.db.close()

    async def check(self) -> JSON:
        if self.db.damage:
            raise damaged(self.db.path, self.db.damage)
        # SQLite writes no page that stays the same, so something has to change.
        probe = int(time.time()) & 0x7FFFFFFF
        await self.db.write(lambda: self.db.all(f"PRAGMA user_version = {probe}"))
        return {
            "engine": "sqlite",
            "version": apsw.sqlite_lib_version(),
            "schema": self.schema,
            "synchronous": self.db.synchronous,
        }
