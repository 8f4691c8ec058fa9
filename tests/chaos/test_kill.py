"""kill -9 of the server in the middle of answers: what was shown stands, everything ends."""

import asyncio
import itertools
import time

import pytest

from tests.world.server import Server
from tests.world.waiting import eventually
from tests.world.world import World, whole

RUNNING = 20
RECOVERY_S = 2.0
KINDS = ["sse", "ws", "ws log", "poll", "long poll"]


def answer(name, rng):
    """Return a script of 0.7 to 4 seconds, so that kills hit beginnings, middles and ends."""
    return {"name": name, "chunks": rng.choice([30, 90, 150]), "rate": 40}


async def top_up(world, names):
    """Ask until 20 requests run or wait; each POST is repeated with its key through any kill."""
    states = await asyncio.gather(*(world.api.request(one) for one in world.accepted))
    alive = sum(state["status"] in ("queued", "streaming") for state in states)
    for name in itertools.islice(names, RUNNING - alive):
        request_id = await world.ask_surely(answer(name, world.rng), key=f"key {name}")
        world.follow(world.rng.choice(KINDS), request_id, fickle=True, within_s=900)


async def kill_in_the_middle(world):
    """Kill at a random instant; return the ids that were being answered then, as clients knew."""
    await asyncio.sleep(world.rng.uniform(0.05, 1.5))
    before = await asyncio.gather(*(world.api.request(one) for one in world.accepted))
    await world.server.kill9()
    return [state["id"] for state in before if state["status"] == "streaming"]


async def all_taken_up_again(world, running, since, calls_before):
    """Return the seconds after ready until each request that ran has a new upstream call."""
    names = {world.accepted[one]["script"]["name"]: one for one in running}

    async def recovered():
        fresh = world.upstream.calls[calls_before:]
        seen = {name for name in names if any(f'"{name}"' in call.script for call in fresh)}
        left = [one for name, one in names.items() if name not in seen]
        states = await asyncio.gather(*(world.api.request(one) for one in left))
        return all(state["status"] not in ("queued", "streaming") for state in states)

    await eventually(recovered, within_s=10, what="every request that ran is taken up again")
    return time.monotonic() - since


@pytest.mark.timeout(1200)
async def test_nothing_that_anybody_was_shown_changes_over_many_kills_under_twenty_answers(
    tmp_path, rng, soak
):
    """Promises 2, 3, 4. Guards: commit before show, numbers counted in the writing transaction."""
    kills, slowest = 50 if soak else 6, 0.0
    names = (f"q{number}" for number in itertools.count())
    async with World(tmp_path, rng) as world:
        for _ in range(kills):
            await top_up(world, names)
            running = await kill_in_the_middle(world)
            calls_before = len(world.upstream.calls)
            await world.server.start()
            took = await all_taken_up_again(world, running, world.server.ready_at, calls_before)
            slowest = max(slowest, took)
        logs = await world.judge_complete(within_s=120)
        assert max(log.attempts for log in logs.values()) > 1, "no kill hit a running answer"
        assert sum(len(record.shown) for record in world.records) > 100
        assert slowest <= RECOVERY_S, f"recovery began {slowest:.2f} s after ready"


async def test_a_kill_while_clients_are_between_two_windows_leaves_the_same_log_after_a_restart(
    tmp_path, rng
):
    """Promise 3: the log of a finished answer is byte for byte the same after a kill."""
    async with World(tmp_path, rng) as world:
        request_id = await world.ask({"name": "done", "chunks": 200})
        await world.api.ended(request_id)
        before = await world.api.log(request_id)
        await world.server.kill9()
        await world.server.start()
        assert (await world.api.log(request_id)).events == before.events
        await world.judge_complete()


async def test_a_request_that_kills_each_worker_fails_and_keeps_its_text(tmp_path, rng):
    """Promise 2. Guard: `attempts_max` counts lost workers, so that poison does not spin."""
    script = {"name": "poison", "chunks": 20, "rate": 100, "stall_at": 10}
    async with World(tmp_path, rng, agent={"attempts_max": 3}) as world:
        request_id = await world.ask(script)
        world.follow("sse", request_id)
        for attempt in range(1, 4):
            call = await world.called("poison", count=attempt)
            await shown_in(world, request_id, attempt, whole(script, 10))
            await world.server.kill9()
            await world.closed(call)
            await world.server.start()
        ended = await world.api.ended(request_id, within_s=10)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "worker_lost")
        assert ended["partial_response"] == whole(script, 10)
        assert len(world.calls("poison")) == 3
        log = (await world.judge())[request_id]
        assert log.end["type"] == "response.failed"


