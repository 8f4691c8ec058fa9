"""Two processes on one database: the rows decide, since no memory and no lock file can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest

from perdure.errors import Unavailable
from perdure.model import Status
from perdure.ports import NewMessage, RunLimits, Store
from perdure.stores.postgres import Access, PostgresStore, acceptance, admission
from perdure.stores.redis import Access as RedisAccess
from perdure.stores.redis import RedisStore
from tests import databases, valkeys
from tests.contract.stores import (
    LAPSED_S,
    LEASE_S,
    RUN,
    Pen,
    always_again,
    ask,
    begin,
    complete,
    question,
    sound,
    take,
)

ROUNDS = 20
OLD_S = 0.1
"""Age from which a delivery is due; what was just delivered is not due again for twice as long."""


SERVERS: dict[str, tuple[Any, Callable[[str], Store]]] = {
    "postgres": (databases, lambda url: PostgresStore(Access(url=url))),
    "redis": (valkeys, lambda url: RedisStore(RedisAccess(url=url))),
}


@pytest.fixture(params=SERVERS)
async def pair(request):
    """Open two stores on one empty database at the same instant: their migrations race, too."""
    server, made = SERVERS[request.param]
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(server.fresh())
        stores = [made(url) for _ in range(2)]
        await asyncio.gather(*(store.open() for store in stores))
        for store in stores:
            stack.push_async_callback(store.close)
        yield stores


async def test_two_processes_claim_a_request_once(pair):
    """Guard: the claim is conditional on `queued`, in one statement."""
    for _ in range(ROUNDS):
        request = await ask(pair[0])
        await pair[0].admit(RUN)
        tries = [pair[n % 2].claim(request.id, f"w{n}", LEASE_S) for n in range(6)]
        won = [claim for claim in await asyncio.gather(*tries) if claim is not None]
        assert len(won) == 1
        await complete(pair[1], Pen(won[0]))
        assert (await sound(pair[0], request.id)).attempt == 1


async def test_a_zombie_in_another_process_appends_nothing(pair):
    """Guard: the claim in every append; its number is right, its process alive, its claim old."""
    for _ in range(ROUNDS):
        zombie = await begin(pair[0], lease_s=LAPSED_S)
        await pair[0].append([zombie.say("mine ")])
        await pair[1].reap(always_again)
        owner = Pen(await take(pair[1], zombie.id))
        zombie.builder = Pen(owner.claim).builder
        mine, late = await asyncio.gather(
            pair[1].append([owner.say("right")]), pair[0].append([zombie.say("stale")])
        )
        assert (mine, late) == ([True], [False])
        assert not await pair[0].finish(*zombie.end())
        assert await pair[1].finish(*owner.end())
        assert (await sound(pair[0], zombie.id)).text() == "right"


async def test_a_renewal_and_a_take_over_of_the_other_process_have_one_winner(pair):
    """Guard: the reaper looks at the lease again once it holds the row."""
    for round_ in range(ROUNDS):
        pen = await begin(pair[0], lease_s=LAPSED_S)
        renewal = pair[0].renew({pen.id: pen.claim.claim_id}, LEASE_S)
        reap = pair[1].reap(always_again)
        steps = [renewal, reap] if round_ % 2 else [reap, renewal]
        done = await asyncio.gather(*steps)
        kept, reaped = done if round_ % 2 else reversed(done)
        assert bool(kept) != bool(reaped)
        assert await pair[0].append([pen.say("on")]) == [bool(kept)]
        await pair[0].cancel(pen.id)


async def test_a_finish_here_and_a_cancel_there_have_one_winner(pair):
    """Guard: both are conditional on the row; each side is told who won."""
    for round_ in range(2 * ROUNDS):
        pen = await begin(pair[0])
        await pair[0].append([pen.say("so far")])
        finish, cancel = pair[0].finish(*pen.end()), pair[1].cancel(pen.id)
        steps = [finish, cancel] if round_ % 2 else [cancel, finish]
        done = await asyncio.gather(*steps)
        finished, row = done if round_ % 2 else reversed(done)
        assert row.status is (Status.COMPLETED if finished else Status.CANCELLED)
        assert (await sound(pair[1], pen.id)).text() == "so far"


async def test_an_append_here_and_a_cancel_there_leave_no_gap(pair):
    """Guard: whoever ends a request holds its row while it reads the log that it ends."""
    for _ in range(2 * ROUNDS):
        pen = await begin(pair[0])
        pieces = [pen.say(f"{n} ") for n in range(4)]
        wrote, _ = await asyncio.gather(
            asyncio.gather(*(pair[0].append([piece]) for piece in pieces)),
            pair[1].cancel(pen.id),
        )
        kept = [good for (good,) in wrote]
        assert kept == sorted(kept, reverse=True)
        text = (await sound(pair[1], pen.id)).text()
        assert text == "".join(f"{n} " for n in range(sum(kept)))


only_postgres = pytest.mark.parametrize("pair", ["postgres"], indirect=True)
"""What switches off a lock of PostgreSQL's; Redis has none, see `test_controls_redis.py`."""


