"""The schema of a PostgreSQL database, brought up to date by one process at a time."""

from __future__ import annotations

import logging

from perdure.stores.migrations import Migration, due, numbered
from perdure.stores.postgres.database import NOW, Database, Session

log = logging.getLogger("perdure.postgres")

LOCK = "hashtext('perdure.migrations')"


def known() -> list[Migration]:
    """Return this adapter's migrations, in order."""
    return numbered("perdure.stores.postgres")


async def migrate(database: Database) -> int:
    """Bring the database up to date and return its version.

    A newer database is fine: migrations only add, so that old and new processes can work on it
    while they are exchanged one by one. Raises `Unavailable` when an applied one was changed.
    """
    return await database.write(_migrate)


async def _migrate(session: Session) -> int:
    await session.one(f"SELECT pg_advisory_xact_lock({LOCK})")
    await session.all(
        "CREATE TABLE IF NOT EXISTS migration (number integer PRIMARY KEY, name text NOT NULL,"
        " checksum text NOT NULL, applied_at double precision NOT NULL)",
    )
    applied = dict(map(tuple, await session.all("SELECT number, checksum FROM migration")))
    ours = known()
    for migration in due(ours, applied):
        await session.script(migration.sql)
        await session.all(
            f"INSERT INTO migration VALUES ($1, $2, $3, {NOW})",
            migration.number,
            migration.name,
            migration.checksum,
        )
    newest: int = max(ours[-1].number, *applied, 0)
    if newest > ours[-1].number:
        log.warning("the database has schema %d, this program knows %d", newest, ours[-1].number)
    return newest
