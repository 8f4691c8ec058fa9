"""Many machines: servers and Celery workers in processes of their own, and each fault of the table.

Leases are 4 s here instead of 30, so that bounds which depend on them are a few seconds.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from itertools import pairwise
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from perdure.queues.celery import TASK, CeleryQueue
from perdure.reconcile import UNDELIVERED_S
from tests.upstream import Script, text_of
from tests.world.agents import LAST_WORDS
from tests.world.api import JSON, Api, question
from tests.world.cluster import Cluster, WorkerProcess
from tests.world.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
TAKEN_OVER_S = 4 + 1 + 10
"""A lease, two looks of the reaper, and a slow machine."""
BLIND_S = 2.0
"""How often readers look by themselves, at least."""
EXIT_S = 15.0
SLOW = {"chunks": 120, "rate": 20}
NO_ROOM = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE 'No space left on device' USING ERRCODE = 'disk_full';
END $$
"""
FULL = "CREATE TRIGGER no_room BEFORE INSERT ON segment FOR EACH ROW EXECUTE FUNCTION no_room()"
"""What PostgreSQL says when it cannot write any more, for as long as the function is there."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory):
    """Start two servers and two workers for all tests of this module."""
    poison = {"handler": "python", "module": "tests.world.agents:poison", "attempts_max": 2}
    folder = tmp_path_factory.mktemp("cluster")
    agents = {"poison": poison}
    async with Cluster(
        folder, random.Random(0), bus="redis", own_database=True, agents=agents
    ) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared, rng):
    await shared.begin(rng)
    yield shared
    await shared.rest()


async def ask_many(world, count, **more):
    """Ask, follow each by some transport, and wait until all of them are being produced."""
    names = [f"{more.pop('name', 'q')} {n} {world.rng.random()}" for n in range(count)]
    asked = [await world.ask({"name": name, **SLOW, **more}) for name in names]
    for request_id in asked:
        world.follow(world.rng.choice(["sse", "ws", "poll"]), request_id)
    for name in names:
        await world.called(name, within_s=30)
    return asked


async def runners(world, count):
    """Return the database's own word on who runs: worker id by request."""
    rows = await world.rows("SELECT id, worker_id FROM request WHERE status = 'streaming'")
    assert len(rows) == count
    return dict(rows)


async def test_answers_of_workers_are_whole_at_every_server(world):
    """The whole way: accepted here, run there, read anywhere, by all transports."""
    for n in range(12):
        request_id = await world.ask({"name": f"whole {n}", "chunks": 40, "rate": 20})
        for kind in ("sse", "ws", "poll"):
            world.follow(kind, request_id, fickle=bool(n % 2))
    logs = await world.judge_complete()
    assert all(log.attempts == 1 for log in logs.values())


async def test_work_spreads_over_the_workers(world):
    """All of them take from one queue, and none takes more than it has slots for."""
    await ask_many(world, 16)
    assert len(set((await runners(world, 16)).values())) == 2
    await world.judge_complete()


async def test_what_a_killed_worker_was_answering_is_answered_by_another(world):
    """`kill -9` of a worker: what was shown stands, the lease lapses, the other one goes on."""
    await ask_many(world, 8)
    killed = time.monotonic()
    await world.workers[0].kill9()
    logs = await world.judge_complete()
    assert time.monotonic() - killed < TAKEN_OVER_S + 6 + 10
    assert {log.attempts for log in logs.values()} <= {1, 2}
    assert any(log.attempts == 2 for log in logs.values()), "the kill hit nobody"


async def test_a_worker_that_was_frozen_past_its_lease_writes_nothing_more(world):
    """SIGSTOP, take-over, SIGCONT: the zombie finds its claims gone and stops quietly."""
    asked = await ask_many(world, 8)
    frozen = world.workers[1]
    frozen.signal(signal.SIGSTOP)

    async def taken_over():
        lost = "SELECT count(*) FROM request WHERE crashes > 0 AND id = ANY($1)"
        return (await world.rows(lost, asked))[0][0]

    await eventually(taken_over, within_s=TAKEN_OVER_S, what="leases lapse")
    frozen.signal(signal.SIGCONT)
    logs = await world.judge_complete()
    assert any(log.attempts == 2 for log in logs.values())
    assert frozen.running, "a process that was only frozen goes on"


async def test_a_worker_that_is_told_to_stop_hands_over_and_leaves_in_time(world):
    """SIGTERM: grace, then hand-over; no crash is counted and nobody sees a false end."""
    asked = await ask_many(world, 8)
    assert await world.workers[0].stop() < 15
    logs = await world.judge_complete()
    assert any(log.attempts == 2 for log in logs.values()), "nothing was handed over"
    counted = "SELECT max(crashes) FROM request WHERE id = ANY($1)"
    assert (await world.rows(counted, asked))[0][0] == 0


