"""Controls of the Redis store: with one guard switched off, its promise must fail.

Durable before visible has no control here: a script's writes are seen together or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from perdure.errors import Unavailable
from perdure.model import Status
from perdure.ports import Accepted
from perdure.stores.fairness import Candidate
from perdure.stores.redis import RedisStore, acceptance, admission, database, requests
from tests.contract import promises, test_store_races, test_store_redis
from tests.contract.stores import begin, redis
from tests.contract.test_controls import must_fail

SCRIPT = database.script


class NoKeys(acceptance.Acceptance):
    """Forgets every idempotency key."""

    async def _replayed(self) -> Accepted | None:
        self._new = msgspec.structs.replace(self._new, idempotency_key=None)
        return None


class AnyBody(acceptance.Acceptance):
    """Returns what a key made, whatever body comes with it."""

    async def _replayed(self) -> Accepted | None:
        key = self._key("key", self._new.user_id, self._new.idempotency_key or "")
        (found,) = await self._draft.read(("HGET", key, "fingerprint"))
        if found is not None:
            self._new = msgspec.structs.replace(self._new, fingerprint=found.decode())
        return await super()._replayed()


class OldestFirst(admission.Admission):
    """Admits by age alone."""

    def order(self, per_user_max: int | None = None) -> Iterator[Candidate]:
        del per_user_max
        return iter(sorted(super().order()))


class LateWinner(RedisStore):
    """Tells a worker that its end counts although a cancel came first."""

    async def finish(self, last, closing):
        await self.cancel(last.request_id)  # it came first, in every round
        await super().finish(last, closing)
        return True


FENCE = ("append", " and owner == claim", "")
STREAMING = ("append", "status == 'streaming'", "status")
NUMBER = ("append", "tonumber(following) == first then", "true then")
UNCHANGED = ("commit", "    return 0\n", "")
TYPES = ("commit", "if kind and there", "if false and there")
TOKEN = ("commit", "redis.call('EXISTS', token) == 1", "false")
SCRIPTS = {
    "fence": ([FENCE], promises.late_writes_are_refused, []),
    "fence after the end": ([FENCE, STREAMING, NUMBER], promises.terminal_is_final, []),
    "numbers": ([NUMBER], promises.numbers_have_no_gaps, []),
    "nothing has changed, claims": ([UNCHANGED], promises.a_request_is_claimed_once, []),
    "nothing has changed, ends": ([UNCHANGED], promises.cancel_and_finish_have_one_winner, [100]),
}
PARTS = {
    "keys": (requests, "Acceptance", NoKeys, promises.a_key_makes_one_request),
    "fingerprints": (requests, "Acceptance", AnyBody, promises.another_body_is_refused),
    "rank": (admission, "Admission", OldestFirst, promises.admission_is_fair),
}


def lax(monkeypatch, changes):
    """Let the store run scripts without these guards."""

    def script(name):
        text = SCRIPT(name)
        for of, guard, instead in changes:
            if of == name:
                assert text.count(guard) == 1
                text = text.replace(guard, instead)
        return text

    monkeypatch.setattr(database, "script", script)


@pytest.mark.parametrize("name", SCRIPTS)
async def test_without_its_guard_a_script_breaks_the_promise(tmp_path, monkeypatch, name):
    changes, check, more = SCRIPTS[name]
    lax(monkeypatch, changes)
    async with redis(tmp_path) as harness:
        await must_fail(check, harness.store, *more)


@pytest.mark.parametrize("name", PARTS)
async def test_without_its_guard_the_promise_fails(tmp_path, monkeypatch, name):
    module, attribute, sabotage, check = PARTS[name]
    monkeypatch.setattr(module, attribute, sabotage)
    async with redis(tmp_path) as harness:
        await must_fail(check, harness.store)


async def test_a_finish_that_always_wins_breaks_the_promise(tmp_path):
    async with redis(tmp_path, LateWinner) as harness:
        await must_fail(promises.cancel_and_finish_have_one_winner, harness.store, 10)


async def test_without_the_look_at_types_a_failed_end_is_half_written(tmp_path, monkeypatch):
    """Guard of `there is no end without its webhook`: Redis takes nothing back."""
    lax(monkeypatch, [TYPES])
    async with redis(tmp_path) as harness:
        pen = await begin(harness.store, notify=True)
        await harness.hide_webhooks(away=True)
        with pytest.raises(Unavailable):
            await harness.store.finish(*pen.end())
        assert (await harness.store.request(pen.id)).status is Status.COMPLETED


async def test_without_the_token_a_commit_in_doubt_does_not_count_once(tmp_path, monkeypatch):
    lax(monkeypatch, [TOKEN])
    async with redis(tmp_path) as harness:
        await must_fail(test_store_redis.a_lost_answer_counts_once, harness.store, monkeypatch)


async def test_two_processes_without_the_look_at_changes_pass_the_limit(tmp_path, monkeypatch):
    """Guard of the limits: the number of decisions in every admission."""
    lax(monkeypatch, [UNCHANGED])
    async with redis(tmp_path) as harness, redis(tmp_path) as other:
        await other.store.close()
        other.url, pair = harness.url, [harness.store]
        await other.reopen()
        pair.append(other.store)
        await must_fail(test_store_races.limit_holds, pair)
