"""What a store counts for operators: of the whole deployment, for ever, and cheap to ask for."""

import asyncio
import time
from collections import Counter

import pytest

from perdure.cli import main
from perdure.model import Failure, Status
from perdure.records import Tally
from perdure.stores.postgres import Access, PostgresStore
from tests import databases
from tests.contract.stores import (
    LAPSED_S,
    RUN,
    VERDICTS,
    ask,
    begin,
    complete,
    question,
    take,
)


async def test_a_store_without_requests_has_nothing_to_tell(store):
    figures = await store.figures()
    assert (figures.accepted, list(figures.ended)) == (0, [])
    assert (figures.queue_age_s, figures.unclaimed_age_s, figures.webhooks) == (0, 0, 0)


async def test_requests_are_counted_where_they_stand(store):
    """Waiting, admitted without a worker, being answered; with the age of the oldest."""
    await begin(store)
    await ask(store)
    await store.admit(RUN)
    await ask(store)
    figures = await store.figures()
    assert (figures.waiting, figures.unclaimed, figures.streaming) == (1, 1, 1)
    assert 0 < figures.queue_age_s < 60
    assert 0 <= figures.unclaimed_age_s < 60
    assert figures.accepted == 3


async def test_each_end_counts_once_with_its_reason(store):
    """Guard: the tally is written in the transaction that ends, under the same fence."""
    done, failed, lost = await begin(store), await begin(store), await begin(store)
    await complete(store, done)
    await store.finish(*failed.end(Status.FAILED, Failure("upstream_error", "It broke.")))
    await store.cancel((await ask(store)).id)
    await store.cancel(lost.id)
    await store.cancel(lost.id)
    assert not await store.finish(*lost.end()), "a late writer counts for nothing"
    assert (await store.figures()).ended == [
        Tally("guide", "cancelled", "", 2),
        Tally("guide", "completed", "", 1),
        Tally("guide", "failed", "upstream_error", 1),
    ]


async def test_a_lost_worker_s_request_counts_by_its_verdict(store):
    await begin(store, lease_s=LAPSED_S)
    await store.reap(VERDICTS["fail"])
    assert (await store.figures()).ended == [Tally("guide", "failed", "worker_lost", 1)]


async def test_what_was_counted_stays_counted_when_it_is_removed(harness):
    """Guard: counters never fall; a crash and a pruning change nothing."""
    store = harness.store
    pen = await begin(store)
    await complete(store, pen)
    other = await begin(store)
    await store.delete_request(other.id, "ann")
    before = await store.figures()
    await store.prune(events_s=1e-9, requests_s=1e-9, chats_s=0)
    await harness.crash()
    after = await harness.store.figures()
    assert after == before
    assert after.accepted == 2


async def test_what_is_removed_before_its_end_counts_as_cancelled_and_is_told(store):
    """Guard: whatever was accepted ends once; else the number of accepted ones would fall."""
    running, waiting = await begin(store, notify=True), await ask(store, notify=True)
    await store.remove_message(waiting.user_message_id, "ann")
    assert [one.id for one in await store.delete_chat(running.chat_id, "ann")] == [running.id]
    figures = await store.figures()
    assert list(figures.ended) == [Tally("guide", "cancelled", "", 2)]
    assert (figures.waiting, figures.streaming, figures.accepted) == (0, 0, 2)
    told = [await store.take_webhooks(60), await store.take_webhooks(60)]
    assert {one.request_id for taken in told for one in taken} == {running.id, waiting.id}


async def test_webhooks_that_wait_are_counted_with_their_age(store):
    request = (await store.accept(question(notify=True))).request
    await take(store, request.id)
    await store.cancel(request.id)
    figures = await store.figures()
    assert figures.webhooks == 1
    assert 0 <= figures.webhook_age_s < 60
    (webhook,) = await store.take_webhooks(60)
    await store.settle_webhook(webhook.id)
    assert (await store.figures()).webhooks == 0


@pytest.mark.parametrize("noun", ["events", "requests", "chats"])
async def test_a_dry_run_counts_what_would_go_and_removes_nothing(store, noun):
    """Guard: all that is due is counted, not one step of it."""
    for _ in range(3):
        await complete(store, await begin(store))
    await begin(store)
    ages = {"events_s": 0.0, "requests_s": 0.0, "chats_s": 0.0, f"{noun}_s": 1e-9}
    assert (await store.prune(**ages, dry_run=True))[noun] == 3
    assert (await store.prune(**ages, dry_run=True))[noun] == 3
    assert (await store.prune(**ages))[noun] == 3
    assert (await store.prune(**ages, dry_run=True))[noun] == 0


async def test_the_command_only_counts_when_it_is_asked_to(monkeypatch, capsys):
    """Guard: `dry_run` of a store that the command opens, as it does for PostgreSQL."""
    async with databases.fresh() as url:
        store = PostgresStore(Access(url=url))
        await store.open()
        await complete(store, await begin(store))
        await store.close()
        monkeypatch.setenv("PERDURE_STORE_URL", url)
        monkeypatch.setenv("PERDURE_RETENTION__EVENTS_HOURS", "0.0000001")
        for _ in range(2):
            assert await asyncio.to_thread(main, ["db", "prune", "--dry-run"]) == 0
            assert capsys.readouterr().out.startswith("Would remove: 1 ")
        assert await asyncio.to_thread(main, ["db", "prune"]) == 0
        assert capsys.readouterr().out.startswith("Removed: 1 ")


async def test_the_trace_that_a_caller_named_stays_with_its_request(store):
    named = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    request = await ask(store, traceparent=named)
    assert (await store.request(request.id)).traceparent == named
    claim = await take(store, request.id)
    assert claim.request.traceparent == named


async def test_an_overview_tells_who_works_what_fails_and_what_happened(store):
    """Counted since a time, in steps; what was before it is left out."""
    await complete(store, await begin(store))
    failed = await begin(store)
    await store.finish(*failed.end(Status.FAILED, Failure("upstream_error", "It broke.")))
    await begin(store)
    seen = await store.overview(time.time() - 60, 20)
    (worker,) = seen.workers
    assert (worker.worker_id, worker.running) == ("worker", 1)
    assert worker.started_at is not None
    assert worker.lease_until is not None
    assert worker.lease_until > worker.started_at
    assert list(seen.failures) == [Tally("guide", "failed", "upstream_error", 1)]
    sums: Counter[str] = Counter()
    for step, what, count in seen.course:
        assert 2 <= step <= 3, "the last step, or just behind it"
        sums[what] += count
    assert sums == {"asked": 3, "completed": 1, "failed": 1}
    later = await store.overview(time.time() + 60, 20)
    assert not later.failures
    assert not later.course
