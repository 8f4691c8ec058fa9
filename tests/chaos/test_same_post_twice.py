"""The same POST twice, cut off, or across a kill: one question or none, one request, one bill."""

import asyncio
import json

import httpx
import pytest

from tests.world import wire
from tests.world.api import question
from tests.world.world import World


async def requests_of(world):
    return (await world.api.get("/api/requests", limit=200))["requests"]


async def test_one_key_sent_twenty_times_at_once_makes_one_request_and_one_upstream_call(
    tmp_path, rng
):
    """Promise 1. Guard: the key is unique in the accepting transaction."""
    script = {"name": "click", "chunks": 20}
    async with World(tmp_path, rng) as world:
        posts = (world.api.post_question(question(script), key="one") for _ in range(20))
        answers = await asyncio.gather(*posts)
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["request_id"] for answer in answers}) == 1
        accepted = answers[0].json()
        await world.api.ended(world.remember(accepted, script))
        later = await world.api.post_question(question(script), key="one")
        assert later.json()["request_id"] == accepted["request_id"]
        assert len(await requests_of(world)) == 1
        roles = [message["role"] for message in await world.api.messages(accepted["chat_id"])]
        assert roles == ["user", "assistant"]
        await world.judge_complete()
        assert len(world.calls("click")) == 1


async def test_without_a_key_two_posts_are_two_questions(tmp_path, rng):
    """The control of the test above: it is the key that makes them one."""
    async with World(tmp_path, rng) as world:
        await world.ask({"name": "click"})
        await world.ask({"name": "click"})
        await world.judge_complete()
        assert len(world.calls("click")) == 2


async def test_a_key_that_comes_back_with_another_question_is_refused(tmp_path, rng):
    """Guard: the fingerprint of the body."""
    async with World(tmp_path, rng) as world:
        await world.ask({"name": "a"}, key="one")
        other = await world.api.post_question(question({"name": "b"}), key="one")
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
        await world.judge_complete()


@pytest.mark.timeout(180)
async def test_a_post_repeated_across_kills_makes_exactly_one_request_each_time(
    tmp_path, rng, soak
):
    """Promise 1; failure table, rows 1 and 3. Guard: accept is one transaction."""
    rounds = 30 if soak else 6
    async with World(tmp_path, rng) as world:
        for number in range(rounds):
            script = {"name": f"k{number}", "chunks": 5}
            post = asyncio.create_task(first_post(world, script, f"key {number}"))
            await asyncio.sleep(rng.uniform(0, 0.015))
            await world.server.kill9()
            told = await post
            await world.server.start()
            request_id = await world.ask_surely(script, f"key {number}")
            assert told in (None, request_id), "a request that was confirmed is another one now"
        await world.judge_complete()
        ids = {request["id"] for request in await requests_of(world)}
        assert ids == set(world.accepted)
        for number, request_id in enumerate(world.accepted):
            attempts = (await world.api.request(request_id))["attempt"]
            assert len(world.calls(f"k{number}")) <= attempts, "billed more often than it was begun"


async def first_post(world, script, key):
    """Send a POST that may be killed; return the confirmed request's id, if it came."""
    try:
        response = await world.api.post_question(question(script), key=key)
    except httpx.HTTPError:
        return None
    assert response.status_code == 202
    return response.json()["request_id"]


async def test_a_client_that_drops_the_line_in_its_post_leaves_a_whole_question_or_none(
    tmp_path, rng
):
    """Promises 1, 6. Guard: one transaction, which no disconnect can halve."""
    async with World(tmp_path, rng) as world:
        whole_posts = 0
        for number in range(60):
            whole_posts += await post_and_drop(world, {"name": f"x{number}", "chunks": 3})
        probe = await world.ask({"name": "probe"})
        await world.api.ended(probe)
        found = await requests_of(world)
        assert 1 < len(found) <= whole_posts + 1
        for request in found:
            world.accepted.setdefault(request["id"], {**request, "script": {"chunks": 3}})
            roles = [one["role"] for one in await world.api.messages(request["chat_id"])]
            assert roles == ["user", "assistant"]
        world.accepted[probe]["script"] = {}
        await world.judge_complete()
        chats = (await world.api.get("/api/chats", limit=200))["chats"]
        assert len(chats) == len(found)


async def post_and_drop(world, script):
    """Send a POST, whole or cut at a random byte, and go away; return whether it was whole."""
    body = json.dumps(question(script)).encode()
    url = f"{world.server.url}/api/invoke_endpoint"
    data = wire.encode("POST", url, {"Content-Type": "application/json"}, body)
    cut = world.rng.choice([len(data), len(data), world.rng.randrange(1, len(data))])
    _, writer = await wire.connect(url)
    writer.write(data[:cut])
    await writer.drain()
    await asyncio.sleep(world.rng.choice([0, 0.001, 0.01]))
    writer.transport.abort()
    return cut == len(data)
