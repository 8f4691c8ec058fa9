"""Which adapters the settings name; with `app`, `worker` and `cli` the only place that knows them.

An adapter's packages are imported only when it is asked for: they come with an extra.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

from limits.aio.storage import RedisStorage

from perdure.buses.inprocess import InProcessBus
from perdure.errors import SettingsError
from perdure.logins import Provider
from perdure.model import JSON
from perdure.ports import Bus, Queue, Store, Tracker
from perdure.queues.inprocess import InProcessQueue
from perdure.rates import Rates
from perdure.settings import SQLITE, Settings, without_secrets
from perdure.stores.copying import Side, Target
from perdure.stores.sqlite import SqliteStore
from perdure.stores.sqlite import copying as sqlite_copying
from perdure.traces import Traces

REDIS = ("redis://", "rediss://", "valkey://")
DAY_S = 86_400
log = logging.getLogger("perdure.traces")

TRACE_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PACKAGES = {
    "postgres": {"asyncpg"},
    "redis": {"redis"},
    "celery": {"celery", "kombu", "redis"},
    "oidc": {"authlib", "httpx2", "joserfc"},
    "databricks": {"databricks", "mlflow"},
}
"""What each extra brings."""


def store_of(settings: Settings) -> Store:
    """Return the store that `store_url` names, closed."""
    if settings.alone:
        return SqliteStore(settings.sqlite_path, settings.synchronous)
    return _shared_store(settings, None)


def lease_store_of(settings: Settings) -> Store:
    """Return a store of one connection, for a thread that only renews leases."""
    return _shared_store(settings, connections_max=1)


def _shared_store(settings: Settings, connections_max: int | None) -> Store:
    if settings.store_url.startswith(REDIS):
        with needing("redis", "store_url"):
            from perdure.stores.redis import Keeping, RedisStore  # noqa: PLC0415  # an extra

        kept = settings.retention
        keeping = Keeping(events_s=kept.events_hours * 3600, requests_s=kept.requests_days * DAY_S)
        return RedisStore(_redis_access(settings, connections_max), keeping)
    with needing("postgres", "store_url"):
        from perdure.stores.postgres import PostgresStore  # noqa: PLC0415  # its packages are extra

    return PostgresStore(_access(settings, connections_max=connections_max))


def bus_of(settings: Settings) -> Bus:
    """Return the bus that `bus_url` names, or what fits the store."""
    url = settings.bus_url or ("inprocess://" if settings.alone else settings.store_url)
    if url.startswith("inprocess:"):
        return InProcessBus()
    if url.startswith(REDIS):
        with needing("redis", "bus_url"):
            from perdure.buses.redis import RedisBus  # noqa: PLC0415  # its packages are extra

        return RedisBus(url, settings.prefix)
    with needing("postgres", "bus_url"):
        from perdure.buses.postgres import PostgresBus  # noqa: PLC0415  # its packages are extra
    own = url if settings.bus_url else None
    return PostgresBus(_access(settings, url=own).options())


def queue_of(settings: Settings) -> Queue:
    """Return the queue that `queue_url` names."""
    if not settings.has_workers:
        return InProcessQueue()
    with needing("celery", "queue_url"):
        from perdure.queues.celery import CeleryQueue  # noqa: PLC0415  # its packages are extra

    return CeleryQueue(settings.broker_url, settings.prefix)


def provider_of(settings: Settings) -> Provider | None:
    """Return who signs people in, None where nobody is needed for that."""
    if settings.auth.mode != "oidc":
        return None
    with needing("oidc", "auth.mode"):
        from perdure.openid import OpenIdProvider  # noqa: PLC0415  # its packages are extra

    return OpenIdProvider(settings.auth.oidc)


def rates_of(settings: Settings) -> Rates | None:
    """Return what counts how often people call; None in mode `none`, which knows no people."""
    if settings.auth.mode == "none":
        return None
    url = settings.limits.rates_url or settings.bus_url
    if not url.startswith(("redis", "valkey")):
        return Rates(settings.limits)
    with needing("redis", "limits.rates_url"):
        storage = RedisStorage(
            f"async+{url.replace('valkey', 'redis', 1)}",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix=f"{settings.prefix}:rates",
        )
    return Rates(settings.limits, storage)


def tracker_of(settings: Settings) -> Tracker | None:
    """Return where the agents' traces are, or None."""
    if not settings.mlflow.tracking_uri:
        return None
    with needing("databricks", "mlflow.tracking_uri"):
        if importlib.util.find_spec("mlflow") is None:
            raise ModuleNotFoundError(name="mlflow")
    from perdure.trackers.mlflow import MlflowTracker  # noqa: PLC0415  # few deployments need it

    return MlflowTracker(settings.mlflow.tracking_uri, settings.mlflow.timeout_s)


