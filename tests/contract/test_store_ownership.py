"""Ownership: cancel, leases, hand-over and the reaper each take a request over in one step."""

from __future__ import annotations

import asyncio

import pytest

from perdure.errors import NotFound
from perdure.model import Failure, Status
from tests.contract import promises
from tests.contract.stores import (
    LAPSED_S,
    LEASE_S,
    RUN,
    Pen,
    always_again,
    always_fail,
    ask,
    begin,
    complete,
    sound,
    take,
    whole,
)


async def test_nothing_changes_what_has_ended(store):
    """Guard: every transition is conditional on a state that is not terminal."""
    await promises.terminal_is_final(store)


# Cancel


async def test_a_waiting_question_is_cancelled_before_it_starts(store):
    """No worker is needed; what was delivered already finds nothing to do."""
    request = await ask(store)
    await store.admit(RUN)
    row = await store.cancel(request.id)
    assert (row.status, row.attempt) == (Status.CANCELLED, 0)
    assert row.completed_at is not None
    assert await store.claim(request.id, "w", LEASE_S) is None
    await sound(store, request.id)


async def test_a_running_answer_is_cancelled_and_keeps_its_text(store):
    """Cancel = take-over: it works whoever owns the request, and later writes are refused."""
    pen = await begin(store)
    await store.append([pen.say("so far")])
    row = await store.cancel(pen.id)
    assert row.status is Status.CANCELLED
    assert await store.append([pen.say(" and on")]) == [False]
    assert not await store.finish(*pen.end())
    assert not await store.hand_over(pen.id, pen.claim.claim_id)
    assert (await sound(store, pen.id)).text() == "so far"
    message = (await store.messages(pen.chat_id, "ann"))[-1]
    assert (message.text, message.output) == ("so far", row.output)
    chat = await store.chat(pen.chat_id, "ann")
    assert (chat.unread, chat.last_status) == (False, Status.CANCELLED)
    assert chat.running_request_id is None


async def test_cancelling_twice_is_cancelling_once(store):
    """Idempotent: one terminal event, the same row."""
    pen = await begin(store)
    rows = await asyncio.gather(*(store.cancel(pen.id) for _ in range(8)))
    assert all(row == rows[0] for row in rows)
    assert (await sound(store, pen.id)).status is Status.CANCELLED


async def test_cancelling_a_finished_answer_tells_that_it_was_finished(store):
    """The state that won is returned; nothing is written."""
    pen = await begin(store)
    row = await complete(store, pen)
    log = await whole(store, pen.id)
    assert await store.cancel(pen.id) == row
    assert await whole(store, pen.id) == log


async def test_cancelling_what_is_not_there_is_told(store):
    """Unknown is not terminal."""
    with pytest.raises(NotFound):
        await store.cancel("resp_none")


async def test_cancel_and_finish_race_to_one_end(store, soak):
    """Guard: both are conditional on the claim; the loser learns it."""
    await promises.cancel_and_finish_have_one_winner(store, 2000 if soak else 200)


async def test_a_cancelled_chat_goes_on_with_its_next_question(store):
    """A cancelled answer frees the chat and stays in the conversation as far as it got."""
    pen = await begin(store)
    await store.append([pen.say("so far")])
    following = await ask(store, chat_id=pen.chat_id, text="And?")
    await store.cancel(pen.id)
    claim = await take(store, following.id)
    assert [message.text for message in claim.messages] == ["Why?", "so far", "And?"]


# Leases


async def test_a_lease_is_kept_by_renewing_it(store):
    """Guard: renewal; a worker that is alive is not reaped."""
    pen = await begin(store, lease_s=LAPSED_S)
    assert await store.renew({pen.id: pen.claim.claim_id}, LEASE_S) == {pen.id}
    assert await store.reap(always_fail) == []
    await complete(store, pen)


async def test_a_renewal_tells_what_is_still_owned(store):
    """A worker learns of its losses with one call; empty is fine."""
    pens = [await begin(store) for _ in range(5)]
    await complete(store, pens[0])
    await store.cancel(pens[1].id)
    await store.hand_over(pens[2].id, pens[2].claim.claim_id)
    claims = {pen.id: pen.claim.claim_id for pen in pens[:4]}
    claims |= {pens[4].id: "claim_none", "resp_none": "claim_none"}
    assert await store.renew(claims, LEASE_S) == {pens[3].id}
    assert await store.renew({}, LEASE_S) == set()


async def test_a_renewed_claim_of_someone_else_is_not_extended(store):
    """Guard: the fence in renewal; a zombie keeps nobody's lease alive."""
    pen = await begin(store, lease_s=LAPSED_S)
    await store.renew({pen.id: "claim_other"}, LEASE_S)
    assert [row.id for row in await store.reap(always_again)] == [pen.id]


# Hand-over


async def test_a_handed_over_answer_waits_again_and_no_crash_is_counted(store):
    """A drain is no accident: attempts count, crashes do not."""
    pen = await begin(store)
    await store.append([pen.say("so far")])
    assert await store.hand_over(pen.id, pen.claim.claim_id)
    row = await store.request(pen.id)
    assert (row.status, row.crashes, row.attempt) == (Status.QUEUED, 0, 1)
    assert (row.dispatched_at, row.not_before) == (None, None)
    assert (await sound(store, pen.id)).status is Status.QUEUED
    second = Pen(await take(store, pen.id))
    assert second.claim.request.attempt == 2
    await complete(store, second, "kept")
    assert (await sound(store, pen.id)).text() == "kept"