async def limit_holds(pair):
    """Check that what two processes accept and admit at once stays under one limit."""
    run = RunLimits(running_max=7, running_per_user_max=100)
    limits = msgspec.structs.replace(question().limits, run=run)
    for _ in range(5):
        asked = [question(f"u{n}", start=True, limits=limits) for n in range(20)]
        done = await asyncio.gather(*(pair[n % 2].accept(new) for n, new in enumerate(asked)))
        looks = await asyncio.gather(*(pair[n % 2].admit(run) for n in range(4)))
        picked = [one for each in (*(one.admitted for one in done), *looks) for one in each]
        assert len(picked) == len(set(picked)) == 7
        for new in asked:
            await pair[0].cancel(new.id)


async def test_two_processes_admit_under_one_limit(pair):
    """Guard: the admission lock, held from the look at the queue to the commit; see the control."""
    await limit_holds(pair)


@only_postgres
async def test_without_the_admission_lock_the_limit_is_passed(pair, monkeypatch):
    """Control: the check above can fail."""
    free = acceptance.DECIDING.replace(admission.LOCK_IF_FREE, "true")
    assert free != acceptance.DECIDING
    monkeypatch.setattr(acceptance, "DECIDING", free)
    monkeypatch.setattr(admission, "LOCK", "1")
    with pytest.raises(AssertionError):
        await limit_holds(pair)


@only_postgres
async def test_a_question_is_accepted_while_another_process_decides_who_may_run(pair):
    """Guard: the lock is taken only if it is free; else all questions of all wait in one line."""
    held, release = asyncio.Event(), asyncio.Event()

    async def decide(session):
        await session.one(f"SELECT {admission.LOCK}")
        held.set()
        await release.wait()

    deciding = asyncio.ensure_future(pair[1].db.write(decide))
    await held.wait()
    accepted = await asyncio.wait_for(pair[0].accept(question(start=True)), 5)
    assert (accepted.undecided, accepted.admitted) == (True, ())
    assert accepted.request.dispatched_at is None
    release.set()
    await deciding
    assert await pair[0].admit(RUN) == [accepted.request.id], "it waits for the next decision"


async def test_questions_accepted_by_two_processes_stay_under_one_queue(pair):
    """Guard: where the cap is near, counting and writing happen under one lock."""
    limits = msgspec.structs.replace(
        question().limits, queued_max=10, run=RunLimits(running_max=0, running_per_user_max=0)
    )
    asked = [question(f"u{n}", limits=limits) for n in range(40)]
    posts = [pair[n % 2].accept(new) for n, new in enumerate(asked)]
    done = await asyncio.gather(*posts, return_exceptions=True)
    assert sum(not isinstance(one, Exception) for one in done) == 10
    assert (await pair[0].counts())["queued"] == 10


async def test_a_key_sent_to_two_processes_makes_one_request(pair):
    """Guard: the key is taken before anything else is written."""
    posts = [question(idempotency_key="click", fingerprint="f") for _ in range(12)]
    done = await asyncio.gather(*(pair[n % 2].accept(new) for n, new in enumerate(posts)))
    assert len({one.request.id for one in done}) == 1
    assert [one.replayed for one in done].count(False) == 1
    assert (await pair[1].counts())["queued"] == 1