async def look_at_database(settings: Settings) -> JSON:
    """Return what a shared store says of itself, changing nothing; raises `Unavailable`."""
    if settings.store_url.startswith(REDIS):
        with needing("redis", "store_url"):
            from perdure.stores import redis  # noqa: PLC0415  # its packages are extra

        return await redis.look_at(_redis_access(settings, connections_max=1))
    with needing("postgres", "store_url"):
        from perdure.stores.postgres import look_at  # noqa: PLC0415  # its packages are extra

    return await look_at(_access(settings, connections_max=1))


def copy_source(settings: Settings, url: str) -> AbstractAsyncContextManager[Side]:
    """Return the side of a copy that is read; raises `SettingsError` for an unknown URL."""
    if url.startswith(SQLITE):
        return sqlite_copying.source(settings.data_dir / url.removeprefix(SQLITE))
    copying, access = _copying(settings, url)
    side: AbstractAsyncContextManager[Side] = copying.source(access)
    return side


def copy_target(settings: Settings, url: str) -> AbstractAsyncContextManager[Target]:
    """Return the side of a copy that is filled; raises `SettingsError` for an unknown URL."""
    if url.startswith(SQLITE):
        return sqlite_copying.target(settings.data_dir / url.removeprefix(SQLITE))
    copying, access = _copying(settings, url)
    side: AbstractAsyncContextManager[Target] = copying.target(access)
    return side


def _copying(settings: Settings, url: str) -> tuple[Any, Any]:
    if url.startswith(REDIS):
        detail = f"{without_secrets(url)}: chats in Redis are not copied to or from another store."
        raise SettingsError(detail)
    if not url.startswith(("postgresql://", "postgres://")):
        detail = f"{without_secrets(url)} is no store to copy: use sqlite:///… or postgresql://…"
        raise SettingsError(detail)
    with needing("postgres", url.partition(":")[0]):
        from perdure.stores.postgres import copying  # noqa: PLC0415  # its packages are extra

    own = None if url == settings.store_url else url
    return copying, _access(settings, url=own, connections_max=1)


def traces_of_environment() -> Traces:
    """Return what the standard variables ask for; nothing is imported unless they do."""
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower()
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or exporter != "otlp" or not any(map(os.environ.get, TRACE_ENDPOINTS)):
        return Traces()
    try:
        from perdure.spans import Spans  # noqa: PLC0415  # its packages are extra
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        # The variables are often set for everything on a machine: no reason not to start.
        log.warning("no traces: they need the otel extra: pip install 'perdure[otel]'")
        return Traces()
    return Spans()


@contextmanager
def needing(name: str, setting: str) -> Iterator[None]:
    """Turn the lack of an extra's packages into a sentence with the command that brings them."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in PACKAGES[name]:
            raise
        detail = f"{setting} needs the {name} extra: pip install 'perdure[{name}]'"
        raise SettingsError(detail, code="extra_missing") from None


def _redis_access(settings: Settings, connections_max: int | None) -> Any:
    from perdure.stores.redis import Access  # noqa: PLC0415  # its packages are extra

    size = connections_max or settings.database.connections_max
    return Access(url=settings.store_url, prefix=settings.prefix, connections_max=size)


def _access(settings: Settings, url: str | None = None, connections_max: int | None = None) -> Any:
    from perdure.stores.postgres import Access  # noqa: PLC0415  # its packages are extra

    wanted = settings.database
    return Access(
        url=url or settings.store_url,
        password=_password(wanted.password_from) if wanted.password_from and not url else None,
        connections_max=connections_max or wanted.connections_max,
        prepared=wanted.prepared_statements,
    )


def _password(place: str) -> Any:
    """Return the function `module:function` that gives a fresh password; raises `SettingsError`."""
    module, _, name = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        detail = f"database.password_from: cannot load {place}: {error}."
        raise SettingsError(detail) from None
    if not callable(found):
        detail = f"database.password_from: {place} is not a function."
        raise SettingsError(detail)
    return found
