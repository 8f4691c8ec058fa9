"""`db upgrade` and `db prune`: on a SQLite file while no server has it, or on a shared database."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from perdure.cli.exits import ExitCode
from perdure.errors import Invalid
from perdure.model import JSON
from perdure.ports import Store
from perdure.settings import Settings, load, without_secrets

DAY_S = 86400


def upgrade(config: Path | None, data_dir: Path | None) -> int:
    """Migrate the database; a server does the same at its start."""
    settings = _settings(config, data_dir)
    state = asyncio.run(_with_store(_store(settings), _check))
    facts = ", ".join(f"{key} {value}" for key, value in state.items())
    print(f"{_shown(settings)} is at this version's schema ({facts}).")
    return ExitCode.OK


def prune(config: Path | None, data_dir: Path | None, *, dry_run: bool) -> int:
    """Remove what is past its retention and say how much; `dry_run` does it to a copy."""
    settings = _settings(config, data_dir)
    if settings.alone and not settings.sqlite_path.is_file():
        raise Invalid(f"There is no database {settings.sqlite_path}; name its folder: --data-dir")
    if dry_run:
        removed = _prune_copy(settings)
    else:
        removed = asyncio.run(_with_store(_store(settings), _pruner(settings)))
    counts = ", ".join(f"{count} {noun}" for noun, count in removed.items()) or "nothing"
    print(f"{'Would remove' if dry_run else 'Removed'}: {counts}.")
    return ExitCode.OK


def _prune_copy(settings: Settings) -> JSON:
    if not settings.alone:
        raise Invalid("--dry-run prunes a copy of a SQLite file; there is none of this database.")
    from perdure.stores.sqlite import SqliteStore  # noqa: PLC0415  # apsw, only here

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        _copy(settings.sqlite_path, copy)
        return asyncio.run(_with_store(SqliteStore(copy), _pruner(settings)))


def _store(settings: Settings) -> Store:
    from perdure import adapters  # noqa: PLC0415  # all adapters, only here

    return adapters.store_of(settings)


def _shown(settings: Settings) -> str:
    return str(settings.sqlite_path) if settings.alone else without_secrets(settings.store_url)


def _settings(config: Path | None, data_dir: Path | None) -> Settings:
    return load(config, {} if data_dir is None else {"data_dir": data_dir})


def _pruner(settings: Settings) -> Callable[[Store], Awaitable[JSON]]:
    kept = settings.retention

    async def run(store: Store) -> JSON:
        return await store.prune(
            events_s=kept.events_hours * 3600,
            requests_s=kept.requests_days * DAY_S,
            chats_s=kept.chats_days * DAY_S,
        )

    return run


async def _check(store: Store) -> JSON:
    return await store.check()


async def _with_store(store: Store, work: Callable[[Store], Awaitable[JSON]]) -> JSON:
    """Open the store, do the work, close it; a SQLite file must not be in use by a server."""
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