async def shown_in(world, request_id, attempt, text):
    """Wait until the given attempt shows a text."""

    async def there():
        status = await world.api.request(request_id)
        return status["attempt"] == attempt and status["partial_response"] == text

    await eventually(there, within_s=10, what=f"attempt {attempt} shows {len(text)} characters")


async def test_policy_fail_keeps_the_partial_says_so_and_offers_a_retry_that_works(tmp_path, rng):
    """Design §4, recovery policy `fail`."""
    script = {"name": "once", "chunks": 20, "rate": 100, "stall_at": 10, "fail_times": 1}
    async with World(tmp_path, rng, agent={"recovery": "fail"}) as world:
        request_id = await world.ask(script)
        world.follow("ws", request_id)
        await world.api.shown(request_id, len(whole(script, 10)))
        await world.server.kill9()
        await world.server.start()
        ended = await world.api.ended(request_id, within_s=5)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "interrupted")
        assert "interrupted" in ended["error"]["message"].lower()
        assert ended["partial_response"] == whole(script, 10)
        assert len(world.calls("once")) == 1, "a request that must not be repeated was"
        again = await world.api.retry(request_id)
        answer = await world.api.ended(world.remember(again, script))
        assert answer["final_response"] == whole(script)
        assert again["request_id"] != request_id
        await world.judge()


async def test_a_restart_opens_a_new_item_and_never_goes_on_under_the_old_one(tmp_path, rng):
    """Design §3: the abandoned item is closed as incomplete, the new one takes the next index."""
    script = {"name": "seam", "chunks": 20, "rate": 200, "stall_at": 10, "fail_times": 1}
    async with World(tmp_path, rng) as world:
        request_id = await world.ask(script)
        await world.api.shown(request_id, len(whole(script, 10)))
        await world.server.kill9()
        await world.server.start()
        log = (await world.judge_complete())[request_id]
        added = [event for event in log.parsed if event["type"] == "response.output_item.added"]
        assert [event["output_index"] for event in added] == [0, 1]
        closed = [event for event in log.parsed if event["type"] == "response.output_item.done"]
        assert [event["item"]["status"] for event in closed] == ["incomplete", "completed"]
        seams = [event for event in log.parsed if event["type"] == "response.in_progress"]
        assert len(seams) == 2
        assert seams[1]["response"]["output"], "an empty output makes SDK helpers throw"


async def test_kills_during_the_start_itself_cost_nothing_but_time(tmp_path, rng):
    """Promises 2, 3. Guard: taking over is one transaction; a half-done start is begun again."""
    async with World(tmp_path, rng) as world:
        for number in range(10):
            request_id = await world.ask({"name": f"s{number}", "chunks": 60, "rate": 40})
            world.follow(rng.choice(KINDS), request_id, fickle=True, within_s=60)
        for request_id in world.accepted:
            await world.api.shown(request_id, 20)
        await world.server.kill9()
        for _ in range(4):
            world.server.launch()
            await asyncio.sleep(rng.uniform(0.4, 2.5))  # the fault itself: dead before it is ready
            await world.server.kill9()
        await world.server.start()
        await world.judge_complete()


async def test_a_second_server_on_the_same_folder_refuses_and_leaves_the_first_alone(tmp_path, rng):
    """Design §4: one process per file. Guard: the file lock, without which both take over."""
    async with World(tmp_path, rng) as world:
        request_id = await world.ask({"name": "mine", "chunks": 250, "rate": 50})
        world.follow("sse", request_id)
        await world.api.shown(request_id, 20)
        second = Server(tmp_path, world.server.config.read_text("utf-8"), name="second")
        second.launch()
        await second.gone(20)
        assert second.child is not None
        assert second.child.returncode not in (0, None)
        assert "Another process" in second.story()
        assert (await world.api.request(request_id))["attempt"] == 1
        await world.judge_complete()
        assert len(world.calls("mine")) == 1
