"""Two hundred readers attach at random instants to one fast answer: each gets exactly its log."""

import asyncio
import itertools

import pytest

from tests.world.readers import SseReader
from tests.world.records import Record
from tests.world.world import World, whole

pytest_plugins = ["tests.world.fixtures"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

READERS = 200
ANSWER = {"name": "fast", "chunks": 1500, "rate": 500}
SPREAD_S = 3.5
KINDS = ("sse", "ws", "sse", "ws log", "poll", "long poll")


def bare(world, request_id):
    """Return an SSE client whose connection the test opens and reads itself."""
    return SseReader(world.server.url, Record(request_id, "bare"))


async def attach_later(world, request_id, kind, *, fickle=False):
    """Attach at a random instant before, while and after the answer runs; follow to the end."""
    await asyncio.sleep(world.rng.uniform(0, SPREAD_S))
    reader = world.reader(kind, request_id, fickle=fickle)
    await reader.follow(within_s=40)
    return reader.record


@pytest.mark.timeout(120)
async def test_two_hundred_readers_of_three_transports_get_identical_logs(world):
    """Promises 4 and 9. Guard: a reader is a cursor into one log."""
    request_id = await world.ask(ANSWER)
    kinds = itertools.islice(itertools.cycle(KINDS), READERS)
    records = await asyncio.gather(*(attach_later(world, request_id, kind) for kind in kinds))
    log = (await world.judge_complete())[request_id]
    call = world.calls("fast")[0]
    assert call.closed_at - call.began_at < 6, "that was no fast answer"
    whole_logs = [record for record in records if record.after == -1 and record.shown]
    assert len(whole_logs) >= READERS // 3
    assert {len(record.shown) for record in whole_logs} == {len(log.events)}
    last = {record.partials[-1].text for record in records if record.partials}
    assert last == {whole(ANSWER)}
    late = [record for record in records if record.windows and len(record.shown) > 1]
    assert len(late) >= READERS // 3


@pytest.mark.timeout(120)
async def test_forty_readers_that_keep_losing_the_line_get_identical_logs(world):
    """Promise 4, over any number of re-attachments, cut in the middle of frames."""
    request_id = await world.ask({**ANSWER, "chunks": 1000})
    kinds = itertools.islice(itertools.cycle(("sse", "ws", "ws log")), 40)
    records = await asyncio.gather(
        *(attach_later(world, request_id, kind, fickle=True) for kind in kinds)
    )
    await world.judge_complete()
    drops = [window for one in records for window in one.windows if window.ended == "dropped"]
    assert len(drops) > 40


async def test_windows_that_the_server_ends_for_a_proxys_sake_lose_and_double_nothing(
    tmp_path, rng
):
    """Contract §4, `stream_max_s`: a window ends without a terminal event; clients re-attach."""
    async with World(tmp_path, rng, top={"stream_max_s": 0.5}) as world:
        request_id = await world.ask({"name": "windows", "chunks": 400, "rate": 150})
        readers = [world.follow(kind, request_id) for kind in ("sse", "ws", "ws log")]
        await world.judge_complete()
        assert len(readers[0].record.windows) >= 3, readers[0].record.windows


async def test_a_silent_answer_sends_comments_so_that_nobody_thinks_the_line_dead(tmp_path, rng):
    """Contract §4: keep-alives. Guard: `keepalive_s`."""
    async with World(tmp_path, rng, top={"keepalive_s": 0.5}) as world:
        request_id = await world.ask({"name": "slow", "ttft_s": 3})
        response = await bare(world, request_id).open(-1)
        seen = b"".join([block async for block in response.blocks()])
        await response.close()
        comments = [frame for frame in seen.split(b"\n\n") if frame.startswith(b":")]
        assert len(comments) >= 3
        assert response.ended == "whole"
        await world.judge_complete()


async def test_a_cursor_at_the_end_of_a_finished_log_is_answered_with_204(world):
    """Contract §4: nothing follows, and EventSource stops asking."""
    request_id = await world.ask({"name": "over"})
    ended = await world.api.ended(request_id)
    response = await bare(world, request_id).open(ended["sequence_number"])
    assert response.status == 204
    response.drop()
    replay = (await world.judge_complete())[request_id]
    assert len(replay.events) == ended["sequence_number"] + 1


async def test_the_header_wins_over_the_query_as_a_reconnecting_browser_needs(world):
    """Contract §4: `Last-Event-ID` wins over `?after=`. Guard: the cursor rule."""
    request_id = await world.ask({"name": "both", "chunks": 100, "rate": 200})
    await world.api.ended(request_id)
    path = f"/api/requests/{request_id}/stream?after=1"
    whole_rest = await world.api.http.get(path, headers={"Last-Event-ID": "4"})
    assert whole_rest.text.lstrip().startswith("id: 5\n") or "\nid: 5\n" in whole_rest.text
    assert "id: 2\n" not in whole_rest.text
    by_query = await world.api.http.get(path)
    assert "id: 2\n" in by_query.text
    assert "id: 1\n" not in by_query.text
    await world.judge_complete()