async def test_a_chat_written_by_two_processes_keeps_one_line_of_messages(pair):
    """Guard: the chat's row is held while a question finds its place in it."""
    chat_id = (await ask(pair[0])).chat_id
    await asyncio.gather(*(ask(pair[n % 2], chat_id=chat_id, text=f"{n}") for n in range(8)))
    parents = [message.parent_id for message in await pair[0].messages(chat_id, "ann")]
    assert len(set(parents)) == len(parents) == 18
    revisions = [chat.revision for chat in await pair[1].chats_since("ann", 0)]
    assert revisions == [await pair[0].revision("ann")]


async def name_holds(pair):
    for round_ in range(ROUNDS):
        posts = [question(client_chat_id=f"c{round_}") for _ in range(6)]
        done = await asyncio.gather(*(pair[n % 2].accept(new) for n, new in enumerate(posts)))
        (chat_id,) = {one.request.chat_id for one in done}
        assert len(await pair[0].messages(chat_id, "ann")) == 12


async def test_a_name_of_a_client_sent_to_two_processes_makes_one_chat(pair):
    """Guard: the name is taken before the chat is looked for; see the control below."""
    await name_holds(pair)


@only_postgres
async def test_without_the_lock_of_the_name_a_question_is_refused(pair, monkeypatch):
    """Control: the check above can fail; the index lets no second chat of that name in."""
    monkeypatch.setattr(acceptance, "LOCK_NAME", "SELECT $1::text, $2::text")
    with pytest.raises(Unavailable):
        await name_holds(pair)


async def test_a_webhook_is_taken_by_one_of_two_processes(pair):
    """Guard: due rows are locked, and the second one passes over them."""
    for _ in range(ROUNDS):
        await complete(pair[0], await begin(pair[0], notify=True))
        taken = await asyncio.gather(*(pair[n % 2].take_webhooks(60) for n in range(6)))
        assert sum(map(len, taken)) == 1


async def test_messages_taken_out_by_two_processes_leave_one_line(pair):
    """Guard: what a message followed is read while its chat is held."""
    chat = await pair[0].create_chat("ann", "guide", "t")
    line = [NewMessage(f"msg_{n}", "user", f"{n}") for n in range(12)]
    await pair[0].add_messages(chat.id, "ann", line)
    gone = [message.id for message in line[1:-1]]
    await asyncio.gather(*(pair[n % 2].drop_message(key, "ann") for n, key in enumerate(gone)))
    left = await pair[1].messages(chat.id, "ann")
    assert [(one.id, one.parent_id) for one in left] == [("msg_0", None), ("msg_11", "msg_0")]


async def test_one_reconciler_of_two_delivers_and_reaps(pair):
    """Guard: due rows are locked, and the second one passes over them."""
    for _ in range(ROUNDS):
        request = await ask(pair[0])
        await pair[0].admit(RUN)
        await asyncio.sleep(OLD_S)  # what is due is a matter of age
        found = await asyncio.gather(*(pair[n % 2].undelivered(OLD_S) for n in range(6)))
        assert sum(map(len, found)) == 1
        await take(pair[0], request.id, LAPSED_S)
        taken = await asyncio.gather(*(pair[n % 2].reap(always_again) for n in range(4)))
        assert sum(map(len, taken)) == 1
        assert (await pair[0].cancel(request.id)).crashes == 1


async def test_a_busy_day_of_two_processes_ends_without_a_deadlock(pair, rng):
    """Guard: one order of locks; every log is exact at the end of it."""
    people = ["ann", "bob"]
    chats = {user: (await ask(pair[0], user)).chat_id for user in people}

    async def person(user):
        for _ in range(12):
            store = pair[rng.randrange(2)]
            busy = rng.choice(["queue", "interrupt"])
            await ask(store, user, chat_id=chats[user], if_busy=busy, start=True)
            await store.mark_read(chats[user], user)

    async def worker(store):
        for _ in range(30):
            for request_id in [*await store.admit(RUN), *await store.undelivered(0)]:
                claim = await store.claim(request_id, "w", LAPSED_S if rng.random() < 0.2 else 30)
                if claim is not None:
                    pen = Pen(claim)
                    await store.append([pen.say("text")])
                    await store.finish(*pen.end())
            await store.reap(always_again)

    await asyncio.gather(*map(person, people), *map(worker, pair))
    for user in people:
        for request in (await pair[0].requests(user, limit=100))[0]:
            await sound(pair[1], request.id)
    if not isinstance(pair[0], PostgresStore):
        return
    counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert [tuple(row) for row in await pair[0].db.look(counted)] == [(0,)]
