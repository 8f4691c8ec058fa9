"""`db …`: upgrade, prune, back up, restore and copy databases."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
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
    """Remove all that is past its retention and say how much; `dry_run` only counts."""
    settings = _settings(config, data_dir)
    must_exist(settings)
    if dry_run:
        removed = _due(settings)
    else:
        removed = asyncio.run(_with_store(_store(settings), _pruner(settings)))
    print(f"{'Would remove' if dry_run else 'Removed'}: {_counted(removed) or 'nothing'}.")
    return ExitCode.OK


def backup(config: Path | None, data_dir: Path | None, target: Path) -> int:
    """Copy a SQLite file, also while a server has it, and prove that the copy is sound."""
    from perdure.stores.sqlite.backup import back_up  # noqa: PLC0415  # apsw, only here

    settings = _of_a_file(config, data_dir, "pg_dump")
    contents = back_up(settings.sqlite_path, target)
    size = target.stat().st_size / 1e6
    print(f"{target} holds {_counted(contents)}; {size:.1f} MB, checked.")
    return ExitCode.OK


def restore(config: Path | None, data_dir: Path | None, source: Path) -> int:
    """Put a backup in place of the database; what was there is kept beside it."""
    from perdure.stores.sqlite.backup import restore as put_back  # noqa: PLC0415  # apsw, only here

    settings = _of_a_file(config, data_dir, "pg_restore")
    contents, before = put_back(source, settings.sqlite_path)
    print(f"{settings.sqlite_path} holds {_counted(contents)}; checked.")
    if before is not None:
        print(f"What was there lies in {before}; remove it when you do not need it.")
    return ExitCode.OK


def copy(config: Path | None, data_dir: Path | None, source: str, target: str) -> int:
    """Carry everything from one database to an empty one, with every id and event."""
    from perdure import adapters  # noqa: PLC0415  # all adapters, only here
    from perdure.stores import copying  # noqa: PLC0415  # as above

    settings = _settings(config, data_dir)

    async def run() -> JSON:
        async with (
            adapters.copy_source(settings, source) as given,
            adapters.copy_target(settings, target) as taking,
        ):
            return await copying.carry(given, taking, _tell)

    copied = asyncio.run(run())
    print(f"Copied: {_counted(copied)}. Set store_url = {without_secrets(target)!r} and start.")
    return ExitCode.OK


def _tell(what: str) -> None:
    print(f"perdure: {what}", file=sys.stderr)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {noun}" for noun, count in counts.items())


def _of_a_file(config: Path | None, data_dir: Path | None, instead: str) -> Settings:
    settings = _settings(config, data_dir)
    if not settings.alone:
        of_postgres = settings.store_url.startswith("postgres")
        own = f"PostgreSQL's own {instead}" if of_postgres else "the server's own files"
        detail = f"{_shown(settings)} is no SQLite file: use {own}."
        raise Invalid(detail)
    return settings


def _due(settings: Settings) -> JSON:
    """Count what is due; in a SQLite file that may be in use by a server."""
    if not settings.alone:
        return asyncio.run(_with_store(_store(settings), _counter(settings)))
    from perdure.stores.sqlite.backup import due  # noqa: PLC0415  # apsw, only here

    return due(settings.sqlite_path, _ages(settings))


def _store(settings: Settings) -> Store:
    from perdure import adapters  # noqa: PLC0415  # all adapters, only here

    return adapters.store_of(settings)


def _shown(settings: Settings) -> str:
    return str(settings.sqlite_path) if settings.alone else without_secrets(settings.store_url)


def must_exist(settings: Settings) -> None:
    """Refuse a SQLite file that is not there, which opening would make."""
    if settings.alone and not settings.sqlite_path.is_file():
        raise Invalid(f"There is no database {settings.sqlite_path}; name its folder: --data-dir")


def _settings(config: Path | None, data_dir: Path | None) -> Settings:
    return load(config, {} if data_dir is None else {"data_dir": data_dir})


def _pruner(settings: Settings) -> Callable[[Store], Awaitable[JSON]]:
    """Return what prunes until nothing is left to do; a store does it in small steps."""

    async def run(store: Store) -> JSON:
        removed: dict[str, int] = {}
        while True:
            step = await _prune(store, settings)
            removed = {noun: removed.get(noun, 0) + count for noun, count in step.items()}
            if not any(step.values()):
                return removed

    return run


def _counter(settings: Settings) -> Callable[[Store], Awaitable[JSON]]:
    async def run(store: Store) -> JSON:
        return await _prune(store, settings, dry_run=True)

    return run


async def _prune(store: Store, settings: Settings, *, dry_run: bool = False) -> JSON:
    ages = _ages(settings)
    return await store.prune(
        events_s=ages["events"],
        requests_s=ages["requests"],
        chats_s=ages["chats"],
        dry_run=dry_run,
    )


def _ages(settings: Settings) -> dict[str, float]:
    """Return the seconds after which things go, by noun."""
    kept = settings.retention
    return {
        "events": kept.events_hours * 3600,
        "requests": kept.requests_days * DAY_S,
        "chats": kept.chats_days * DAY_S,
    }


async def _check(store: Store) -> JSON:
    return await store.check()


async def _with_store(store: Store, work: Callable[[Store], Awaitable[JSON]]) -> JSON:
    """Open the store, do the work, close it; a SQLite file must not be in use by a server."""
    await store.open()
    try:
        return await work(store)
    finally:
        await store.close()
