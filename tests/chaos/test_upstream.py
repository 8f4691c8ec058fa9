"""An upstream that refuses, stalls, drops, lies or floods: a clear end, the partial kept."""

import itertools

import pytest

from tests.world.world import whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORLD = {
    "limits": {"answer_bytes_max": 300_000},
    "agents": {
        "keeping": {"recovery": "fail"},
        "thrice": {"attempts_max": 3},
        "hasty": {"retry_total_s": 2},
        "prompt": {"first_byte_timeout_s": 1, "retry_total_s": 0},
        "brisk": {"idle_timeout_s": 1, "recovery": "fail"},
        "brief": {"total_timeout_s": 1.5, "recovery": "fail"},
    },
}
TEN = 10


async def ended_of(world, script, **more):
    request_id = await world.ask(script, **more)
    world.follow("sse", request_id)
    world.follow("poll", request_id)
    return await world.api.ended(request_id)


def failed(request, code, text=""):
    error = request["error"] or {}
    assert (request["status"], error.get("code")) == ("failed", code), error
    assert error["message"]
    assert (request["partial_response"] or "") == text


async def test_429_twice_and_then_an_answer_is_one_attempt_that_honours_retry_after(world):
    """Design §4, before the first delta. Guard: the wait the upstream asked for."""
    script = {"name": "busy", "status": 429, "retry_after": 1, "fail_times": 2}
    ended = await ended_of(world, script)
    assert (ended["status"], ended["attempt"]) == ("completed", 1)
    log = (await world.judge_complete())[ended["id"]]
    begun = [call.began_at for call in world.calls("busy")]
    assert len(begun) == 3
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(begun))
    assert log.attempts == 1, "a refused call is not an attempt that readers see"


async def test_a_server_error_is_tried_again_with_a_pause_until_the_deadline(world):
    """Design §4: jittered backoff inside a total deadline."""
    ended = await ended_of(world, {"name": "down", "status": 503}, agent_id="hasty")
    failed(ended, ended["error"]["code"])
    assert ended["error"]["code"].startswith("upstream_")
    assert 2 <= len(world.calls("down")) <= 20
    await world.judge()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_refusal_is_never_tried_again(world, status):
    """Design §4: never 400, 401, 403, 404, 422."""
    failed(await ended_of(world, {"name": "no", "status": status}), "upstream_refused")
    assert len(world.calls("no")) == 1
    await world.judge()


async def test_a_connection_that_is_closed_before_any_byte_is_tried_again(world):
    """Design §4: connection errors before the first delta."""
    ended = await ended_of(world, {"name": "rude", "hang_up": True, "fail_times": 2})
    assert ended["status"] == "completed"
    await world.judge_complete()
    assert len(world.calls("rude")) == 3


async def test_a_drop_mid_stream_under_policy_restart_is_answered_anew_after_a_visible_seam(world):
    """Design §4: after the first delta only the recovery policy repeats anything."""
    script = {"name": "drop", "drop_at": TEN, "fail_times": 1, "rate": 200}
    ended = await ended_of(world, script)
    assert (ended["status"], ended["attempt"]) == ("completed", 2)
    await world.judge_complete()


async def test_an_upstream_that_always_drops_mid_stream_fails_after_attempts_max(world):
    """Promise 2: nothing spins for ever."""
    script = {"name": "drops", "drop_at": TEN, "rate": 200}
    failed(await ended_of(world, script, agent_id="thrice"), "upstream_dropped", whole(script, TEN))
    assert len(world.calls("drops")) == 3
    await world.judge()


@pytest.mark.parametrize("fault", ["drop_at", "clean_eof_at", "done_at"])
async def test_no_end_without_a_finish_counts_as_complete_however_clean_it_is(world, fault):
    """Design §4: EOF without a finish marker is a drop. Policy `fail` keeps the partial."""
    script = {"name": fault, fault: TEN, "rate": 200}
    failed(
        await ended_of(world, script, agent_id="keeping"), "upstream_dropped", whole(script, TEN)
    )
    assert len(world.calls(fault)) == 1
    await world.judge()


async def test_a_stall_ends_at_the_idle_timeout_and_closes_the_upstream(world):
    """Failure table: timeouts (idle). Guard: `idle_timeout_s`."""
    script = {"name": "stall", "stall_at": TEN, "rate": 200}
    failed(await ended_of(world, script, agent_id="brisk"), "idle_timeout", whole(script, TEN))
    call = await world.closed(world.calls("stall")[0], within_s=1)
    assert call.closed_by == "client"
    await world.judge()


async def test_silence_ends_at_the_first_byte_timeout(world):
    """Failure table: timeouts (first byte)."""
    failed(
        await ended_of(world, {"name": "mute", "ttft_s": 60}, agent_id="prompt"),
        "first_byte_timeout",
    )
    await world.judge()


async def test_an_answer_that_never_ends_is_cut_at_the_total_timeout(world):
    """Failure table: timeouts (total)."""
    script = {"name": "endless", "chunks": 10_000, "rate": 50}
    ended = await ended_of(world, script, agent_id="brief")
    failed(ended, "total_timeout", ended["partial_response"])
    assert whole(script).startswith(ended["partial_response"])
    await world.closed(world.calls("endless")[0], within_s=1)
    await world.judge()


async def test_a_flood_is_cut_at_the_size_limit_within_bounded_memory(world):
    """Promise 9. Guard: `answer_bytes_max`."""
    script = {"name": "flood", "flood": True, "size": 500}
    before = world.server.memory_bytes()
    ended = await ended_of(world, script)
    failed(ended, "answer_too_large", ended["partial_response"])
    assert 200_000 <= len(ended["partial_response"]) <= 300_000
    call = await world.closed(world.calls("flood")[0], within_s=1)
    assert call.closed_by == "client"
    assert world.server.memory_bytes() - before < 64 * 2**20
    await world.judge()


async def test_garbage_in_the_stream_is_a_clear_failure_that_keeps_the_text(world):
    """Failure table: sends garbage."""
    script = {"name": "garbage", "garbage_at": TEN, "rate": 200}
    failed(
        await ended_of(world, script, agent_id="keeping"), "upstream_garbage", whole(script, TEN)
    )
    await world.judge()


async def test_an_error_in_the_stream_is_stored_and_does_not_poison_the_next_question(world):
    """Known elsewhere: a failed turn spoils the prompt of the next one."""
    script = {"name": "error", "error_at": TEN, "rate": 200}
    request = await ended_of(world, script, agent_id="keeping")
    failed(request, request["error"]["code"], whole(script, TEN))
    assert "exploded" in request["error"]["message"]
    following = await ended_of(
        world, {"name": "next"}, agent_id="keeping", chat_id=request["chat_id"]
    )
    assert following["status"] == "completed"
    told = world.calls("next")[0].body["messages"]
    assert [message["role"] for message in told][-1] == "user"
    assert all(message["content"] for message in told), "an empty turn was sent"
    stored = await world.api.messages(request["chat_id"])
    assert [one["status"] for one in stored if one["role"] == "assistant"] == [
        "failed",
        "completed",
    ]
    await world.judge()
