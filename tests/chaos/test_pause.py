"""SIGSTOP past the lease, then SIGCONT: the paused worker's answer still ends once, exact."""

import asyncio

from tests.world.world import World

LEASE_S = 2.0
PAUSE_S = 4.0


async def test_answers_paused_for_longer_than_their_lease_end_complete_and_exact(tmp_path, rng):
    """Promises 4, 7. Guard: the fence; whoever lost its lease cannot write under old numbers."""
    async with World(tmp_path, rng, top={"lease_s": LEASE_S, "reap_s": 0.5}) as world:
        for number in range(5):
            request_id = await world.ask({"name": f"p{number}", "chunks": 400, "rate": 100})
            for kind in ("sse", "ws", "poll"):
                world.follow(kind, request_id)
        for request_id in world.accepted:
            await world.api.shown(request_id, 50)
        world.server.pause()
        await asyncio.sleep(PAUSE_S)  # the fault itself: a pause as long as two leases
        world.server.resume()
        await world.judge_complete()


async def test_a_stop_sent_while_the_process_is_paused_holds_once_it_wakes(tmp_path, rng):
    """Promise 5: no late writer changes the text after the stop won."""
    script = {"name": "asleep", "chunks": 3000, "rate": 300}
    async with World(tmp_path, rng, top={"lease_s": LEASE_S, "reap_s": 0.5}) as world:
        request_id = await world.ask(script)
        world.follow("sse", request_id)
        call = await world.called("asleep")
        await world.api.shown(request_id, 50)
        world.server.pause()
        stop = asyncio.create_task(world.api.cancel(request_id))
        await asyncio.sleep(LEASE_S + 1)  # the fault itself
        world.server.resume()
        assert (await stop)["status"] == "cancelled"
        await world.closed(call, within_s=2)
        await world.judge()
