"""SIGTERM with answers under way and streams open: out in time, nobody sees a false end."""

import asyncio
import signal

from tests.world.waiting import eventually
from tests.world.world import World, whole

RUNNING = 20
EXIT_S = 15


async def test_twenty_answers_and_their_streams_survive_a_drain_and_end_well_after_it(
    tmp_path, rng
):
    """Promises 2, 4; design §4, drain. Guard: hand-over, bodies aborted and never ended."""
    async with World(tmp_path, rng, agent={"attempts_max": 1}) as world:
        readers = []
        for number in range(RUNNING):
            request_id = await world.ask({"name": f"d{number}", "chunks": 300, "rate": 60})
            readers.append(world.follow(("sse", "ws")[number % 2], request_id))
        for request_id in world.accepted:
            await world.api.shown(request_id, 50)
        took = await world.server.stop(within_s=30)
        assert took <= EXIT_S
        await asyncio.gather(*(told_to_come_back(reader) for reader in readers))
        await world.server.start()
        await world.judge_complete()
        attempts = [(await world.api.request(one))["attempt"] for one in world.accepted]
        assert max(attempts) > 1, "no answer was handed over"


async def told_to_come_back(reader):
    """The window that the drain ended was cut (SSE) or closed with 1012 (WebSocket)."""

    async def windows():
        return reader.record.windows

    await eventually(windows, within_s=20, what="the stream ends")
    ended = reader.record.windows[0].ended
    assert ended == ("cut" if reader.record.name.startswith("sse") else "ws 1012"), ended
    assert not reader.record.over


async def test_four_drains_in_a_row_do_not_count_as_crashes(tmp_path, rng):
    """Design §4: hand-overs are not crashes, so a rolling deploy never fails a request."""
    script = {"name": "patient", "chunks": 20, "rate": 50, "stall_at": 10, "fail_times": 4}
    top = {"drain_grace_s": 0}
    async with World(tmp_path, rng, agent={"attempts_max": 2}, top=top) as world:
        request_id = await world.ask(script)
        for attempt in range(1, 5):
            await world.called("patient", count=attempt)
            await world.api.until(request_id, "streaming")
            await world.server.stop()
            await world.server.start()
        await world.judge_complete()
        assert (await world.api.request(request_id))["attempt"] == 5


async def test_a_short_answer_ends_within_the_grace_and_is_not_begun_again(tmp_path, rng):
    """Design §4: let short runs finish within the grace."""
    script = {"name": "short", "chunks": 50, "rate": 50}
    async with World(tmp_path, rng, top={"drain_grace_s": 6}) as world:
        request_id = await world.ask(script)
        await world.api.shown(request_id, len(whole(script, 5)))
        world.server.signal(signal.SIGHUP)  # what a closed terminal sends drains as well
        assert await world.server.gone(30) <= EXIT_S
        await world.server.start()
        ended = await world.api.request(request_id)
        assert (ended["status"], ended["attempt"]) == ("completed", 1)
        await world.judge_complete()
        assert len(world.calls("short")) == 1


async def test_open_streams_of_idle_readers_never_delay_the_exit(tmp_path, rng):
    """Design §4: readers that follow a silent answer do not hold the process."""
    async with World(tmp_path, rng, top={"drain_grace_s": 0}) as world:
        request_id = await world.ask({"name": "mute", "ttft_s": 600})
        await world.called("mute")
        readers = [world.follow(kind, request_id) for kind in ("sse", "ws", "long poll") * 10]
        assert len(readers) == 30
        await asyncio.gather(*(attached(reader) for reader in readers))
        assert await world.server.stop() <= 5
        await world.server.start()
        assert (await world.api.cancel(request_id))["status"] == "cancelled"
        await world.judge()


async def attached(reader):
    async def told():
        return reader.record.shown or reader.record.partials

    await eventually(told, within_s=10, what="the reader is attached")
