"""The shared store: one PostgreSQL database for all processes of a deployment."""

from __future__ import annotations

from perdure.model import JSON
from perdure.stores.postgres.database import NOW, Access, Database
from perdure.stores.postgres.migrations import migrate
from perdure.stores.postgres.retention import Retention

__all__ = ["Access", "PostgresStore"]


class PostgresStore(Retention):
    """`ports.Store` on PostgreSQL 15 or newer; any number of processes may open it at once."""

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
        (row,) = await self.db.look(
            "SELECT current_setting('server_version'), current_setting('synchronous_commit'),"
            " current_setting('fsync'), current_setting('synchronous_standby_names')",
        )
        return {
            "engine": "postgresql",
            "version": row[0],
            "schema": self.schema,
            "synchronous_commit": row[1],
            "fsync": row[2],
            "synchronous_standbys": row[3],
        }
