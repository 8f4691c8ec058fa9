"""The shared store: one PostgreSQL database for all processes of a deployment."""

from __future__ import annotations

from perdure.model import JSON
from perdure.stores.postgres.admission import WORKERS
from perdure.stores.postgres.credentials import Credentials
from perdure.stores.postgres.database import NOW, Access, Database
from perdure.stores.postgres.migrations import applied, known, migrate
from perdure.stores.postgres.outbox import Outbox
from perdure.stores.postgres.retention import Retention
from perdure.stores.postgres.watching import Watching

__all__ = ["Access", "PostgresStore", "look_at"]


class PostgresStore(Retention, Outbox, Credentials, Watching):
    """`ports.Store` on PostgreSQL 15 or newer; any number of processes may open it at once."""

    append_rest = 1.0

    def __init__(self, access: Access) -> None:
        super().__init__(Database(access))
        self.schema = 0

    async def open(self) -> None:
        await self.db.open()
        try:
            self.schema = await migrate(self.db)
        except Exception:
            await self.db.close()
            raise

    async def close(self) -> None:
        await self.db.close()

    async def check(self) -> JSON:
        await self.db.look(
            f"INSERT INTO probe (id, at) VALUES (1, {NOW}) ON CONFLICT (id)"
            " DO UPDATE SET at = excluded.at",
        )
        return await _facts(self.db) | {"schema": self.schema}


async def look_at(access: Access) -> JSON:
    """Return what a database says of itself and how far its schema is, changing nothing."""
    database = Database(access)
    await database.open()
    try:
        schema, newest = await applied(database), known()[-1].number
        told = await _facts(database) | {"schema": schema, "schema_known": newest}
        if schema == newest:
            ((told["workers"],),) = await database.look(WORKERS)
        return told
    finally:
        await database.close()


async def _facts(database: Database) -> JSON:
    (row,) = await database.look(
        "SELECT current_setting('server_version'), current_setting('synchronous_commit'),"
        " current_setting('fsync'), current_setting('synchronous_standby_names')",
    )
    names = ("version", "synchronous_commit", "fsync", "synchronous_standbys")
    return {"engine": "postgresql"} | dict(zip(names, row, strict=True))
