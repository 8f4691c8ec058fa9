"""One PostgreSQL database: its connections, its transactions, and its errors as ours.

Connections are made anew after a loss; a transaction that was lost before its commit, or that met
a deadlock, is run again a few times. What a lost commit did is for the caller to find out: each
piece of work is guarded, so that running it twice changes nothing twice.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from enum import IntEnum
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg
import msgspec

from perdure.errors import PerdureError, Unavailable
from perdure.wire import clean

# It connects again by itself, and writes a traceback for each try; what an outage does we tell.
logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)

T = TypeVar("T")
Password = Callable[[], str | Awaitable[str]]
"""Called for each new connection, so that a short-lived token may stand in for a password."""

OLDEST = 150_000
CONNECT_S = 5.0
COMMAND_S = 10.0
IDLE_IN_TRANSACTION_S = 10
"""A process that is stopped in a transaction must not keep its locks from the others for ever."""
PAUSES_S = (0.05, 0.2, 0.6)
STARTING_S = 10.0
NOW = "extract(epoch FROM clock_timestamp())::double precision"

LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that was cut off in mid-sentence
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
)
AGAIN = (*LOST, asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
FOREIGN = (*LOST, asyncpg.PostgresError, TimeoutError)


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a database.

    Args:
        url: `postgresql://…`, as libpq writes it (`sslmode`, `sslrootcert` … in the query).
        password: asked for each new connection; None = what the URL says.
        connections_max: connections beside the two each that are kept for answers and readers.
        prepared: keep prepared statements; not through a pooler in transaction mode.

    """

    url: str
    password: Password | None = None
    connections_max: int = 10
    prepared: bool = True

    @property
    def shown(self) -> str:
        """The URL without its secrets."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2] or "local socket"
        return f"postgresql://{host}{parts.path}"

    def options(self) -> Mapping[str, Any]:
        """Return what every connection is made with."""
        options: dict[str, Any] = {
            "dsn": self.url,
            "timeout": CONNECT_S,
            "command_timeout": COMMAND_S,
            "statement_cache_size": 100 if self.prepared else 0,
        }
        return options if self.password is None else options | {"password": self.password}


class Session:
    """A connection inside a transaction; what UTF-8 or PostgreSQL cannot hold becomes U+FFFD."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def all(self, sql: str, *values: object) -> list[Any]:
        """Run a statement and return its rows."""
        found: list[Any] = await self._connection.fetch(sql, *map(clean, values))
        return found

    async def one(self, sql: str, *values: object) -> Any:
        """Return the first row of a statement, or None."""
        return await self._connection.fetchrow(sql, *map(clean, values))

    async def script(self, sql: str) -> None:
        """Run several statements without values."""
        await self._connection.execute(sql)


class Pool(IntEnum):
    """Connections that do not wait for each other's work.

    Whoever asks may wait for a lock, and so may all connections of `ASKING`. What answers add and
    what readers follow waits for none, and must not stand behind those that do.
    """

    ASKING = 0
    ANSWERING = 1
    READING = 2


