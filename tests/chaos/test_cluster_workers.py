"""The workers of a cluster: what they may run at once, in which order, and how sick ones leave.

Two workers with two slots each; nothing else says how much may run.
"""

from __future__ import annotations

import asyncio
import random
import time

import pytest
import pytest_asyncio
import redis

from perdure.queues.celery import ECHO, TASK, CeleryQueue
from perdure.worker import LATE_EXIT
from tests.world.agents import LAST_WORDS
from tests.world.api import question
from tests.world.cluster import Cluster
from tests.world.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
SLOTS = 4
WAITING_MAX = 200
EXIT_S = 15.0
REFUSES_S = 4.0
ONE_ANSWER = {"chunks": 15, "rate": 15}
"""About a second."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory):
    stuck = {"handler": "python", "module": "tests.world.agents:stuck", "attempts_max": 1}
    async with Cluster(
        tmp_path_factory.mktemp("cluster"),
        random.Random(0),
        users=True,
        worker={"running_max": SLOTS // 2},
        limits={"queued_per_user_max": WAITING_MAX},
        agents={"stuck": stuck},
    ) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared, rng):
    await shared.begin(rng)
    yield shared
    await clear(shared)
    await shared.rest()


async def clear(world):
    """Stop whatever a test left waiting or running."""
    for user in ("alice", "bob", "carol"):
        api = world.api_of(user)
        left = await world.rows(
            "SELECT id FROM request WHERE status IN ('queued', 'streaming') AND user_id = $1", user
        )
        for (request_id,) in left:
            await api.cancel(request_id)


async def ask_all(world, user, count, script):
    """Ask many questions, each in a chat of its own, eight at a time."""
    api, gate = world.api_of(user), asyncio.Semaphore(8)

    async def ask(number):
        async with gate:
            named = {"name": f"{user} {number}", **script}
            return await api.post_question(question(named))

    return await asyncio.gather(*(ask(number) for number in range(count)))


async def test_two_hundred_questions_of_one_delay_another_s_first_word_by_one_slot(world):
    """Guard: admission by rank and turn, and no more of it than workers have slots.

    With `limits.running_max` at its default of 500 all two hundred would lie in the broker, before
    the other one's: then it would wait for about fifty answers and not for one.
    """
    await world.rows("DELETE FROM turn")
    await ask_all(world, "alice", 200, {**ONE_ANSWER, "rate": 10})
    before = len(world.upstream.calls)
    began = time.monotonic()
    accepted = await world.api_of("bob").ask({"name": "bob", "chunks": 3})
    await world.called("bob", within_s=20)
    waited = time.monotonic() - began
    names = [call.script for call in world.upstream.calls[before:]]
    first = next(place for place, name in enumerate(names) if '"bob"' in name)
    assert first <= SLOTS, f"{first} answers of the other were begun before"
    assert waited < 8, "one answer is 1.5 s; the rest is for a slow machine"
    ended = await world.api_of("bob").ended(accepted["request_id"])
    assert ended["status"] == "completed"


async def test_never_more_is_admitted_than_the_workers_can_take(world):
    """Guard: the roll; looked at from the database's side all the time."""
    await ask_all(world, "alice", 24, ONE_ANSWER)
    active = (
        "SELECT count(*) FILTER (WHERE status = 'streaming' OR dispatched_at IS NOT NULL), count(*)"
        " FROM request WHERE status IN ('queued', 'streaming')"
    )
    seen = []

    async def all_over():
        ((running, left),) = await world.rows(active)
        seen.append(running)
        return left == 0

    await eventually(all_over, within_s=60, what="all are answered", every_s=0.05)
    assert max(seen) == SLOTS


async def test_full_workers_leave_the_rest_in_the_broker(world):
    """Guard: `worker_disable_prefetch`; else they would sit on what an idle one could begin.

    Each running question is delivered once more, which does no harm and shows who takes it.
    """
    await ask_all(world, "alice", SLOTS, {"chunks": 3000, "rate": 10})
    streaming = "SELECT id FROM request WHERE status = 'streaming'"

    async def full():
        found = await world.rows(streaming)
        return found if len(found) == SLOTS else None

    running = await eventually(full, within_s=20, what="all slots are taken")
    queue = CeleryQueue(f"{world.broker.connection_url}/0", "perdure")
    for (request_id,) in running:
        await asyncio.to_thread(queue.app.send_task, TASK, (request_id,))
    held, waiting = await asyncio.to_thread(look_at, queue.app)
    await queue.close()
    assert list(held.values()) == [[], []]
    assert waiting == SLOTS


