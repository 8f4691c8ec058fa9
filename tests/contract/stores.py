"""The adapters of the `Store` port, and a worker's and a person's side of it in a few words.

To add an adapter, write an async context manager that yields its `Harness` and name it in
`ADAPTERS`: every promise in `test_store_*.py` then runs against it.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from perdure.deltas import Text
from perdure.events import Builder, Closing, first_event, is_terminal, number, response
from perdure.fold import Fold, fold
from perdure.model import Failure, Request, Status, new_id
from perdure.ports import (
    AcceptLimits,
    Append,
    Claim,
    NewMessage,
    NewRequest,
    RunLimits,
    Store,
    Verdict,
)
from perdure.stores.postgres import Access, PostgresStore
from perdure.stores.redis import Access as RedisAccess
from perdure.stores.redis import RedisStore
from perdure.stores.sqlite import SqliteStore
from tests import databases, valkeys

PLENTY = 100_000
RUN = RunLimits(running_max=PLENTY, running_per_user_max=PLENTY)
LIMITS = AcceptLimits(queued_max=PLENTY, queued_per_user_max=PLENTY, messages_max=PLENTY, run=RUN)
LEASE_S = 30.0
LAPSED_S = -1.0
"""A lease that is over when it is granted."""
READ_BYTES = 256 * 1024


class Harness(Protocol):
    """One store on data of its own."""

    store: Store

    async def reopen(self) -> None:
        """Close the store and open it again on the same data."""
        ...

    async def crash(self) -> None:
        """Open it again as if the process had been killed just now."""
        ...

    async def age(self, noun: str, seconds: float) -> None:
        """Make all ended `request`s, or all rows of another noun, older, behind its back."""
        ...

    async def hide_webhooks(self, *, away: bool) -> None:
        """Take the place of webhooks away, or bring it back."""
        ...


class SqliteHarness:
    """A file in a folder; a crash leaves the files behind as they are at that instant."""

    def __init__(self, folder: Path, synchronous: str = "normal") -> None:
        self._folder = folder
        self._lives = 0
        self._synchronous = synchronous
        self.store: Store = self._made()

    async def reopen(self) -> None:
        await self.store.close()
        self.store = self._made()
        await self.store.open()

    async def crash(self) -> None:
        old, here = self.store, self._path()
        self._lives += 1
        self._path().parent.mkdir()
        copy_files(here, self._path())
        self.store = self._made()
        await self.store.open()
        await old.close()

    async def age(self, noun: str, seconds: float) -> None:
        await self._tamper(older(noun, seconds))

    async def hide_webhooks(self, *, away: bool) -> None:
        await self._tamper(renamed(away=away))

    async def _tamper(self, sql: str) -> None:
        assert isinstance(self.store, SqliteStore)
        db = self.store.db
        await db.write(lambda: db.all(sql))

    def _path(self) -> Path:
        return self._folder / f"life-{self._lives}" / "perdure.db"

    def _made(self) -> SqliteStore:
        return SqliteStore(self._path(), self._synchronous)


def older(noun: str, seconds: float) -> str:
    """Return a statement that makes rows older."""
    column = "completed_at" if noun == "request" else "created_at"
    return f"UPDATE {noun} SET {column} = {column} - {seconds}"  # noqa: S608 - our own words


def renamed(*, away: bool) -> str:
    """Return a statement after which nobody finds the table of webhooks, or finds it again."""
    return "ALTER TABLE {} RENAME TO {}".format(
        *(("webhook", "away") if away else ("away", "webhook"))
    )


def copy_files(path: Path, to: Path) -> None:
    """Copy a database as it lies on the disk; the log last, since only the writer shortens it."""
    for end in ("", "-wal"):
        if Path(f"{path}{end}").exists():
            shutil.copyfile(f"{path}{end}", f"{to}{end}")


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Harness]:
    harness = SqliteHarness(folder)
    await harness.store.open()
    yield harness
    await harness.store.close()


class PostgresHarness:
    """A database of its own; a crash ends all connections of the store in mid-sentence."""

    def __init__(self, url: str, kind: type[PostgresStore] = PostgresStore) -> None:
        self.url = url
        self._kind = kind
        self.store: Store = self._made()

    async def reopen(self) -> None:
        await self.store.close()
        self.store = self._made()
        await self.store.open()

    async def crash(self) -> None:
        await databases.cut_off(self.url)
        old, self.store = self.store, self._made()
        await old.close()
        await self.store.open()

    async def age(self, noun: str, seconds: float) -> None:
        await databases.rows(self.url, older(noun, seconds))

    async def hide_webhooks(self, *, away: bool) -> None:
        await databases.rows(self.url, renamed(away=away))

    def _made(self) -> PostgresStore:
        return self._kind(Access(url=self.url))


@asynccontextmanager
async def postgres(
    _: Path, kind: type[PostgresStore] = PostgresStore
) -> AsyncIterator[PostgresHarness]:
    async with databases.fresh() as url:
        harness = PostgresHarness(url, kind)
        await harness.store.open()
        try:
            yield harness
        finally:
            await harness.store.close()


class RedisHarness:
    """A database of its own; a crash ends all connections of the store in mid-sentence."""

    def __init__(self, url: str, kind: type[RedisStore] = RedisStore) -> None:
        self.url = url
        self._kind = kind
        self.store: Store = self._made()

    async def reopen(self) -> None:
        await self.store.close()
        self.store = self._made()
        await self.store.open()

    async def crash(self) -> None:
        await asyncio.to_thread(valkeys.cut_off, self.url)
        old, self.store = self.store, self._made()
        await old.close()
        await self.store.open()

    async def age(self, noun: str, seconds: float) -> None:
        field, lists = AGES[noun]
        with valkeys.client(self.url) as admin:
            for key in admin.scan_iter(f"perdure:{noun}:*"):
                if admin.hexists(key, field):
                    admin.hincrbyfloat(key, field, -seconds)
            for name in lists:
                for member in admin.zrange(f"perdure:{name}", 0, -1):
                    admin.zincrby(f"perdure:{name}", -seconds, str(member))

    async def hide_webhooks(self, *, away: bool) -> None:
        with valkeys.client(self.url) as admin:
            if away:
                admin.set("perdure:due", "no list")
            else:
                admin.delete("perdure:due")

    def _made(self) -> RedisStore:
        return self._kind(RedisAccess(url=self.url))


AGES = {
    "request": ("completed_at", ("ended", "logs", "transient")),
    "webhook": ("created_at", ("settled",)),
}
"""Where the age of a noun stands in Redis: its field, and the lists that are ordered by it."""


@asynccontextmanager
async def redis(_: Path, kind: type[RedisStore] = RedisStore) -> AsyncIterator[RedisHarness]:
    async with valkeys.fresh() as url:
        harness = RedisHarness(url, kind)
        await harness.store.open()
        try:
            yield harness
        finally:
            await harness.store.close()


ADAPTERS: dict[str, Callable[[Path], AbstractAsyncContextManager[Harness]]] = {
    "sqlite": sqlite,
    "postgres": postgres,
    "redis": redis,
}


def question(
    user: str = "ann", text: str = "Why?", chat_id: str | None = None, **changes: Any
) -> NewRequest:
    """Return a question as `accept` wants it: in a new chat unless one is named."""
    request_id, agent_id = new_id("resp"), changes.pop("agent_id", "guide")
    created = response(id=request_id, agent_id=agent_id, created_at=time.time())
    asked = None if "answers" in changes else NewMessage(new_id("msg"), "user", text)
    new = NewRequest(
        id=request_id,
        chat_id=chat_id or new_id("chat"),
        new_chat=chat_id is None,
        user_id=user,
        agent_id=agent_id,
        message_id=new_id("msg"),
        first_event=first_event(created),
        title=text,
        question=asked,
        limits=LIMITS,
    )
    return msgspec.structs.replace(new, **changes)


async def ask(store: Store, user: str = "ann", text: str = "Why?", **changes: Any) -> Request:
    """Accept a question; return its request."""
    return (await store.accept(question(user, text, **changes))).request


async def take(store: Store, request_id: str, lease_s: float = LEASE_S) -> Claim:
    """Admit what may run and claim a request, which must be possible."""
    await store.admit(RUN)
    claim = await store.claim(request_id, "worker", lease_s)
    assert claim is not None, f"{request_id} cannot be claimed"
    return claim


async def begin(store: Store, user: str = "ann", text: str = "Why?", **changes: Any) -> Pen:
    """Ask, admit and claim; return the worker's pen."""
    lease_s = changes.pop("lease_s", LEASE_S)
    request = await ask(store, user, text, **changes)
    return Pen(await take(store, request.id, lease_s))


