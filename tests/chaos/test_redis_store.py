"""The shape with Redis as the store: the server killed, and Redis itself killed, under answers."""

import asyncio

import pytest

from tests import valkeys
from tests.world.world import World

SHARED = {"lease_s": 4, "reap_s": 0.5}
ANSWER = {"chunks": 60, "rate": 20}
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