def look_at(app):
    """Return what each worker holds and does not run, and how many messages nobody has taken."""
    for _ in range(3):  # a worker's answer says that it had the time to take what was there
        held = app.control.inspect(timeout=10, limit=2).reserved()
    with app.connection_for_write() as connection:
        return held, connection.default_channel.client.llen(app.conf.task_default_queue)


async def test_a_worker_that_leaves_takes_its_slots_with_it_and_a_new_one_brings_some(world):
    """What waits is told so, with its place, until somebody is there to answer it."""
    for worker in world.workers:
        await worker.stop()
    assert await world.rows("SELECT sum(slots) FROM worker WHERE slots > 0") == [(None,)]
    accepted = await world.api_of("carol").ask({"name": "patient", "chunks": 3})
    waiting = await world.api_of("carol").request(accepted["request_id"])
    assert (waiting["status"], waiting["queue_position"]) == ("queued", 1)
    assert await world.rows("SELECT count(*) FROM request WHERE dispatched_at IS NOT NULL") == [
        (0,)
    ]
    await asyncio.gather(*(worker.start() for worker in world.workers))
    ended = await world.api_of("carol").ended(accepted["request_id"])
    assert ended["status"] == "completed"


async def test_a_queue_s_cap_holds_whichever_servers_are_asked_at_once(world):
    """Guard: the cap is counted in the transaction that accepts, under one lock for all."""
    many = WAITING_MAX + SLOTS + 20
    answers = await ask_all(world, "alice", many, {"chunks": 400, "rate": 20})
    accepted = [answer for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert (len(accepted), len(refused)) == (WAITING_MAX + SLOTS, 20)
    assert refused[0].json()["code"] == "user_queue_full"
    assert int(refused[0].headers["retry-after"]) > 0


# How sick ones leave


async def test_a_broker_that_refuses_for_a_while_costs_no_worker(world):
    """Guard: `broker_channel_error_retry`. In a failover it answers, and takes nothing."""
    pids = [worker.pid for worker in world.workers]
    with redis.Redis.from_url(f"{world.broker.connection_url}/0") as broker:
        broker.replicaof("127.0.0.1", "1")
        await asyncio.sleep(REFUSES_S)  # why: workers have no port to ask whether they noticed
        broker.replicaof("NO", "ONE")
    accepted = [await world.api_of("carol").ask({"name": "late", "chunks": 3}) for _ in pids]
    for each in accepted:
        assert (await world.api_of("carol").ended(each["request_id"]))["status"] == "completed"
    assert not any("Unrecoverable" in worker.story() for worker in world.workers)
    assert [worker.pid for worker in world.workers] == pids


async def test_a_worker_that_hears_nothing_of_its_broker_leaves(world):
    """Guard: the echo. It is connected and answers its remote control, and consumes nothing."""
    worker = world.workers[0]
    await worker.stop()
    await worker.start(PERDURE_WORKER__SILENT_MAX_S="4")
    queue = CeleryQueue(f"{world.broker.connection_url}/0", "perdure")
    name = await asyncio.to_thread(deafen, queue.app, f"perdure-{worker.pid}@")
    assert name.startswith(f"{'perdure'}.{ECHO.rpartition('.')[2]}.")
    await worker.gone(30)
    assert "hears nothing of its broker" in worker.story()
    await queue.close()
    accepted = await world.api_of("carol").ask({"name": "heard", "chunks": 3})
    assert (await world.api_of("carol").ended(accepted["request_id"]))["status"] == "completed"


def deafen(app, hostname):
    """Tell a worker to consume none of its queues any more; return the name of its own one."""
    found = app.control.inspect(timeout=3).active_queues()
    ((node, queues),) = [(node, found[node]) for node in found if node.startswith(hostname)]
    names = [queue["name"] for queue in queues]
    for name in names:
        app.control.cancel_consumer(name, destination=[node])
    return max(names, key=len)


async def test_a_worker_whose_loop_is_stuck_leaves_in_time_when_it_is_told_to(world):
    """Guard: the timer beside the loop; what was said stays, and its lease tells the rest."""
    accepted = await world.api_of("carol").ask({"name": "stuck"}, agent_id="stuck")
    request_id = accepted["request_id"]
    await world.api_of("carol").shown(request_id, len(LAST_WORDS))
    ((worker_id,),) = await world.rows("SELECT worker_id FROM request WHERE id = $1", request_id)
    (held,) = [worker for worker in world.workers if worker_id in worker.story(20_000)]
    await asyncio.sleep(1)  # until the handler holds up the loop
    assert await held.stop() < EXIT_S
    assert held.child.returncode == LATE_EXIT
    assert "does not stop" in held.story()
    ended = await world.api_of("carol").ended(request_id, within_s=20)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "worker_lost")
    assert ended["partial_response"] == LAST_WORDS
