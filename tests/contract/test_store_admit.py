"""Admission, claims and delivery: who may run, who runs it, and what nobody picked up."""

from __future__ import annotations

import asyncio
import time

import pytest

from perdure.errors import NotFound
from perdure.model import Status
from perdure.ports import AcceptLimits, RunLimits
from perdure.stores.pacing import COPY_WAIT_MIN_S
from tests.contract import promises
from tests.contract.stores import (
    LAPSED_S,
    LEASE_S,
    PLENTY,
    RUN,
    Pen,
    always_again,
    ask,
    begin,
    complete,
    question,
    sound,
    take,
    whole,
)


def limits(running=PLENTY, per_user=PLENTY, **per_agent):
    return RunLimits(running, per_user, per_agent)


# Admission


async def test_admission_goes_by_rank_within_the_person_then_by_age(store):
    """Guard: the rank; by age alone A's fifty questions would go first."""
    await promises.admission_is_fair(store)


async def test_what_runs_counts_for_the_rank(store):
    """Whoever has two answers running stands behind whoever has none."""
    for _ in range(2):
        await ask(store, "ann")
    assert len(await store.admit(limits(running=2))) == 2
    await ask(store, "ann")
    late = await ask(store, "bob")
    assert await store.admit(limits(running=3)) == [late.id]


async def test_admitted_ones_count_before_and_after_their_claim(store):
    """Guard: admitted and streaming ones are both active; a claim frees no slot, an end does."""
    first, second, third = [await ask(store) for _ in range(3)]
    two = limits(running=2)
    assert await store.admit(two) == [first.id, second.id]
    assert await store.admit(two) == []
    claim = await store.claim(first.id, "w", LEASE_S)
    assert await store.admit(two) == []
    await complete(store, Pen(claim))
    assert await store.admit(two) == [third.id]


@pytest.mark.parametrize("cap", [limits(per_user=2), limits(guide=2)])
async def test_a_cap_holds_for_a_person_and_for_an_agent(store, cap):
    """The third one waits although there is room in total; others do not wait for it."""
    mine = [await ask(store) for _ in range(3)]
    other = await ask(store, "bob", agent_id="other")
    assert set(await store.admit(cap)) == {mine[0].id, mine[1].id, other.id}
    await store.cancel(mine[0].id)
    assert await store.admit(cap) == [mine[2].id]


async def test_a_full_agent_does_not_use_up_a_persons_turn(store):
    """One with a full agent's question first in line still gets the next question started."""
    await begin(store, "bob", agent_id="slow")
    await ask(store, "ann", agent_id="slow")
    fast = await ask(store, "ann", agent_id="fast")
    assert await store.admit(limits(slow=1)) == [fast.id]


async def test_a_chat_answers_one_question_at_a_time_and_in_order(store):
    """Guard: the look at the chat; concurrent answers in one chat would not see each other."""
    chat_id = (await ask(store)).chat_id
    asked = await asyncio.gather(*(ask(store, chat_id=chat_id, text=f"{n}") for n in range(8)))
    order = []
    while admitted := await store.admit(RUN):
        assert len(admitted) == 1
        assert await store.admit(RUN) == []
        claim = await store.claim(admitted[0], "w", LEASE_S)
        order.append(claim.messages[-1].text)
        await complete(store, Pen(claim), f"re {order[-1]}")
        told = [message.text for message in claim.messages]
        assert told == [text for one in order[:-1] for text in (one, f"re {one}")] + [order[-1]]
    assert len(order) == len(asked) + 1


async def test_a_question_that_backs_off_is_passed_over(store):
    """`not_before`: the second lost worker delays the next attempt; others go first."""
    request = await ask(store)
    for _ in range(2):
        await take(store, request.id, LAPSED_S)
        await store.reap(always_again)
    row = await store.request(request.id)
    assert row.not_before is not None
    other = await ask(store, "bob")
    assert await store.admit(RUN) == [other.id]
    assert await store.claim(request.id, "w", LEASE_S) is None


async def test_a_question_that_backs_off_still_keeps_its_chat_in_order(store):
    """A later question of the chat does not overtake it."""
    request = await ask(store)
    await ask(store, chat_id=request.chat_id)
    for _ in range(2):
        await take(store, request.id, LAPSED_S)
        await store.reap(always_again)
    assert await store.admit(RUN) == []


async def test_two_looks_at_once_admit_nobody_twice(store):
    """Guard: admission is one transaction; a double would pass the limit."""
    for _ in range(20):
        await ask(store)
    looks = await asyncio.gather(*(store.admit(limits(running=10)) for _ in range(8)))
    picked = [request_id for look in looks for request_id in look]
    assert len(picked) == len(set(picked)) == 10


async def test_an_admission_survives_a_crash(harness):
    """What was admitted can be claimed afterwards without another look."""
    request = await ask(harness.store)
    await harness.store.admit(RUN)
    await harness.crash()
    assert await harness.store.claim(request.id, "w", LEASE_S) is not None


# Positions


async def test_positions_are_the_order_of_admission(store):
    """The place shown is the place that counts."""
    await begin(store, "ann")
    for user in ("ann", "ann", "bob", "bob", "cid"):
        await ask(store, user)
    places = await store.positions()
    assert sorted(places.values()) == [1, 2, 3, 4, 5]
    order = []
    for running in range(2, 7):
        order += await store.admit(limits(running=running))
    assert order == sorted(places, key=lambda request_id: places[request_id])
    assert await store.positions() == {}