class Database:
    """The pools of one process over one database."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._pools: list[Any] = []

    async def open(self) -> None:
        """Connect; raises `Unavailable` with a sentence when that cannot be."""
        try:
            await self._open()
        except FOREIGN as error:
            await self.close()
            raise unreachable(error, self.access) from error
        except PerdureError:
            await self.close()
            raise

    async def _open(self) -> None:
        for kind in Pool:
            self._pools.append(await _started(partial(self._pool, kind)))
        server = await self._pools[0].fetchval("SHOW server_version_num")
        if int(server) < OLDEST:
            detail = f"PostgreSQL {int(server) // 10_000} is too old: 15 or newer is needed."
            raise Unavailable(detail, code="server_too_old")

    def _pool(self, kind: Pool) -> Any:
        return asyncpg.create_pool(
            **self.access.options(),
            min_size=0 if kind is Pool.READING else 1,
            max_size=self.access.connections_max if kind is Pool.ASKING else 2,
            init=_init,
            reset=_keep,
        )

    async def close(self) -> None:
        """Let go of all connections, also of broken ones."""
        pools, self._pools = self._pools, []
        for pool in pools:
            try:
                await asyncio.wait_for(pool.close(), CONNECT_S)
            except FOREIGN:
                pool.terminate()

    async def write(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Run `work` in a transaction of its own and return its result once that is committed.

        It may run more than once; each run begins with nothing of the former one, unless a
        connection was lost in the very commit.
        """

        async def attempt() -> T:
            async with self._session(Pool.ASKING) as connection, connection.transaction():
                return await work(Session(connection))

        return await self._insist(attempt, "write")

    async def read(self, work: Callable[[Session], Awaitable[T]], *, pool: Pool = Pool.ASKING) -> T:
        """Run `work` without a transaction, again when it is lost: it only reads."""
        return await self._insist(lambda: self._plain(work, pool), "read")

    async def append(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Run `work`, whose one statement that writes is a transaction by itself.

        Again when it is lost; it spares the two round trips of a longer transaction.
        """
        return await self._insist(lambda: self._plain(work, Pool.ANSWERING), "append")

    async def look(self, sql: str, *values: object, pool: Pool = Pool.ASKING) -> list[Any]:
        """Run a statement by itself and return its rows."""
        return await self.read(lambda session: session.all(sql, *values), pool=pool)

    async def _plain(self, work: Callable[[Session], Awaitable[T]], pool: Pool) -> T:
        async with self._session(pool) as connection:
            return await work(Session(connection))

    @asynccontextmanager
    async def _session(self, pool: Pool) -> AsyncIterator[Any]:
        if not self._pools:
            raise Unavailable("The store is closed.", code="store_unavailable")
        async with self._pools[pool].acquire(timeout=COMMAND_S) as connection:
            try:
                yield connection
            except asyncpg.InternalClientError:
                connection.terminate()  # the pool would hand it out again, out of step as it is
                raise

    async def _insist(self, attempt: Callable[[], Awaitable[T]], operation: str) -> T:
        before = _cancellations()
        for pause_s in PAUSES_S:
            try:
                return await attempt()
            except AGAIN as error:
                if _cancellations() > before:
                    # A broken connection has covered it with an error of its own.
                    raise asyncio.CancelledError from None
                if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                    await self._forget_connections()  # they lead to a former primary
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
            except FOREIGN as error:
                raise translate(error, operation) from error
        try:
            return await attempt()
        except FOREIGN as error:
            raise translate(error, operation) from error

    async def _forget_connections(self) -> None:
        for pool in self._pools:
            await pool.expire_connections()


def _cancellations() -> int:
    """Count this task's cancellations so far; a run that stores its own end may have had one."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


async def _started(make: Callable[[], Any]) -> Any:
    """Return an open pool; wait for a server that is just starting.

    A new pool for each try: asyncpg closes one that could not open for good.
    """
    deadline = asyncio.get_running_loop().time() + STARTING_S
    while True:
        try:
            return await make()
        except asyncpg.CannotConnectNowError:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.2)


async def _init(connection: Any) -> None:
    """Set what must hold in every transaction; not at connecting, which poolers refuse."""
    await connection.execute(
        f"SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_S}s';"
        " SET application_name = 'perdure'",
    )


async def _keep(_: Any) -> None:
    """Leave a returned connection as it is: nothing here changes a session."""


def translate(error: Exception, operation: str) -> PerdureError:
    """Turn PostgreSQL's errors into ours."""
    if isinstance(error, PerdureError):
        return error
    if isinstance(error, asyncpg.DiskFullError):
        return Unavailable(f"The disk is full (PostgreSQL: {operation}).", code="disk_full")
    said = str(error) or type(error).__name__
    return Unavailable(f"PostgreSQL could not {operation}: {said}", code="store_unavailable")


def unreachable(error: Exception, access: Access) -> PerdureError:
    """Say why a database cannot be opened, and what to do; never with the password."""
    where = access.shown
    match error:
        case asyncpg.InvalidAuthorizationSpecificationError():
            why = f"refuses the user or the password: check store_url ({error})"
        case asyncpg.InvalidCatalogNameError():
            why = "has no such database: create it, or check store_url"
        case TimeoutError():
            why = f"does not answer within {CONNECT_S:g} s: check host and port in store_url"
        case asyncpg.PostgresError() | asyncpg.InterfaceError():
            why = f"refuses: {error}"
        case _:
            why = f"cannot be reached: {error}. Is it running, and is store_url right?"
    return Unavailable(f"{where} {why}", code="store_unreachable")
