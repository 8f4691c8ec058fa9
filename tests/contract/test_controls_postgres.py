"""Controls of the PostgreSQL store: with one guard switched off, its promise must fail.

Durable before visible has no control here: PostgreSQL shows no reader what is not committed.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from perdure.ports import Accepted
from perdure.stores.fairness import Candidate
from perdure.stores.postgres import PostgresStore, acceptance, admission, log, requests
from tests.contract import promises
from tests.contract.stores import postgres
from tests.contract.test_controls import must_fail


class NoKeys(acceptance.Acceptance):
    """Forgets every idempotency key."""

    async def replayed(self) -> Accepted | None:
        self._new = msgspec.structs.replace(self._new, idempotency_key=None)
        return None


class AnyBody(acceptance.Acceptance):
    """Returns what a key made, whatever body comes with it."""

    async def replayed(self) -> Accepted | None:
        sql = "UPDATE idempotency SET fingerprint = $1"
        await self._session.all(sql, self._new.fingerprint)
        return await super().replayed()


class OldestFirst(admission.Admission):
    """Admits by age alone."""

    def order(self, per_user_max: int | None = None) -> Iterator[Candidate]:
        del per_user_max
        return iter(sorted(super().order()))


class EagerReaper(PostgresStore):
    """Reaps by lease alone, ended requests included."""

    async def reap(self, verdict, *, dead=False):
        await self.db.look("UPDATE request SET status = 'streaming' WHERE status <> 'queued'")
        return await super().reap(verdict, dead=dead)


class SecondClaim(PostgresStore):
    """Lets any worker claim what another one has claimed."""

    async def claim(self, request_id, worker_id, lease_s, continuing=()):
        claim = await super().claim(request_id, worker_id, lease_s, continuing)
        if claim is None:
            free = "UPDATE request SET status = 'queued', dispatched_at = 1"
            await self.db.look(f"{free} WHERE status = 'streaming'")
            claim = await super().claim(request_id, worker_id, lease_s, continuing)
        return claim


class LateWinner(PostgresStore):
    """Tells a worker that its end counts although a cancel came first."""

    async def finish(self, last, closing):
        await self.cancel(last.request_id)  # it came first, in every round
        await super().finish(last, closing)
        return True


CLAIM = "AND r.claim_id = g.claim_id "
STREAMING = "AND r.status = 'streaming'"
NUMBER = "AND r.next_sequence = g.first"
APPENDS = {
    "fence": ([CLAIM], promises.late_writes_are_refused),
    "fence after the end": ([CLAIM, STREAMING, NUMBER], promises.terminal_is_final),
    "numbers": ([NUMBER], promises.numbers_have_no_gaps),
}
PARTS = {
    "keys": (requests, "Acceptance", NoKeys, promises.a_key_makes_one_request),
    "fingerprints": (requests, "Acceptance", AnyBody, promises.another_body_is_refused),
    "rank": (admission, "Admission", OldestFirst, promises.admission_is_fair),
}
KINDS = {
    "ended ones are reaped": (EagerReaper, promises.terminal_is_final, []),
    "two claims": (SecondClaim, promises.a_request_is_claimed_once, []),
    "finish always wins": (LateWinner, promises.cancel_and_finish_have_one_winner, [10]),
}


@pytest.mark.parametrize("name", APPENDS)
async def test_without_its_guard_an_append_breaks_the_promise(tmp_path, monkeypatch, name):
    conditions, check = APPENDS[name]
    lax = log.APPEND
    for condition in conditions:
        assert lax.count(condition) == 1
        lax = lax.replace(condition, "")
    monkeypatch.setattr(log, "APPEND", lax)
    async with postgres(tmp_path) as harness:
        await must_fail(check, harness.store)


@pytest.mark.parametrize("name", PARTS)
async def test_without_its_guard_the_promise_fails(tmp_path, monkeypatch, name):
    module, attribute, sabotage, check = PARTS[name]
    monkeypatch.setattr(module, attribute, sabotage)
    async with postgres(tmp_path) as harness:
        await must_fail(check, harness.store)


@pytest.mark.parametrize("name", KINDS)
async def test_with_a_lax_step_the_promise_fails(tmp_path, name):
    kind, check, more = KINDS[name]
    async with postgres(tmp_path, kind) as harness:
        await must_fail(check, harness.store, *more)
