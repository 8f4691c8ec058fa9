"""The shape with Redis as the store: server, workers and Redis itself killed, under answers."""

import asyncio
import random

import pytest

from tests import valkeys
from tests.world.api import Api, question
from tests.world.cluster import Cluster
from tests.world.waiting import room_in_a_minute
from tests.world.world import World

SHARED = {"lease_s": 4, "reap_s": 0.5}
ANSWER = {"chunks": 60, "rate": 20}
RATE = 12
KINDS = ["sse", "ws", "ws log", "poll", "long poll"]


async def ask_all(world):
    """Ask one question for each kind of reader and follow it; return when all are under way."""
    for kind in KINDS:
        request_id = await world.ask_surely({"name": kind, **ANSWER}, key=kind)
        world.follow(kind, request_id, fickle=True, within_s=90)
    await asyncio.gather(*(world.api.shown(one, 10) for one in world.accepted))


@pytest.mark.timeout(180)
async def test_answers_survive_a_kill_of_the_server(tmp_path, rng):
    """Promises 1, 2, 3, 4 and 7 on Redis: taken over when the lease is over, logs exact."""
    async with (
        valkeys.fresh() as url,
        World(tmp_path, rng, top={**SHARED, "store_url": url}) as world,
    ):
        await ask_all(world)
        await world.server.kill9()
        await world.server.start()
        logs = await world.judge_complete(within_s=90)
        assert max(log.attempts for log in logs.values()) > 1


@pytest.mark.timeout(180)
async def test_answers_survive_a_kill_of_redis(tmp_path, rng):
    """Promise 3 with the append-only file: appends wait, nothing shown is taken back."""
    with valkeys.another(tmp_path / "valkey") as server:
        url = f"{server.connection_url}/0"
        async with World(tmp_path, rng, top={**SHARED, "lease_s": 30, "store_url": url}) as world:
            await ask_all(world)
            server = await asyncio.to_thread(valkeys.kill_and_start, server)  # noqa: PLW2901
            try:
                logs = await world.judge_complete(within_s=90)
                assert max(log.attempts for log in logs.values()) == 1, "a lease was lost"
            finally:
                server.terminate()


@pytest.mark.timeout(180)
async def test_many_machines_on_redis_outlast_a_worker_and_share_their_rates(tmp_path, rng):
    """Celery workers and two servers on one Redis store; `kill -9` of a worker under answers.

    Guards: the lease and the fence of the store's scripts; the rates that a Redis bus counts for
    all servers together. Promises 1, 2, 3, 4 and 7 are judged from the readers' records.
    """
    limits = {"requests_per_minute_per_user": RATE}
    async with Cluster(
        tmp_path, random.Random(0), store="redis", bus="redis", users=True, limits=limits
    ) as world:
        await world.begin(rng)
        for n in range(8):
            name = f"answer {n}"
            request_id = await world.ask({"name": name, "chunks": 120, "rate": 20})
            world.follow(rng.choice(KINDS), request_id, fickle=True, within_s=90)
            await world.called(name)
        await world.workers[0].kill9()
        await no_more_than_the_rate(world)
        logs = await world.judge_complete(within_s=90)
        assert {log.attempts for log in logs.values()} == {1, 2}, "half of them were hit"


async def no_more_than_the_rate(world):
    """Ask at both servers in turn; alone each of them would take as many as both together may."""
    apis = [Api(server.url, user="bob") for server in world.servers]
    await room_in_a_minute()
    asked = [
        await apis[n % 2].post_question(question({"name": f"bob {n}", "chunks": 1}))
        for n in range(RATE + 4)
    ]
    codes = [response.status_code for response in asked]
    assert codes == [202] * RATE + [429] * 4
    assert int(asked[-1].headers["retry-after"]) > 0
    for api in apis:
        await api.http.aclose()
