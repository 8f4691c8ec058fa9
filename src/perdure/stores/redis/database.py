"""One Redis or Valkey server: its connections, its scripts, its changes, and its errors as ours.

A change reads, decides, and writes by one script that looks whether anything it was made from has
changed meanwhile; then it is made anew. So a change is whole or nothing, and no lock outlives a
process. A commit carries a token: sent again after a lost connection, it counts once.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import msgspec
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import TimeoutError as AnswerLate

from perdure.errors import PerdureError, Unavailable
from perdure.settings import without_secrets
from perdure.stores.redis.values import Fields, plain

T = TypeVar("T")

OLDEST = 7
CONNECT_S = 5.0
ANSWER_S = 10.0
PAUSES_S = (0.05, 0.2, 0.6)
CHANGES_MAX = 200
"""How often a change is made anew because others were faster; each time somebody got on."""
WORDS_MAX = 500
"""Words of one command; a script can unpack some thousands."""
APPEND_WORDS = 9
"""How many words tell the script `append` of one append; the last says whether it is in doubt."""
APPEND_DOUBT = 9
LOST = (ConnectionLost, AnswerLate, ReadOnlyError, OSError)
FOREIGN = (RedisError, OSError, TimeoutError)


class Outdated(Exception):
    """What a draft read does not belong together: something changed between two reads."""


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a server.

    Args:
        url: `redis://…`, `rediss://…` or `valkey://…`.
        prefix: of all keys; keeps deployments on one server apart.
        connections_max: connections beside the two that are kept for running answers.

    """

    url: str
    prefix: str = "perdure"
    connections_max: int = 10

    @property
    def plain_url(self) -> str:
        """The URL as the library knows it."""
        return "redis" + self.url.removeprefix("valkey").removeprefix("redis")

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return without_secrets(self.url)