async def test_only_the_owner_hands_over(store):
    """Guard: the fence."""
    pen = await begin(store)
    assert not await store.hand_over(pen.id, "claim_other")
    assert not await store.hand_over("resp_none", pen.claim.claim_id)
    await complete(store, pen)
    assert not await store.hand_over(pen.id, pen.claim.claim_id)
    assert (await store.request(pen.id)).status is Status.COMPLETED


async def test_a_hand_over_and_a_cancel_race_to_a_cancelled_request(store):
    """Neither order revives it."""
    for round_ in range(20):
        pen = await begin(store)
        steps = [store.hand_over(pen.id, pen.claim.claim_id), store.cancel(pen.id)]
        await asyncio.gather(*(reversed(steps) if round_ % 2 else steps))
        assert (await store.request(pen.id)).status is Status.CANCELLED
        await sound(store, pen.id)


# The reaper


async def test_only_a_lapsed_lease_is_reaped(store):
    """Guard: the clock of the store, never the age of a request."""
    live, lapsed, waiting = await begin(store), await begin(store, lease_s=LAPSED_S), None
    waiting = await ask(store)
    assert [row.id for row in await store.reap(always_fail)] == [lapsed.id]
    assert (await store.request(live.id)).status is Status.STREAMING
    assert (await store.request(waiting.id)).status is Status.QUEUED


async def test_dead_takes_over_whatever_streams(store):
    """At the start of the only process nobody else can be alive."""
    pens = [await begin(store) for _ in range(3)]
    rows = await store.reap(always_again, dead=True)
    assert {row.id for row in rows} == {pen.id for pen in pens}
    assert {row.status for row in rows} == {Status.QUEUED}
    assert await store.append([pen.say("x") for pen in pens]) == [False] * 3


async def test_the_verdict_decides_between_queue_and_failure(store):
    """The verdict sees the crash counted; a failure keeps the text and says why."""
    again, failed = await begin(store), await begin(store, lease_s=LAPSED_S)
    await store.append([failed.say("so far")])
    await store.renew({again.id: again.claim.claim_id}, LAPSED_S)
    told = []
    lost = Failure("worker_lost", "The worker is gone.")

    def verdict(request):
        told.append((request.id, request.crashes))
        return lost if request.id == failed.id else None

    rows = {row.id: row for row in await store.reap(verdict)}
    assert sorted(told) == sorted([(again.id, 1), (failed.id, 1)])
    assert (rows[again.id].status, rows[again.id].crashes) == (Status.QUEUED, 1)
    assert (rows[failed.id].status, rows[failed.id].crashes) == (Status.FAILED, 1)
    assert rows[failed.id].error == lost
    folded = await sound(store, failed.id)
    assert (folded.text(), folded.error) == ("so far", lost)
    assert (await store.messages(failed.chat_id, "ann"))[-1].text == "so far"
    assert (await store.chat(failed.chat_id, "ann")).unread


async def test_crashes_add_up_and_each_waits_longer_than_the_last(store):
    """Backoff: the first lost worker costs no wait, so that a restart resumes at once."""
    request = await ask(store)
    waits = []
    for crash in range(1, 5):
        await store.admit(RUN)
        claim = await store.claim(request.id, "w", LAPSED_S)
        if claim is None:
            break
        (row,) = await store.reap(always_again)
        assert row.crashes == crash
        waits.append(row.not_before)
    assert len(waits) == 2
    row = await store.request(request.id)
    assert row.not_before - row.started_at > 1
    await sound(store, request.id)


async def test_a_reaped_answer_begins_again_in_the_same_log(store):
    """Readers see the seam: the attempt, its number and the reason."""
    pen = await begin(store, lease_s=LAPSED_S)
    await store.append([pen.say("abandoned")])
    before = await whole(store, pen.id)
    await store.reap(always_again)
    second = Pen(await take(store, pen.id))
    await complete(store, second, "kept")
    after = await whole(store, pen.id)
    assert after[: len(before)] == before
    folded = await sound(store, pen.id)
    assert (folded.attempt, folded.text()) == (2, "kept")
    assert b'"reason":"worker_lost"' in b"".join(after)


async def test_two_reapers_at_once_count_one_crash(store):
    """Guard: taking over is one transaction."""
    pen = await begin(store, lease_s=LAPSED_S)
    found = await asyncio.gather(*(store.reap(always_again) for _ in range(4)))
    assert sum(len(rows) for rows in found) == 1
    assert (await store.request(pen.id)).crashes == 1
    await sound(store, pen.id)


async def test_a_take_over_survives_a_crash(harness):
    """After a kill the zombie's claim is still refused."""
    pen = await begin(harness.store, lease_s=LAPSED_S)
    await harness.store.append([pen.say("so far")])
    await harness.store.reap(always_again)
    await harness.crash()
    assert await harness.store.append([pen.say("late")]) == [False]
    assert (await harness.store.request(pen.id)).crashes == 1
    await sound(harness.store, pen.id)
    await complete(harness.store, Pen(await take(harness.store, pen.id)), "kept")
