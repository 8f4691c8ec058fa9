"""Where a server under test keeps everything: each store in turn, empty, of one test alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests import databases, valkeys

STORES = ("sqlite", "postgres")
"""Stores under the long stories; Redis has its own in `chaos/test_redis_store.py`."""
# Short times: on a shared store, what a killed server held is free only when its lease is over.
SHARED = 'store_url = "{url}"\nlease_s = 4\nreap_s = 0.5\n'


@asynccontextmanager
async def store_settings(kind: str) -> AsyncIterator[str]:
    """Yield the lines of `perdure.toml` that choose the store; they come before all tables."""
    if kind == "sqlite":
        yield ""
        return
    servers = {"postgres": databases, "redis": valkeys}
    async with servers[kind].fresh() as url:
        yield SHARED.format(url=url)