async def test_what_was_admitted_or_has_ended_has_no_position(store):
    """Only who waits stands in the queue."""
    running, ended, waiting = await begin(store), await ask(store), await ask(store)
    await store.cancel(ended.id)
    assert await store.positions() == {waiting.id: 1}
    assert running.id not in await store.positions()


# Claims


async def test_a_request_is_claimed_by_one_worker_only(store):
    """Guard: the claim is conditional on `queued`."""
    await promises.a_request_is_claimed_once(store)


async def test_a_request_is_not_claimed_before_its_admission(store):
    """Guard: limits would mean nothing if an early delivery could start it."""
    request = await ask(store)
    assert await store.claim(request.id, "w", LEASE_S) is None
    await take(store, request.id)


async def test_an_unknown_or_ended_request_is_not_claimed(store):
    """A queue may deliver what was deleted or has ended."""
    request = await ask(store)
    await store.admit(RUN)
    await store.cancel(request.id)
    assert await store.claim(request.id, "w", LEASE_S) is None
    assert await store.claim("resp_none", "w", LEASE_S) is None


async def test_a_claim_hands_over_the_log_with_the_attempt_opened(store):
    """The worker goes on at the right number; readers see that an attempt has begun."""
    claim = await take(store, (await ask(store)).id)
    assert claim.request.status is Status.STREAMING
    assert claim.request.started_at is not None
    assert list(claim.events) == await whole(store, claim.request.id)
    assert claim.request.sequence_number == len(claim.events) - 1
    assert (await sound(store, claim.request.id)).status is Status.STREAMING


async def test_each_claim_is_an_attempt_and_a_fence_of_its_own(store):
    """Attempts count all starts; the first start's time stays."""
    first = await begin(store)
    await store.append([first.say("abandoned")])
    await store.hand_over(first.id, first.claim.claim_id)
    second = await take(store, first.id)
    assert second.request.attempt == 2
    assert second.claim_id != first.claim.claim_id
    assert second.request.started_at == first.claim.request.started_at
    assert list(second.events) == await whole(store, first.id)
    await complete(store, Pen(second), "kept")
    folded = await sound(store, first.id)
    assert (folded.attempt, folded.text()) == (2, "kept")


async def test_a_claim_shows_in_the_chat(store):
    """The list of chats says which request runs."""
    request = await ask(store)
    before = await store.chat(request.chat_id, "ann")
    await take(store, request.id)
    after = await store.chat(request.chat_id, "ann")
    assert (before.running_request_id, before.queued) == (None, 1)
    assert (after.running_request_id, after.queued) == (request.id, 0)
    assert after.revision > before.revision


# Delivery


async def test_what_was_admitted_and_not_claimed_is_delivered_again(store):
    """A lost message costs time only; fresh ones and claimed ones are left alone."""
    lost, claimed, waiting = [await ask(store) for _ in range(3)]
    await store.admit(limits(running=2))
    await store.claim(claimed.id, "w", LEASE_S)
    assert await store.undelivered(60) == []
    assert await store.undelivered(0) == [lost.id]
    assert waiting.id in await store.positions()


async def test_a_question_that_may_start_is_admitted_with_its_acceptance(store):
    """Guard: one transaction for both, under the same limits and in the same order as `admit`."""
    early = await ask(store, "bob")
    narrow = AcceptLimits(PLENTY, PLENTY, PLENTY, limits(running=1))
    accepted = await store.accept(question("ann", start=True, limits=narrow))
    assert accepted.admitted == [early.id]
    assert await store.admit(limits(running=1)) == []
    assert await store.claim(accepted.request.id, "w", LEASE_S) is None
    assert await store.claim(early.id, "w", LEASE_S) is not None


async def test_what_a_dead_process_admitted_waits_for_admission_again(store):
    """Guard: the reset; else a question whose delivery died with the process waits for long."""
    request = await ask(store)
    assert await store.admit(RUN) == [request.id]
    assert await store.reap(always_again, dead=True) == []
    assert await store.admit(RUN) == [request.id]


async def test_each_further_delivery_waits_twice_as_long(store):
    """Guard: the doubling; a slow worker is not flooded with copies."""
    request = await ask(store)
    wait_s = 0.05
    times: list[float] = []
    loop = asyncio.get_running_loop()
    began = loop.time()
    await store.admit(RUN)
    while len(times) < 4:
        asked = loop.time()
        if await store.undelivered(wait_s) == [request.id]:
            times.append(loop.time() - began)
            began = asked  # before the store noted it, however late its answer is told
        await asyncio.sleep(0.002)  # the store's clock has to move
    # A tenth less: the store looks at another clock than this test.
    assert all(time >= 0.9 * wait_s * 2**n for n, time in enumerate(times)), times


async def test_two_reconcilers_deliver_one_copy(store):
    """Guard: taking a delivery and noting it are one statement."""
    await ask(store)
    await store.admit(RUN)
    began = time.monotonic()
    found = await asyncio.gather(*(store.undelivered(0.0) for _ in range(4)))
    spread = (time.monotonic() - began) / COPY_WAIT_MIN_S
    assert sum(map(len, found)) <= 2 + spread


async def test_counts_tell_what_waits_and_what_runs(store):
    """Counted from the rows: nothing can drift."""
    await begin(store)
    for _ in range(2):
        await ask(store)
    ended = await begin(store)
    await complete(store, ended)
    assert await store.counts() == {"queued": 2, "streaming": 1}


async def test_a_request_is_shown_to_its_owner_only(store):
    """Unknown and foreign look alike."""
    request = await ask(store)
    assert await store.request(request.id, "ann") == request
    for request_id, user in ((request.id, "bob"), ("resp_none", "ann")):
        with pytest.raises(NotFound):
            await store.request(request_id, user)