async def test_a_broker_that_is_killed_and_comes_back_empty_loses_no_question(world):
    """Running answers do not notice; what was queued there is delivered again."""
    await ask_many(world, 4)
    await world.lose_broker()
    waiting = [await world.ask({"name": f"late {n}", "chunks": 5}) for n in range(6)]
    await world.empty_broker()
    for request_id in waiting:
        world.follow("sse", request_id)
    logs = await world.judge_complete()
    assert all(log.attempts == 1 for log in logs.values())


async def test_a_delivery_that_comes_twice_runs_once(world):
    """Guard: the claim; each id is sent to both workers again and again."""
    queue = CeleryQueue(f"{world.broker.connection_url}/0", "perdure")
    asked = await ask_many(world, 6)
    for _ in range(10):
        for request_id in asked:
            await asyncio.to_thread(queue.app.send_task, TASK, (request_id,))
    logs = await world.judge_complete()
    assert all(log.attempts == 1 for log in logs.values())
    assert len(world.upstream.calls) == 6
    await queue.close()


async def test_a_server_killed_right_after_it_accepted_leaves_the_answer_running(world):
    """`kill -9` of an API process: its readers come back elsewhere, workers do not notice.

    Nor do they notice its next start. Guard: only who has the store alone takes over at once.
    """
    long = (await world.api.ask({"name": "long", "chunks": 2000, "rate": 20}))["request_id"]
    await world.called("long")
    asked = await ask_many(world, 6)
    await world.servers[1].kill9()
    for reader in asked:
        world.follow("sse", reader).url = world.server.url
    for task in world.followers[:6]:
        task.cancel()  # readers at the dead server have nowhere to come back to
    world.followers = world.followers[6:]
    await world.servers[1].start(within_s=90)
    row = "SELECT status, attempt, crashes FROM request WHERE id = $1"
    assert await world.rows(row, long) == [("streaming", 1, 0)], "a start took it over"
    await world.api.cancel(long)
    logs = await world.judge_complete()
    assert all(log.attempts == 1 for log in logs.values())


async def test_a_call_whose_server_was_killed_gets_its_answer_by_the_clients_own_retry(world):
    """Guards: `retries.held`, `retries._orphaned`. The official client sends no key with it."""
    other, killed = world.servers

    async def elsewhere(request: Any) -> None:
        if not killed.running:
            request.url = request.url.copy_with(port=other.port)

    script: JSON = {"name": "held", **SLOW}
    http = openai.DefaultAsyncHttpxClient(event_hooks={"request": [elsewhere]})
    async with openai.AsyncOpenAI(
        base_url=f"{killed.url}/v1", api_key="none", http_client=http
    ) as client:
        create = client.responses.create(model="scripted", input=json.dumps(script))
        call = asyncio.create_task(create)
        note = "SELECT request_id FROM idempotency WHERE key LIKE '%held %'"
        noted = await eventually(lambda: world.rows(note), within_s=20, what="the call is held")
        await killed.kill9()
        response = await call
    assert [(response.id,)] == noted
    assert response.output_text == text_of(Script(**script))
    assert len(world.calls("held")) == 1, "the agent was asked twice"


async def test_a_server_that_dies_between_the_commit_and_the_delivery_loses_no_question(world):
    """The reply is lost, the question is not: it runs within 10 s, and asking again finds it."""
    dying = world.another_server("dying", sabotage="die-undelivered")
    script = {"name": "undelivered", "chunks": 5}
    try:
        await dying.start()
        api = Api(dying.url)
        with pytest.raises(httpx.HTTPError):
            await api.post_question(question(script), key="undelivered")
        died = time.monotonic()
        await api.http.aclose()
    finally:
        dying.end()
    await world.ask_surely(script, "undelivered")
    await world.called("undelivered", within_s=UNDELIVERED_S + 8)
    assert time.monotonic() - died < UNDELIVERED_S + 8
    await world.judge_complete()
    assert len(world.calls("undelivered")) == 1
    assert len(await world.rows("SELECT 1 FROM idempotency WHERE key = 'undelivered'")) == 1


async def test_a_question_that_kills_each_worker_fails_and_keeps_what_was_said(world):
    """Guard: `attempts_max`; else one question would take down worker after worker for ever."""
    request_id = await world.ask({"name": "poison"}, agent_id="poison")
    world.follow("sse", request_id)
    ended = await world.api.ended(request_id, within_s=2 * TAKEN_OVER_S + 20)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "worker_lost")
    assert ended["partial_response"] == LAST_WORDS
    assert not any(worker.running for worker in world.workers), "it was to kill two of them"
    assert [log.attempts for log in (await world.judge()).values()] == [2]


