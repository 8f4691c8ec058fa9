"""`db upgrade` and `db prune`: work on the database file while no server has it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.exits import ExitCode
from perdure.errors import Invalid
from perdure.model import JSON
from perdure.settings import Settings, load

if TYPE_CHECKING:
    from perdure.stores.sqlite import SqliteStore

DAY_S = 86400


def upgrade(config: Path | None, data_dir: Path | None) -> int:
    """Migrate the file; a server does the same at its start."""
    settings = _settings(config, data_dir)
    settings.sqlite_path.parent.mkdir(parents=True, exist_ok=True)
    state = asyncio.run(_with_store(settings.sqlite_path, _check))
    facts = ", ".join(f"{key} {value}" for key, value in state.items())
    print(f"{settings.sqlite_path} is at this version's schema ({facts}).")
    return ExitCode.OK


def prune(config: Path | None, data_dir: Path | None, *, dry_run: bool) -> int:
    """Remove what is past its retention and say how much; `dry_run` does it to a copy."""
    settings = _settings(config, data_dir)
    if not settings.sqlite_path.is_file():
        raise Invalid(f"There is no database {settings.sqlite_path}; name its folder: --data-dir")
    if dry_run:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy.db"
            _copy(settings.sqlite_path, copy)
            removed = asyncio.run(_with_store(copy, _pruner(settings)))
    else:
        removed = asyncio.run(_with_store(settings.sqlite_path, _pruner(settings)))
    counts = ", ".join(f"{count} {noun}" for noun, count in removed.items()) or "nothing"
    print(f"{'Would remove' if dry_run else 'Removed'}: {counts}.")
    return ExitCode.OK


def _settings(config: Path | None, data_dir: Path | None) -> Settings:
    return load(config, {} if data_dir is None else {"data_dir": data_dir})


def _pruner(settings: Settings) -> Callable[[SqliteStore], Awaitable[JSON]]:
    kept = settings.retention

    async def run(store: SqliteStore) -> JSON:
        return await store.prune(
            events_s=kept.events_hours * 3600,
            requests_s=kept.requests_days * DAY_S,
            chats_s=kept.chats_days * DAY_S,
        )

    return run


async def _check(store: SqliteStore) -> JSON:
    return await store.check()


async def _with_store(path: Path, work: Callable[[SqliteStore], Awaitable[JSON]]) -> JSON:
    """Open the file under its lock, do the work, close it.

    Raises `Unavailable` when a server has the file.
    """
    from perdure.stores.sqlite import SqliteStore  # noqa: PLC0415  # apsw, only here

    store = SqliteStore(path)
    await store.open()
    try:
        return await work(store)
    finally:
        await store.close()


def _copy(source: Path, target: Path) -> None:
    """Copy a database that may be in use, consistently, by SQLite's own backup."""
    import apsw  # noqa: PLC0415

    reader = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READWRITE)
    writer = apsw.Connection(str(target))
    with writer.backup("main", reader, "main") as backup:
        backup.step(-1)
    writer.close()
    reader.close()
