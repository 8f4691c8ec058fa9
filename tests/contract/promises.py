"""The promises of the store that everything stands on, as checks.

`test_store_*.py` runs them against every adapter; `test_controls.py` against stores with one guard
switched off, where they must fail.
"""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from perdure.errors import Conflict
from perdure.model import Status
from perdure.ports import RunLimits, Store
from tests.contract.stores import (
    LAPSED_S,
    RUN,
    Harness,
    Pen,
    always_again,
    always_fail,
    ask,
    begin,
    complete,
    question,
    sound,
    take,
    whole,
)

SEEN = 10


async def late_writes_are_refused(store: Store) -> None:
    """Fence: every write of a worker is conditional on its claim."""
    zombie = await begin(store)
    await store.append([zombie.say("mine ")])
    assert await store.hand_over(zombie.id, zombie.claim.claim_id)
    owner = Pen(await take(store, zombie.id))
    before = await whole(store, zombie.id)
    # At the right number, so that nothing but the claim tells the two apart.
    zombie.builder = Pen(owner.claim).builder
    assert await store.append([zombie.say("stale")]) == [False]
    assert not await store.finish(*zombie.end())
    assert not await store.hand_over(zombie.id, zombie.claim.claim_id)
    assert await store.renew({zombie.id: zombie.claim.claim_id}, 30) == set()
    assert await whole(store, zombie.id) == before
    await complete(store, owner, "Right.")
    assert (await sound(store, zombie.id)).text() == "Right."


async def numbers_have_no_gaps(store: Store) -> None:
    """Numbering: an append counts only at the number that follows, so that repeating it is safe."""
    pen = await begin(store)
    first, second = pen.say("one "), pen.say("two ")
    assert await store.append([second]) == [False]
    assert await store.append([first]) == [True]
    assert await store.append([first]) == [False]
    assert await store.append([second]) == [True]
    assert not await store.finish(
        msgspec.structs.replace(pen.say("lost"), first=first.first), pen.end()[1]
    )
    assert (await sound(store, pen.id)).text() == "one two "


async def a_key_makes_one_request(store: Store) -> None:
    """Idempotency: whoever repeats a key gets what its first use made."""
    posts = [question(idempotency_key="click", fingerprint="f") for _ in range(16)]
    accepted = await asyncio.gather(*(store.accept(post) for post in posts))
    assert len({one.request.id for one in accepted}) == 1
    assert [one.replayed for one in accepted].count(False) == 1
    assert await store.counts() == {"queued": 1, "streaming": 0}
    assert len((await store.chats("ann"))[0]) == 1


async def another_body_is_refused(store: Store) -> None:
    """Idempotency: a key stands for one body."""
    await store.accept(question(idempotency_key="click", fingerprint="f"))
    with pytest.raises(Conflict) as refused:
        await store.accept(question(idempotency_key="click", fingerprint="g"))
    assert refused.value.code == "idempotency_key_reused"
    assert (await store.counts())["queued"] == 1


async def what_was_read_survives_a_crash(harness: Harness) -> None:
    """Order: what a reader can see is committed, and stays what it is."""
    store = harness.store
    pen = await begin(store)
    writing = asyncio.gather(*(_append(store, pen, f"{piece} ") for piece in range(20)))
    seen: list[bytes] = []
    while len(seen) < SEEN:
        await asyncio.sleep(0)
        seen = await whole(store, pen.id)
    await harness.crash()
    kept = await whole(harness.store, pen.id)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert kept[: len(seen)] == seen


async def _append(store: Store, pen: Pen, text: str) -> None:
    await store.append([pen.say(text)])


async def admission_is_fair(store: Store) -> None:
    """Fairness: by rank within the person, then age; many questions buy no place."""
    users = ["A"] * 50 + ["B"] * 3 + ["C"]
    asked = {(await ask(store, user)).id: user for user in users}
    limits = RunLimits(running_max=4, running_per_user_max=2)
    picked = await store.admit(limits)
    assert [asked[request_id] for request_id in picked] == ["A", "B", "C", "A"]
    assert picked == [*_first(asked, "A", "B", "C"), _second(asked, "A")]


def _first(asked: dict[str, str], *users: str) -> list[str]:
    return [next(key for key, of in asked.items() if of == user) for user in users]


def _second(asked: dict[str, str], user: str) -> str:
    return [key for key, of in asked.items() if of == user][1]


async def a_request_is_claimed_once(store: Store) -> None:
    """Claim: however many workers hear of it, one gets it."""
    request = await ask(store)
    await store.admit(RUN)
    claims = await asyncio.gather(*(store.claim(request.id, f"w{n}", 30) for n in range(16)))
    won = [claim for claim in claims if claim is not None]
    assert len(won) == 1
    assert won[0].request.attempt == 1
    assert (await sound(store, request.id)).attempt == 1


async def terminal_is_final(store: Store) -> None:
    """Finality: neither a reaper nor a late cancel, claim, append or second end changes an end."""
    pen = await begin(store, lease_s=LAPSED_S)
    await store.cancel(pen.id)
    row, log = await store.request(pen.id), await whole(store, pen.id)
    for dead in (False, True):
        assert await store.reap(always_again, dead=dead) == []
        assert await store.reap(always_fail, dead=dead) == []
    await store.admit(RUN)
    assert await store.claim(pen.id, "other", 30) is None
    assert (await store.cancel(pen.id)).status is Status.CANCELLED
    assert await store.append([pen.say("late")]) == [False]
    assert not await store.finish(*pen.end())
    assert await store.request(pen.id) == row
    assert await whole(store, pen.id) == log
    await sound(store, pen.id)


async def cancel_and_finish_have_one_winner(store: Store, rounds: int) -> None:
    """Racing: the row, the log's last event, the message and both callers agree who won."""
    for round_ in range(rounds):
        pen = await begin(store)
        await store.append([pen.say("so far")])
        last, ending = pen.end()
        finish, cancel = store.finish(last, ending), store.cancel(pen.id)
        if round_ % 2:
            finished, row = await asyncio.gather(finish, cancel)
        else:
            row, finished = await asyncio.gather(cancel, finish)
        assert row.status is (Status.COMPLETED if finished else Status.CANCELLED)
        assert (await sound(store, pen.id)).text() == "so far"
        messages = await store.messages(pen.chat_id, "ann")
        assert messages[-1].text == "so far"