class Draft:
    """One attempt at a change: what it read, what of that must still hold, what it writes.

    Attributes:
        now: the server's clock at the first read, unix seconds.
        known: what earlier attempts at the same change worked out, to go on from.
        attempt: how many there were.

    """

    def __init__(self, database: Database, known: dict[str, Any], attempt: int = 0) -> None:
        self.now = 0.0
        self.known = known
        self.attempt = attempt
        self.key = database.key
        self._database = database
        self._guards: list[tuple[str, str, str | bytes]] = []
        self._commands: list[tuple[Any, ...]] = []

    async def read(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Return the replies to commands that see one instant."""
        (seconds, micros), *told = await self._database.look(("TIME",), *commands)
        self.now = self.now or seconds + micros / 1e6
        return told

    def guard(self, key: str, field: str, value: object) -> None:
        """Commit only while a field of a hash (or with "" a string) is this; None = not there."""
        expected = "-" if value is None else _equal(plain(value))
        self._guards.append((key, field, expected))

    def add(self, *command: object) -> None:
        """Write a command: its name, its key, its words."""
        self._commands.append(command)

    def each(self, name: str, key: str, words: list[str]) -> None:
        """Write a command with any number of words; none when there are none."""
        for start in range(0, len(words), WORDS_MAX):
            self.add(name, key, *words[start : start + WORDS_MAX])

    def put(self, key: str, fields: Fields, **changes: object) -> None:
        """Change fields of a hash, here and there; None removes one."""
        gone = [name for name, value in changes.items() if value is None and name in fields]
        kept = {name: plain(value) for name, value in changes.items() if value is not None}
        for name in gone:
            del fields[name]
        fields.update({name: _text(value) for name, value in kept.items()})
        if kept:
            self.add("HSET", key, *(word for pair in kept.items() for word in pair))
        if gone:
            self.add("HDEL", key, *gone)

    async def commit(self) -> bool:
        """Write all; False when something has changed since it was read."""
        if not self._commands:
            return True
        words: list[Any] = [self.key("done", secrets.token_hex(8)), len(self._guards)]
        for guard in self._guards:
            words.extend(guard)
        words.append(len(self._commands))
        for command in self._commands:
            words += [len(command), *map(plain, command)]
        return bool(await self._database.run("commit", *words))


class Database:
    """Two pools: a small one for running answers, so that nothing else can hold them up."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._clients: list[Any] = []
        self._shas: dict[str, str] = {}

    def key(self, noun: str, *names: str) -> str:
        """Return the key of a noun; of two names the first is told apart by its length."""
        *first, last = names or ("",)
        told = "".join(f":{len(name.encode())}:{name}" for name in first)
        return f"{self.access.prefix}:{noun}{told}" + (f":{last}" if names else "")

    async def open(self) -> None:
        """Connect; raises `Unavailable` with a sentence when that cannot be, or must not."""
        for size in (self.access.connections_max, 2):
            pool = redis.BlockingConnectionPool.from_url(
                self.access.plain_url,
                max_connections=size,
                timeout=ANSWER_S,
                socket_timeout=ANSWER_S,
                socket_connect_timeout=CONNECT_S,
                socket_keepalive=True,
                protocol=2,
                retry=Retry(NoBackoff(), 0),
            )
            self._clients.append(redis.Redis.from_pool(pool))
        try:
            await self._accept(await self._insist(self._clients[0].info))
        except PerdureError:
            await self.close()
            raise
        except FOREIGN as error:
            await self.close()
            raise unreachable(error, self.access) from error

    async def _accept(self, info: Mapping[str, Any]) -> None:
        """Refuse a server that this store cannot live on."""
        said = refusal(info)
        if said is not None:
            raise Unavailable(f"{self.access.shown} {said[1]}", code=said[0])

    async def close(self) -> None:
        """Let go of all connections, also of broken ones."""
        clients, self._clients = self._clients, []
        for client in clients:
            await client.aclose()

    async def change(self, work: Callable[[Draft], Awaitable[T]]) -> T:
        """Let `work` draft a change until one is written; return its result.

        It may run more than once; each run begins with nothing of the former one but `known`.
        """
        known: dict[str, Any] = {}
        for attempt in range(CHANGES_MAX):
            draft = Draft(self, known, attempt)
            try:
                result = await work(draft)
                if await draft.commit():
                    return result
            except Outdated:
                pass
            await asyncio.sleep(random.uniform(0, min(0.02, 0.0005 * attempt)))  # noqa: S311 - spreads load
        raise Unavailable("Too many changes at once.", code="store_unavailable")

    async def look(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Return the replies to commands that see one instant."""

        async def attempt() -> list[Any]:
            async with self._client().pipeline(transaction=True) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                replies: list[Any] = await pipeline.execute()
                return replies

        return await self._translated(attempt, "read")

    async def info(self) -> dict[str, Any]:
        """Return what the server says of itself."""
        told: dict[str, Any] = await self._translated(self._client().info, "tell of itself")
        return told

    async def settings(self, *names: str) -> dict[str, str]:
        """Return settings of the server, as far as it tells them: hosted ones may not."""
        try:
            told = await self._client().config_get(*names)
        except ResponseError:
            return {}
        except FOREIGN as error:
            raise translate(error, "tell its settings") from error
        return {_text(name): _text(value) for name, value in told.items()}

    async def run(self, name: str, *words: object, hot: bool = False) -> Any:
        """Run a script of this package and return its reply."""
        return await self._translated(lambda: self._run(name, words, hot=hot), name)

    async def append(self, words: list[Any]) -> list[int]:
        """Run `append`; from the second try on, all of it may have been written already."""
        given = [self.access.prefix, *words]

        async def attempt() -> Any:
            tried = [*given]
            given[APPEND_DOUBT::APPEND_WORDS] = [1] * (len(words) // APPEND_WORDS)
            return await self._run("append", tuple(tried), hot=True)

        verdicts: list[int] = await self._translated(attempt, "append")
        return verdicts

    async def _run(self, name: str, words: tuple[Any, ...], *, hot: bool) -> Any:
        client = self._client(hot=hot)
        sha = self._shas.get(name)
        if sha is not None:
            try:
                return await client.execute_command("EVALSHA", sha, 0, *words)
            except NoScriptError:
                pass  # the server was restarted
        self._shas[name] = await client.execute_command("SCRIPT LOAD", script(name))
        return await client.execute_command("EVALSHA", self._shas[name], 0, *words)

    def _client(self, *, hot: bool = False) -> Any:
        if not self._clients:
            raise Unavailable("The store is closed.", code="store_unavailable")
        return self._clients[hot]

    async def _translated(self, attempt: Callable[[], Awaitable[T]], operation: str) -> T:
        try:
            return await self._insist(attempt)
        except FOREIGN as error:
            raise translate(error, operation) from error

    async def _insist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try again a few times over new connections when one was lost."""
        for pause_s in PAUSES_S:
            try:
                return await attempt()
            except AuthenticationError:
                raise
            except LOST as error:
                if isinstance(error, ReadOnlyError):
                    await self._forget_connections()  # they lead to a former primary
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
        return await attempt()

    async def _forget_connections(self) -> None:
        for client in self._clients:
            await client.connection_pool.disconnect(inuse_connections=False)


@cache
def script(name: str) -> str:
    """Return the text of one of this package's scripts."""
    return (resources.files(__package__) / "scripts" / f"{name}.lua").read_text("utf-8")


def refusal(info: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return code and sentence when a server with this `INFO` cannot carry a store."""
    version = str(info.get("redis_version", "0"))
    if int(version.partition(".")[0]) < OLDEST:
        return "server_too_old", f"is Redis {version}, too old: 7 or newer (or Valkey) is needed."
    if info.get("cluster_enabled"):
        detail = "is in cluster mode, which cannot be: the store's scripts need all keys in one"
        return "cluster_mode", f"{detail} place. Use one server (with replicas, if you like)."
    if info.get("role") == "slave":
        return "store_read_only", "is a replica and cannot be written: name its primary."
    return None


def translate(error: Exception, operation: str) -> PerdureError:
    """Turn Redis's errors into ours."""
    if isinstance(error, PerdureError):
        return error
    if isinstance(error, OutOfMemoryError):
        detail = f"The memory of Redis is full (maxmemory; {operation})."
        return Unavailable(detail, code="store_full")
    said = str(error) or type(error).__name__
    return Unavailable(f"Redis could not {operation}: {said}", code="store_unavailable")


def unreachable(error: Exception, access: Access) -> PerdureError:
    """Say why a server cannot be used, and what to do; never with the password."""
    match error:
        case AuthenticationError():
            why = f"refuses the user or the password: check store_url ({error})"
        case BusyLoadingError():
            why = "is still loading its data: try again when it is ready"
        case AnswerLate() | TimeoutError():
            why = f"does not answer within {CONNECT_S:g} s: check host and port in store_url"
        case ResponseError():
            why = f"refuses: {error}"
        case _:
            why = f"cannot be reached: {error}. Is it running, and is store_url right?"
    return Unavailable(f"{access.shown} {why}", code="store_unreachable")


def _equal(value: str | bytes) -> str | bytes:
    return b"=" + value if isinstance(value, bytes) else "=" + value


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