async def test_while_the_bus_is_dead_readers_lag_two_seconds_at_most(world):
    """Guard: readers look by themselves; a steady answer shows no gap longer than that."""
    world.bus.stop()
    try:
        asked = [await world.ask({"name": f"dumb {n}", "chunks": 80, "rate": 10}) for n in range(4)]
        for request_id in asked:
            for server in world.servers:
                world.follow("sse", request_id).url = server.url
        await world.judge_complete()
    finally:
        world.bus.start()
    gaps = [
        later.at - earlier.at
        for record in world.records
        for earlier, later in pairwise(record.shown)
    ]
    assert max(gaps) < BLIND_S + 1.5, "1.5 s for a slow machine"
    assert max(gaps) > 0.5, "the bus was not dead at all"


@pytest.mark.parametrize(
    "kill", [pytest.param(False, marks=pytest.mark.soak), True], ids=["stopped", "killed"]
)
async def test_a_database_that_is_away_for_a_while_costs_nothing_that_was_shown(world, kill):
    """Running answers wait and go on, or are taken over; questions are asked again till it is back.

    Guards: the journal insists; the lease is judged by the server's clock; one sentence a failure.
    """
    asked = await ask_many(world, 10, name=f"away {kill}")
    for request_id in asked:
        await world.api.shown(request_id, 20)
    began = time.monotonic()
    await world.lose_database(kill=kill)
    late = asyncio.create_task(
        world.ask_surely({"name": f"late {kill}", "chunks": 5}, f"late {kill}", within_s=60)
    )
    await asyncio.sleep(2)  # the fault itself
    await world.start_database()
    back = time.monotonic()
    world.follow("ws", await late)
    logs = await world.judge_complete()
    assert time.monotonic() - back < TAKEN_OVER_S + (back - began) + 20
    assert any(log.attempts == 1 for log in logs.values()), "none waited, all were begun again"
    said = "".join(process.story(200_000) for process in world.processes)
    assert "stopped: PostgreSQL could not append" not in said, "a run gave up within 20 s"
    assert "Traceback" not in said


async def test_while_the_database_has_no_room_answers_wait_and_questions_are_refused(world):
    """Its own word for a full disk: nothing is half stored, and all goes on when there is room.

    Guards: the journal insists; whoever asks meanwhile is told so and not made to wait.
    """
    asked = await ask_many(world, 4, name="no room")
    for request_id in asked:
        await world.api.shown(request_id, 20)
    await world.rows(NO_ROOM)
    await world.rows(FULL)
    try:
        response = await world.api.post_question(question({"name": "refused"}))
        await asyncio.sleep(1.5)  # the fault itself
    finally:
        await world.rows("DROP FUNCTION no_room CASCADE")
    assert (response.status_code, response.json()["code"]) == (503, "disk_full")
    logs = await world.judge_complete()
    assert [log.attempts for log in logs.values()] == [1] * 4
    assert not world.calls("refused")


async def test_a_rolling_restart_of_everything_under_load_loses_nothing(world):
    """A hundred running answers; all processes stop and start, a worker and a server at a time."""
    asked = await ask_many(world, 100, name="roll", chunks=140, rate=10)
    left: list[float] = []
    for two in zip(world.workers, world.servers, strict=True):
        left += await asyncio.gather(*(process.stop() for process in two))
        await asyncio.gather(*(process.start() for process in two))
    assert max(left) < EXIT_S, left
    logs = await world.judge_complete()
    assert any(log.attempts > 1 for log in logs.values()), "nobody was handed over"
    crashed = "SELECT count(*) FROM request WHERE crashes > 0 AND id = ANY($1)"
    assert await world.rows(crashed, asked) == [(0,)]
    assert all(log.attempts <= 3 for log in logs.values()), "a worker each, at most"


async def test_a_cancel_reaches_the_worker_in_another_process(world):
    """The store ends it at once; the bus tells the worker, which closes the upstream call."""
    (request_id,) = await ask_many(world, 1, name="stop", chunks=2000)
    call = world.upstream.calls[-1]
    ended = await world.api.http.post(f"/api/requests/{request_id}/cancel")
    assert ended.json()["status"] == "cancelled"
    await world.closed(call, within_s=10)
    assert call.closed_by == "client"
    await world.judge()


async def test_celery_s_own_command_starts_the_same_worker(world, tmp_path):
    """`celery -A perdure.worker worker`: the forced configuration holds, whatever is typed."""
    for worker in world.workers:
        await worker.stop()
    other = WorkerProcess(tmp_path, world.server.config, "celery")
    try:
        await other.start_by_celery("-c", "20", "--prefetch-multiplier", "8", "--loglevel", "info")
        await ask_many(world, 10)
        assert len(set((await runners(world, 10)).values())) == 1
        assert "20 (thread)" in other.story()
        await other.stop()
        for worker in world.workers:
            await worker.start()
        await world.judge_complete()
    finally:
        other.end()