async def complete(store: Store, pen: Pen, text: str = "Because.") -> Request:
    """Answer to the end; return the request as it then stands."""
    assert await store.append([pen.say(text)]) == [True]
    assert await store.finish(*pen.end())
    return await store.request(pen.id)


class Pen:
    """A worker that holds a claim: it turns texts into the appends of a request."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.id = claim.request.id
        self.chat_id = claim.request.chat_id
        self.builder = Builder(fold(claim.events))

    def say(self, text: str, **beside: Any) -> Append:
        """Return the events of some more text; `beside` is a trace id or an attempt."""
        first = self.builder.first
        self.builder.add(Text(text))
        return Append(self.id, self.claim.claim_id, first, self.builder.take(), **beside)

    def end(
        self, status: Status = Status.COMPLETED, error: Failure | None = None
    ) -> tuple[Append, Closing]:
        """Return what `finish` wants."""
        first = self.builder.first
        closing = self.builder.end(status, error)
        return Append(self.id, self.claim.claim_id, first, self.builder.take()), closing


async def whole(store: Store, request_id: str, bytes_max: int = READ_BYTES) -> list[bytes]:
    """Return a log as a reader gets it, from its start, slice by slice."""
    events: list[bytes] = []
    while True:
        slice_ = (await store.read({request_id: len(events) - 1}, bytes_max))[request_id]
        assert slice_.first == len(events)
        events.extend(slice_.events)
        if len(events) > slice_.last:
            return events
        assert slice_.events, f"{request_id}: nothing after {len(events) - 1} of {slice_.last}"


async def sound(store: Store, request_id: str) -> Fold:
    """Check all that must hold of a log at any time, beside its row; return its fold."""
    events, row = await whole(store, request_id), await store.request(request_id)
    assert [number(event) for event in events] == list(range(len(events)))
    assert row.sequence_number == len(events) - 1
    ends = [number(event) for event in events if is_terminal(event)]
    assert ends == ([len(events) - 1] if row.status.terminal else [])
    folded = fold(events)
    assert folded.status is row.status
    return folded


def always_again(_: Request) -> None:
    """Be the verdict that queues whatever lost its worker."""


def always_fail(_: Request) -> Failure:
    """Be the verdict that fails whatever lost its worker."""
    return Failure("worker_lost", "The worker is gone.")


VERDICTS: dict[str, Verdict] = {"again": always_again, "fail": always_fail}
