"""The fast and ephemeral store: one Redis or Valkey for all processes of a deployment.

Keys, all under the settings' `prefix`, and who removes each:

- for ever: `layout`, `admission` (one number each), `people` (a number for each person), `tally`
  (a number for each way in which requests of an agent end);
- the person's lists, emptied by what they list: `asked`, `changes`, `chats-…`, `names`,
  `webhooks`;
- the deployment's lists, likewise: `everyone`, `waiting`, `active`, `dispatched`, `running`,
  `ended`, `logs`, `ages`, `transient`, `tombstones`, `due`, `settled`, `homes`, `credentials`,
  `sessions`; `turns` loses what is a day old;
- a chat's own, removed with it: `chat` (a tombstone stays a day), `messages`, `words`, `requests`,
  `unfinished`;
- a request's own, removed with it and expiring after its end as retention says: `request`, `log`,
  `input`, `feedback`, `trace`, `unanswered`, `key` (of idempotency), which stays a day more;
  of all verdicts `untold`, those that are due;
- `credential`, removed when it is revoked or, of a session, when its time is over;
- `webhook`, removed a month after it was made and expiring a day later; `done` and `probe`, which
  live for a minute, and `frozen`, which lives for half a second;
- `workers`, which expires an hour after the last of them was heard of.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from perdure.errors import Unavailable
from perdure.model import JSON
from perdure.stores.redis.admission import workers
from perdure.stores.redis.credentials import Credentials
from perdure.stores.redis.database import Access, Database
from perdure.stores.redis.outbox import Outbox
from perdure.stores.redis.retention import Retention
from perdure.stores.redis.transitions import Keeping
from perdure.stores.redis.watching import Watching

__all__ = ["Access", "Keeping", "RedisStore", "look_at"]

LAYOUT = 1
"""Number of the arrangement of keys; a newer program may add to it."""

log = logging.getLogger("perdure.redis")


class RedisStore(Retention, Outbox, Credentials, Watching):
    """`ports.Store` on Redis 7 or newer, or Valkey; any number of processes may open it at once.

    Args:
        access: how to reach the server.
        keeping: what Redis itself lets expire, beside what `prune` removes.

    """

    append_rest = 1.0

    def __init__(self, access: Access, keeping: Keeping | None = None) -> None:
        super().__init__(Database(access), keeping or Keeping())
        self.layout = LAYOUT

    async def open(self) -> None:
        await self.db.open()
        try:
            _, found = await self.db.look(
                ("SET", self.key("layout"), str(LAYOUT), "NX"), ("GET", self.key("layout"))
            )
        except Unavailable:
            await self.db.close()
            raise
        self.layout = int(found)
        if self.layout > LAYOUT:
            log.warning("the store has layout %d, this program knows %d", self.layout, LAYOUT)

    async def close(self) -> None:
        await self.db.close()

    async def check(self) -> JSON:
        await self.db.look(("SET", self.key("probe"), "1", "EX", "60"))
        return await _facts(self.db) | {"schema": self.layout}


async def look_at(access: Access) -> JSON:
    """Return what a server says of itself, changing nothing."""
    database = Database(access)
    await database.open()
    try:
        (found,) = await database.look(("GET", database.key("layout")))
        schema = {"schema": int(found or 0), "schema_known": LAYOUT}
        return await _facts(database) | schema | {"workers": await workers(database)}
    finally:
        await database.close()


async def _facts(database: Database) -> JSON:
    """Return what decides about durability; `unknown` where the server does not tell."""
    info = await database.info()
    settings = await database.settings("appendfsync", "save")
    return {
        "engine": "valkey" if "valkey_version" in info else "redis",
        "version": str(info.get("valkey_version") or info.get("redis_version")),
        "appendonly": _word(info, "aof_enabled", {0: "no", 1: "yes"}),
        "appendfsync": settings.get("appendfsync", "unknown"),
        "save": settings.get("save", "unknown"),
        "maxmemory_policy": str(info.get("maxmemory_policy", "unknown")),
        "replicas": int(info.get("connected_slaves", 0)),
    }


def _word(info: Mapping[str, Any], name: str, told: Mapping[int, str]) -> str:
    return told.get(info.get(name, -1), "unknown")
