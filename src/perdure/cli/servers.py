"""`check` of what processes share: the database, the bus, the broker; nothing is changed there."""

from __future__ import annotations

import asyncio
from typing import Any

from perdure import adapters
from perdure.app import build_agents
from perdure.cli.finding import Finding
from perdure.errors import PerdureError, Unavailable
from perdure.handlers.databricks import DatabricksHandler
from perdure.model import JSON
from perdure.roster import NOBODY
from perdure.settings import Settings, without_secrets

ANSWER_S = 5.0
OLDEST = 6
"""A broker or a bus may be an older Redis than a store, but not one that nobody mends any more."""


async def look(settings: Settings) -> list[Finding]:
    """Return what can be told of the servers that the settings name, asked at the same time."""
    others = []
    if settings.bus_url.startswith(("redis", "valkey")):
        others.append(_redis("bus", settings.bus_url))
    if settings.has_workers:
        others.append(_broker(settings))
    store, found = await asyncio.gather(_database(settings), asyncio.gather(*others))
    return [*store, *found]


async def who_signs_in(settings: Settings) -> list[Finding]:
    """Return what the OpenID provider tells, where people log in at one."""
    if settings.auth.mode != "oidc":
        return []
    try:
        with adapters.needing("oidc", "auth.mode"):
            from perdure.cli import provider  # noqa: PLC0415  # its packages are extra
    except PerdureError as error:
        return [Finding("wrong", "logins", error.detail)]
    return await provider.look(settings)


async def endpoint(name: str, settings: Settings) -> Finding:
    """Return whether a Databricks workspace knows us, and what it says of an agent's endpoint."""
    about, only = f"agent {name}", {"agents": {name: settings.agents[name]}}
    try:
        handler = build_agents(settings.model_copy(update=only))[name].handler
        if not isinstance(handler, DatabricksHandler):
            return Finding("note", about, "a Genie space, not asked")
        try:
            found = await handler.describe()
        finally:
            await handler.close()
    except PerdureError as error:
        hint = "Check base_url, profile or DATABRICKS_HOST, and the right to view the endpoint."
        return Finding("wrong", about, error.detail, hint)
    whose = "; wants people's own tokens" if found.needs_user else ""
    return Finding("ok", about, f"{settings.agents[name].endpoint} speaks {found.kind}{whose}")


async def _database(settings: Settings) -> list[Finding]:
    """Return what a store tells of itself, and of the workers that are there."""
    hint = "Correct store_url, or start that server. A user needs the right to create tables."
    try:
        told = await adapters.look_at_database(settings)
    except PerdureError as error:
        return [Finding("wrong", "store", error.detail, hint)]
    of_the_engine = _postgres if told["engine"] == "postgresql" else _redis_store
    count = told.get("workers") if settings.has_workers else None
    return [of_the_engine(settings, told), *([] if count is None else [_workers(count)])]


def _workers(count: int) -> Finding:
    return Finding("ok" if count else "note", "workers", f"{count} there" if count else NOBODY)


def _postgres(settings: Settings, told: JSON) -> Finding:
    applied, known = told["schema"], told["schema_known"]
    detail = (
        f"PostgreSQL {told['version']} at {without_secrets(settings.store_url)}, "
        f"synchronous_commit {told['synchronous_commit']}, fsync {told['fsync']}, "
        f"standbys {told['synchronous_standbys'] or 'none'}, schema {applied} of {known}"
    )
    if told["fsync"] != "on" or told["synchronous_commit"] in ("off", "local"):
        risk = "What was shown may be lost with the server: set fsync and synchronous_commit on."
        return Finding("wrong", "store", detail, risk)
    if applied < known:
        return Finding(
            "note", "store", detail, "The next start migrates it, or: perdure db upgrade"
        )
    return Finding("ok", "store", detail)


def _redis_store(settings: Settings, told: JSON) -> Finding:
    """Say what a crash or a full memory of this server takes along."""
    kept, synced, policy = (told[key] for key in ("appendonly", "appendfsync", "maxmemory_policy"))
    detail = (
        f"{told['engine'].capitalize()} {told['version']} at {without_secrets(settings.store_url)},"
        f" appendonly {kept}, appendfsync {synced}, save {told['save'] or 'never'},"
        f" maxmemory-policy {policy}, replicas {told['replicas']}"
    )
    if policy not in ("noeviction", "unknown"):
        risk = "Set maxmemory-policy noeviction: chats would vanish when the memory is full."
        return Finding("wrong", "store", detail, risk)
    if kept == "no":
        risk = "A crash of the server takes back what people were shown: set appendonly yes."
        return Finding("wrong", "store", detail, risk)
    if synced in ("everysec", "no"):
        seconds = "the last second" if synced == "everysec" else "the last half minute"
        risk = f"Power loss takes {seconds} along; with appendfsync always it takes nothing."
        return Finding("note", "store", detail, risk)
    return Finding("ok", "store", detail)


async def _broker(settings: Settings) -> Finding:
    try:
        with adapters.needing("celery", "queue_url"):
            import celery  # noqa: PLC0415  # comes with an extra
    except PerdureError as error:
        return Finding("wrong", "queue", error.detail)
    if settings.broker_url.startswith("redis"):
        return await _redis("queue", settings.broker_url)
    return Finding("note", "queue", f"Celery {celery.__version__}, broker not asked")


async def _redis(about: str, url: str) -> Finding:
    try:
        version, policy = await _ask_redis(url)
    except PerdureError as error:
        return Finding("wrong", about, error.detail)
    detail = f"{version} at {without_secrets(url)}, maxmemory-policy {policy}"
    if policy not in ("noeviction", "unknown"):
        return Finding(
            "wrong", about, detail, "Set maxmemory-policy noeviction: keys would vanish."
        )
    return Finding("ok", about, detail)


async def _ask_redis(url: str) -> tuple[str, str]:
    with adapters.needing("redis", "bus_url"):
        from redis import asyncio as redis  # noqa: PLC0415  # comes with an extra
        from redis.exceptions import AuthenticationError, RedisError  # noqa: PLC0415
    plain = url.replace("valkey", "redis", 1) if url.startswith("valkey") else url
    client: Any = redis.Redis.from_url(
        plain, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S
    )
    try:
        info = await client.info()
        if int(str(info.get("redis_version", "0")).partition(".")[0]) < OLDEST:
            detail = f"is Redis {info['redis_version']}, too old: {OLDEST} or newer is needed."
            raise Unavailable(f"{without_secrets(url)} {detail}", code="server_too_old")
        name = "Valkey" if "valkey_version" in info else "Redis"
        version = info.get("valkey_version") or info.get("redis_version")
        return f"{name} {version}", str(info.get("maxmemory_policy", "unknown"))
    except AuthenticationError as error:
        raise Unavailable(
            f"{without_secrets(url)} refuses the user or the password: {error}"
        ) from error
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"{without_secrets(url)} does not answer: {error}") from error
    finally:
        await client.aclose()
