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
    done = dict(map(tuple, await session.all("SELECT number, checksum FROM migration")))
    ours = known()
    for migration in due(ours, done):
        await session.script(migration.sql)
        await session.all(
            f"INSERT INTO migration VALUES ($1, $2, $3, {NOW})",
            migration.number,
            migration.name,
            migration.checksum,
        )
    newest: int = max([ours[-1].number, *done])
    if newest > ours[-1].number:
        log.warning("the database has schema %d, this program knows %d", newest, ours[-1].number)
    return newest


async def applied(database: Database) -> int:
    """Return the newest applied migration; 0 in a database that was never used."""
    (there,) = await database.look("SELECT to_regclass('migration') IS NOT NULL")
    if not there[0]:
        return 0
    (newest,) = await database.look("SELECT coalesce(max(number), 0) FROM migration")
    return int(newest[0])
