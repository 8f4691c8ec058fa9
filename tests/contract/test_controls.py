"""Controls: with one guard switched off, the promise that it keeps must fail.

A check that cannot fail proves nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from perdure.model import Request
from perdure.ports import Accepted, Append, Verdict
from perdure.stores import sqlite
from perdure.stores.fairness import Candidate
from perdure.stores.sqlite import SqliteStore, requests
from perdure.stores.sqlite.acceptance import AcceptWork
from perdure.stores.sqlite.admission import Admission
from perdure.stores.sqlite.database import Database
from perdure.stores.sqlite.log import Live, Log
from tests.contract import promises
from tests.contract.stores import Harness, SqliteHarness
from tests.contract.test_store_life import live_many_lives


class NoFence(Log):
    """Takes what anybody appends, whoever holds the claim."""

    def _owner(self, append: Append) -> Live | None:
        live = self.live.get(append.request_id)
        return live if live is not None and live.next == append.first else None


class NoNumbers(Log):
    """Takes what the owner appends, whatever number it has."""

    def _owner(self, append: Append) -> Live | None:
        owned = self.owns(append.request_id, append.claim_id)
        return self.live[append.request_id] if owned else None


class Revived(Log):
    """Takes what anybody appends after the end."""

    def _owner(self, append: Append) -> Live:
        return self.live.setdefault(append.request_id, Live(append.claim_id, append.first))


class NoKeys(AcceptWork):
    """Forgets every idempotency key."""

    def replayed(self) -> Accepted | None:
        self._new = msgspec.structs.replace(self._new, idempotency_key=None)
        return None


class AnyBody(AcceptWork):
    """Returns what a key made, whatever body comes with it."""

    def replayed(self) -> Accepted | None:
        self._db.all("UPDATE idempotency SET fingerprint = ?", self._new.fingerprint)
        return super().replayed()


class OldestFirst(Admission):
    """Admits by age alone."""

    def order(self, per_user_max: int | None = None) -> Iterator[Candidate]:
        del per_user_max
        return iter(sorted(super().order()))


class ShowFirst(Database):
    """Lets readers see what is not committed yet; commits when it is closed."""

    def open(self) -> None:
        super().open()
        self.reader.close()
        self.reader = self.writer
        self.writer.execute("BEGIN IMMEDIATE")

    def flush(self) -> None:
        batch, self._pending = self._pending, []
        for work, future in batch:
            result, problem = self._attempt(work)
            if problem is None:
                future.set_result(result)
            else:
                future.set_exception(problem)

    def close(self) -> None:
        if self._lock_file is not None and self.writer.in_transaction:
            self.flush()
            self.writer.execute("COMMIT")
            self.reader = self._connect(read_only=True)
        super().close()


class EagerReaper(SqliteStore):
    """Reaps by lease alone, ended requests included."""

    async def reap(self, verdict: Verdict, *, dead: bool = False) -> list[Request]:
        def work() -> None:
            self.db.all("UPDATE request SET status = 'streaming' WHERE status <> 'queued'")

        await self.db.write(work)
        return await super().reap(verdict, dead=dead)


class SecondClaim(SqliteStore):
    """Lets any worker claim what another one has claimed."""

    async def claim(self, request_id, worker_id, lease_s, continuing=()):
        def work() -> None:
            self.db.all("UPDATE request SET status = 'queued' WHERE status = 'streaming'")

        claim = await super().claim(request_id, worker_id, lease_s)
        if claim is None:
            await self.db.write(work)
            claim = await super().claim(request_id, worker_id, lease_s)
        return claim


class LateWinner(SqliteStore):
    """Tells a worker that its end counts although a cancel came first."""

    async def finish(self, last, ending):
        await super().finish(last, ending)
        return True


class Folder(SqliteHarness):
    """A harness whose store is of another class."""

    def __init__(self, folder: Path, kind: type[SqliteStore]) -> None:
        self._kind = kind
        super().__init__(folder)

    def _made(self) -> SqliteStore:
        return self._kind(self._path(), "normal")


@asynccontextmanager
async def sabotaged(folder: Path, kind: type[SqliteStore] = SqliteStore) -> AsyncIterator[Harness]:
    harness = Folder(folder, kind)
    await harness.store.open()
    yield harness
    await harness.store.close()


CONTROLS: dict[str, tuple[object, str, type, Callable[..., object]]] = {
    "fence": (sqlite, "Log", NoFence, promises.late_writes_are_refused),
    "fence after the end": (sqlite, "Log", Revived, promises.terminal_is_final),
    "numbers": (sqlite, "Log", NoNumbers, promises.numbers_have_no_gaps),
    "keys": (requests, "AcceptWork", NoKeys, promises.a_key_makes_one_request),
    "fingerprints": (requests, "AcceptWork", AnyBody, promises.another_body_is_refused),
    "rank": (requests, "Admission", OldestFirst, promises.admission_is_fair),
}
KINDS: dict[str, tuple[type[SqliteStore], Callable[..., object]]] = {
    "ended ones are reaped": (EagerReaper, promises.terminal_is_final),
    "two claims": (SecondClaim, promises.a_request_is_claimed_once),
    "finish always wins": (LateWinner, promises.cancel_and_finish_have_one_winner),
}


async def must_fail(check, *given):
    with pytest.raises((Exception, pytest.fail.Exception)) as failed:
        await check(*given)
    assert not isinstance(failed.value, TypeError | AttributeError), failed.value


@pytest.mark.parametrize("name", CONTROLS)
async def test_without_its_guard_the_promise_fails(tmp_path, monkeypatch, name):
    module, attribute, sabotage, check = CONTROLS[name]
    monkeypatch.setattr(module, attribute, sabotage)
    async with sabotaged(tmp_path) as harness:
        await must_fail(check, harness.store)


@pytest.mark.parametrize("name", KINDS)
async def test_with_a_lax_step_the_promise_fails(tmp_path, name):
    kind, check = KINDS[name]
    async with sabotaged(tmp_path, kind) as harness:
        given: Sequence[object] = [harness.store]
        await must_fail(check, *given, *([10] if kind is LateWinner else []))


async def test_shown_before_its_commit_an_event_does_not_survive_a_crash(tmp_path, monkeypatch):
    """Guard of durable before visible."""
    monkeypatch.setattr(sqlite, "Database", ShowFirst)
    async with sabotaged(tmp_path) as harness:
        await must_fail(promises.what_was_read_survives_a_crash, harness)


def test_the_random_lives_find_a_missing_fence(monkeypatch):
    """Guard of the state machine: it is able to find what it looks for."""
    monkeypatch.setattr(sqlite, "Log", NoFence)
    with pytest.raises(AssertionError):
        live_many_lives(sabotaged, examples=400, steps=40, shrink=False)
