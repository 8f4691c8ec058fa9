"""Which adapters the settings name; with `app`, `worker` and `cli` the only place that knows them.

An adapter's packages are imported only when it is asked for: they come with an extra.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from perdure.buses.inprocess import InProcessBus
from perdure.errors import SettingsError
from perdure.model import JSON
from perdure.ports import Bus, Queue, Store, Tracker
from perdure.queues.inprocess import InProcessQueue
from perdure.settings import Settings
from perdure.stores.sqlite import SqliteStore

PACKAGES = {
    "postgres": {"asyncpg"},
    "redis": {"redis"},
    "celery": {"celery", "kombu", "redis"},
    "databricks": {"databricks", "mlflow"},
}
"""What each extra brings."""


def store_of(settings: Settings) -> Store:
    """Return the store that `store_url` names, closed."""
    if settings.alone:
        return SqliteStore(settings.sqlite_path, settings.synchronous)
    with needing("postgres", "store_url"):
        from perdure.stores.postgres import PostgresStore  # noqa: PLC0415  # its packages are extra

    return PostgresStore(_access(settings))


def lease_store_of(settings: Settings) -> Store:
    """Return a store of one connection, for a thread that only renews leases."""
    with needing("postgres", "store_url"):
        from perdure.stores.postgres import PostgresStore  # noqa: PLC0415  # its packages are extra

    return PostgresStore(_access(settings, connections_max=1))


def bus_of(settings: Settings) -> Bus:
    """Return the bus that `bus_url` names, or what fits the store."""
    url = settings.bus_url or ("inprocess://" if settings.alone else settings.store_url)
    if url.startswith("inprocess:"):
        return InProcessBus()
    if url.startswith(("redis", "valkey")):
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
    """Return what a PostgreSQL database says of itself, changing nothing; raises `Unavailable`."""
    with needing("postgres", "store_url"):
        from perdure.stores.postgres import look_at  # noqa: PLC0415  # its packages are extra

    return await look_at(_access(settings, connections_max=1))


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
