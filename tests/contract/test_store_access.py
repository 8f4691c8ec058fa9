"""Promises of the store for who may come in, and for those who look after everyone's requests."""

import time

import msgspec
import pytest

from perdure import credentials
from perdure.deltas import COUNT_MAX, Usage
from perdure.model import Status
from tests.contract.stores import RUN, ask, begin, complete


async def added(store, user="ann", kind="token", **more):
    made, secret = credentials.new(kind, user, "laptop", ["read", "write"], **more)
    await store.add_credential(made)
    return made, secret


async def test_a_credential_is_kept_as_given_across_a_crash_and_its_secret_is_not(harness):
    made, secret = await added(harness.store, lasts_s=60, details={"began": "token", "n": 1})
    await harness.crash()
    found = await harness.store.credential(made.id)
    assert found == made
    assert found.matches(secret)
    assert not found.matches(secret[:-1] + "!")
    assert secret[-43:] not in repr(found)
    assert await harness.store.credential("tok_" + "0" * 24) is None


async def test_credentials_are_listed_by_kind_and_person(store):
    hers = [(await added(store))[0], (await added(store))[0]]
    his = (await added(store, "bob"))[0]
    session = (await added(store, kind="session"))[0]
    assert await store.credentials("token") == [*hers, his]
    assert await store.credentials("token", "ann") == hers
    assert await store.credentials("session") == [session]
    assert await store.credentials("session", "bob") == []


async def test_a_credential_changes_only_while_its_secret_is_the_known_one(store):
    """Guard: `digest` in the update's condition; else two tabs undo each other's new secret."""
    made, _ = await added(store)
    newer = msgspec.structs.replace(
        made, digest=credentials.digest_of("new"), used_at=time.time(), expires_at=1.5
    )
    assert await store.change_credential(newer, made.digest)
    assert await store.credential(made.id) == newer
    assert not await store.change_credential(made, made.digest)
    assert await store.credential(made.id) == newer


async def test_what_was_dropped_does_not_come_back(store):
    """Guard: a change is no insert; else a last use would undo a revocation."""
    made, _ = await added(store)
    assert await store.drop_credential(made.id)
    assert not await store.drop_credential(made.id)
    assert not await store.change_credential(made, made.digest)
    assert await store.credential(made.id) is None


async def test_sessions_that_are_over_are_pruned_and_tokens_stay(store):
    """An expired token stays in its maker's list until it is revoked."""
    day = -2 * 86_400.0
    over, _ = await added(store, kind="session", lasts_s=day)
    token, _ = await added(store, lasts_s=day)
    fresh, _ = await added(store, kind="session", lasts_s=60)
    assert (await store.prune(events_s=0, requests_s=0, chats_s=0))["sessions"] == 1
    assert await store.credential(over.id) is None
    for kept in (token, fresh):
        assert await store.credential(kept.id) == kept


async def test_everyones_requests_are_listed_newest_first_page_by_page(store):
    made = [await ask(store, user) for user in ("ann", "bob", "ann", "eve")]
    first, cursor = await store.requests(None, limit=3)
    rest, end = await store.requests(None, limit=3, cursor=cursor)
    assert [one.id for one in first + rest] == [one.id for one in reversed(made)]
    assert end is None
    only, _ = await store.requests("ann", status=Status.QUEUED)
    assert {one.user_id for one in only} == {"ann"}
    assert (await store.requests(None, status=Status.FAILED))[0] == []


async def test_usage_counts_requests_by_person_agent_and_state_from_a_time_on(store):
    assert await store.usage(0) == []
    pen = await begin(store)
    pen.builder.add(Usage(input_tokens=7, output_tokens=5_000_000_000))
    await complete(store, pen)
    await ask(store)
    await ask(store, "bob", agent_id="other")
    await store.admit(RUN)
    counted = {
        (one.user_id, one.agent_id, one.status): one.requests for one in await store.usage(0)
    }
    assert counted == {
        ("ann", "guide", Status.COMPLETED): 1,
        ("ann", "guide", Status.QUEUED): 1,
        ("bob", "other", Status.QUEUED): 1,
    }
    (ended,) = [one for one in await store.usage(0) if one.status is Status.COMPLETED]
    assert (ended.input_tokens, ended.output_tokens) == (7, 5_000_000_000)
    assert await store.usage(time.time() + 60) == []


@pytest.mark.parametrize(
    ("told", "kept"),
    [(12.5, 12), ("12.5", 12), (2**70, COUNT_MAX), (-1, 0), (None, 0), ("many", 0), ("1e999", 0)],
)
async def test_whatever_a_server_says_it_has_counted_can_be_summed(store, told, kept):
    """Guard: `_count` in `Usage.json`; one answer would stop the sums of all (PostgreSQL)."""
    pen = await begin(store)
    pen.builder.add(Usage(input_tokens=told, output_tokens=1))
    await complete(store, pen)
    (summed,) = await store.usage(0)
    assert (summed.input_tokens, summed.output_tokens) == (kept, 1)
