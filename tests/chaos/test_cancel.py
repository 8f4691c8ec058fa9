"""Stop stops: at every instant, from anywhere, once, and for good."""

import asyncio
from collections import Counter

import pytest

from tests.world.readers import WsReader
from tests.world.records import Record
from tests.world.world import World, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLOSED_S = 1.0
RACES = 200


async def stopped(world, call, request_id):
    """Check the upstream's side and the text's side of a stop; return the request."""
    begun = asyncio.get_running_loop().time()
    await world.closed(call, within_s=CLOSED_S)
    assert call.closed_by == "client"
    assert asyncio.get_running_loop().time() - begun <= CLOSED_S
    return await world.api.request(request_id)


async def test_before_the_first_delta_the_upstream_is_closed_and_the_request_cancelled(world):
    """Promise 5. Known elsewhere: Stop during slow prompt processing does nothing."""
    request_id = await world.ask({"name": "silent", "ttft_s": 60})
    call = await world.called("silent")
    world.follow("sse", request_id)
    state = await world.api.cancel(request_id)
    assert state["status"] == "cancelled"
    ended = await stopped(world, call, request_id)
    assert ended["status"] == "cancelled"
    log = (await world.judge())[request_id]
    assert log.end["type"] == "response.failed"
    assert log.end["response"]["status"] == "cancelled"


async def test_before_the_head_of_the_upstreams_response_it_works_too(world):
    """Promise 5, while the upstream has not even answered with a status."""
    request_id = await world.ask({"name": "headless", "head_s": 60})
    call = await world.called("headless")
    assert (await world.api.cancel(request_id))["status"] == "cancelled"
    await stopped(world, call, request_id)
    await world.judge()


async def test_mid_answer_the_text_so_far_is_kept_and_never_grows_again(world):
    """Promise 5. Guard: cancel takes the claim away in the transaction that ends the log."""
    script = {"name": "half", "chunks": 2000, "rate": 200}
    request_id = await world.ask(script)
    for kind in ("sse", "ws", "poll", "long poll"):
        world.follow(kind, request_id)
    call = await world.called("half")
    await world.api.shown(request_id, 100)
    state = await world.api.cancel(request_id)
    assert state["status"] == "cancelled"
    ended = await stopped(world, call, request_id)
    assert ended["partial_response"] == state["partial_response"]
    assert len(ended["partial_response"]) >= 100
    assert whole(script).startswith(ended["partial_response"])
    other = await world.ask({"name": "later", "chunks": 200, "rate": 200})
    await world.api.ended(other)
    assert (await world.api.request(request_id)) == ended, "something changed after the stop"
    await world.judge()


async def test_a_device_that_remembers_nothing_stops_an_answer_through_its_chat(world):
    """Promise 5: after a reload, from another tab or device."""
    script = {"name": "elsewhere", "chunks": 2000, "rate": 100}
    request_id = await world.ask(script)
    call = await world.called("elsewhere")
    await world.api.shown(request_id, 50)
    other = world.fresh_api()
    chats = await other.get("/api/chats")
    found = chats["chats"][0]["running_request_id"]
    assert found == request_id
    assert (await other.cancel(found))["status"] == "cancelled"
    await stopped(world, call, request_id)
    chat = await other.chat(world.accepted[request_id]["chat_id"])
    assert chat["running_request_id"] is None
    await world.judge()


async def test_the_websocket_of_a_request_stops_it_with_one_message(world):
    """Contract §4: the client message `{"op":"cancel"}`."""
    request_id = await world.ask({"name": "socket", "chunks": 2000, "rate": 100})
    call = await world.called("socket")
    await world.api.shown(request_id, 50)
    stopper = WsReader(world.server.url, Record(request_id, "stopper"))
    async with stopper.connection(None) as connection:
        await connection.send('{"op":"cancel"}')
        await world.closed(call, within_s=5)
    assert (await world.api.ended(request_id))["status"] == "cancelled"
    await world.judge()


async def test_after_a_restart_a_running_answer_can_be_stopped(world):
    """Promise 5, when the worker that began is gone."""
    script = {"name": "reborn", "chunks": 4000, "rate": 100}
    request_id = await world.ask(script)
    await world.api.shown(request_id, 50)
    await world.server.kill9()
    await world.server.start()
    call = await world.called("reborn", count=2)
    assert (await world.api.cancel(request_id))["status"] == "cancelled"
    await stopped(world, call, request_id)
    await world.judge()


async def test_a_stop_survives_a_kill_right_after_its_answer(world):
    """Promise 3 for a stop: what 200 said is on the disk, and nothing restarts the answer."""
    request_id = await world.ask({"name": "stopped", "chunks": 2000, "rate": 100})
    await world.api.shown(request_id, 50)
    state = await world.api.cancel(request_id)
    await world.server.kill9()
    await world.server.start()
    after = await world.api.request(request_id)
    assert (after["status"], after["partial_response"]) == (
        "cancelled",
        state["partial_response"],
    )
    await world.judge()
    assert len(world.calls("stopped")) == 1


async def test_twice_says_the_same_twice_and_ends_the_log_once(world):
    """Contract §3: cancel is idempotent."""
    request_id = await world.ask({"name": "twice", "chunks": 2000, "rate": 100})
    await world.api.shown(request_id, 50)
    first, second = await asyncio.gather(world.api.cancel(request_id), world.api.cancel(request_id))
    third = await world.api.cancel(request_id)
    assert first == second == third
    assert first["status"] == "cancelled"
    await world.judge()


async def test_a_waiting_request_is_cancelled_without_ever_reaching_the_upstream(tmp_path, rng):
    """Promise 5, for a request that has not begun."""
    async with World(tmp_path, rng, limits={"running_max": 1}) as world:
        running = await world.ask({"name": "first", "chunks": 4000, "rate": 100})
        await world.called("first")
        waiting = await world.ask({"name": "second"})
        assert (await world.api.cancel(waiting))["status"] == "cancelled"
        assert (await world.api.cancel(running))["status"] == "cancelled"
        await world.judge()
        assert not world.calls("second")


@pytest.mark.timeout(120)
async def test_two_hundred_races_with_the_completion_have_one_winner_each(world):
    """Promise 5. Guard: one guarded update decides; the reply tells the state that won."""
    gate = asyncio.Semaphore(10)
    states = await asyncio.gather(*(race(world, gate, number) for number in range(RACES)))
    won = Counter(states)
    assert set(won) <= {"completed", "cancelled"}
    assert min(won["completed"], won["cancelled"]) >= 5, f"that was no race: {won}"
    await world.judge()


async def race(world, gate, number):
    """Ask for an answer of about 50 ms and stop it at about its end; return the state that won."""
    script = {"name": f"race{number}", "chunks": 5, "rate": 100}
    async with gate:
        request_id = await world.ask(script)
        world.follow(world.rng.choice(["sse", "ws", "poll"]), request_id)
        await asyncio.sleep(world.rng.uniform(0, 0.09))
        told = await world.api.cancel(request_id)
        stored = await world.api.request(request_id)
    assert told["status"] == stored["status"], "the reply did not tell the state that won"
    assert told["status"] in ("completed", "cancelled")
    return told["status"]
