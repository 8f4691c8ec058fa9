"""Leaving is never stopping: away before the first token, mid-answer, at the end, and back."""

import asyncio
import json
import time

import pytest

from tests.world import wire
from tests.world.api import JSON, question
from tests.world.readers import Frames, SseReader
from tests.world.records import Record
from tests.world.world import whole

pytest_plugins = ["tests.world.fixtures"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWER = {"name": "answer", "chunks": 100, "rate": 100}


async def streaming_post(world, script):
    """POST with `Accept: text/event-stream`; return the open response."""
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    body = json.dumps(question(script)).encode()
    return await wire.request("POST", f"{world.server.url}/api/invoke_endpoint", headers, body)


async def test_a_streaming_post_dropped_before_the_first_token_still_gets_its_whole_answer(world):
    """Promise 6. Known elsewhere: leaving before the first token loses the answer."""
    script = {**ANSWER, "ttft_s": 0.5}
    response = await streaming_post(world, script)
    assert response.status == 200
    await world.called("answer")
    response.drop()
    page = await world.api.get("/api/requests")
    request_id = page["requests"][0]["id"]
    world.accepted[request_id] = {"script": script}
    await world.judge_complete()


async def test_a_streaming_post_dropped_mid_answer_is_resumed_with_exactly_the_rest(world, rng):
    """Promise 4: curl asks, drops after some chunks, and comes back with Last-Event-ID."""
    response = await streaming_post(world, ANSWER)
    frames, record = Frames(), Record("", "curl")
    async for block in response.blocks():
        for number, data in frames.feed(block):
            record.event(number, data)
        if len(record.shown) > 15:
            break
    response.drop()
    first = json.loads(record.shown[0].data)
    record.request_id = first["response"]["id"]
    world.accepted[record.request_id] = {"script": ANSWER}
    world.records.append(record)
    await SseReader(world.server.url, record, dice=rng, fickle=True).follow(within_s=20)
    log = (await world.judge_complete())[record.request_id]
    assert len(record.shown) == len(log.events)


async def test_an_answer_that_ends_between_loading_the_chat_and_attaching_is_whole(world):
    """Known elsewhere: the snapshot was partial, the stream was gone, the spinner stayed."""
    request_id = await world.ask(ANSWER)
    await world.api.shown(request_id, 30)
    stored = (await world.api.messages(world.accepted[request_id]["chat_id"]))[-1]
    assert stored["status"] == "streaming"
    await world.api.ended(request_id)
    record = Record(request_id, "late", after=stored["sequence_number"])
    world.records.append(record)
    await SseReader(world.server.url, record).follow(within_s=10)
    log = (await world.judge_complete())[request_id]
    assert stored["content"] == log.items.text_at(stored["sequence_number"])


async def test_a_chat_loaded_at_any_instant_says_where_its_text_was_taken(world, rng):
    """Promise 4 for the message tree: content and number belong together."""
    request_id = await world.ask({**ANSWER, "rate": 50})
    chat_id = world.accepted[request_id]["chat_id"]
    taken: list[JSON] = []
    while not taken or taken[-1]["status"] != "completed":
        taken.append((await world.api.messages(chat_id))[-1])
        await asyncio.sleep(rng.uniform(0, 0.1))
    log = (await world.judge_complete())[request_id]
    assert len(taken) > 10
    for message in taken:
        assert message["content"] == log.items.text_at(message["sequence_number"])


async def test_stop_and_send_at_once_keeps_the_parent_and_the_context_whole(world):
    """Known elsewhere: a follow-up right after a stop loses its parent or the partial."""
    request_id = await world.ask({**ANSWER, "chunks": 4000})
    chat_id = world.accepted[request_id]["chat_id"]
    await world.api.shown(request_id, 40)
    await world.api.cancel(request_id)
    second = await world.ask({"name": "second"}, chat_id=chat_id)
    await world.api.ended(second)
    kept = (await world.api.request(request_id))["partial_response"]
    told = [message["content"] for message in world.calls("second")[0].body["messages"]]
    assert told[-2:] == [kept, json.dumps({"name": "second"}) + " please"]
    parents = {one["id"]: one["parent_id"] for one in await world.api.messages(chat_id)}
    chain, at = [], world.accepted[second]["message_id"]
    while at:
        chain.append(at)
        at = parents[at]
    assert len(chain) == 4
    await world.judge()


async def test_two_chats_never_see_each_others_events(world):
    """Known elsewhere: switching chats mixes their answers."""
    for name in ("a", "b"):
        request_id = await world.ask({**ANSWER, "name": name})
        for kind in ("sse", "ws", "poll"):
            world.follow(kind, request_id, fickle=kind != "poll")
    logs = await world.judge_complete()
    items = [
        {event["item"]["id"] for event in log.parsed if "item" in event} for log in logs.values()
    ]
    assert not items[0] & items[1]


async def test_a_chat_deleted_mid_answer_stops_it_and_nothing_revives_it(world):
    """Known elsewhere: a late title or a late writer brings a deleted chat back."""
    accepted = await world.api.ask({**ANSWER, "chunks": 4000})
    request_id, chat_id = accepted["request_id"], accepted["chat_id"]
    call = await world.called("answer")
    await world.api.shown(request_id, 20)
    deleted = await world.api.http.delete(f"/api/chats/{chat_id}")
    assert deleted.status_code == 204
    await world.closed(call, within_s=1)
    assert call.closed_by == "client"
    await gone(world, request_id, chat_id)
    await world.server.kill9()
    await world.server.start()
    await gone(world, request_id, chat_id)
    probe = await world.ask({"name": "probe"})
    await world.api.ended(probe)
    assert len(world.calls("answer")) == 1


async def gone(world, request_id, chat_id):
    listed = (await world.api.get("/api/chats", limit=200))["chats"]
    assert chat_id not in [chat["id"] for chat in listed]
    for path in (f"/api/chats/{chat_id}", f"/api/chats/{chat_id}/messages"):
        assert (await world.api.http.get(path)).status_code == 404
    found = await world.api.http.get(f"/api/requests/{request_id}")
    assert found.status_code == 404 or found.json()["status"] == "cancelled"


async def test_an_answer_that_ended_unseen_is_unread_until_the_chat_is_opened(world):
    """Known elsewhere: rename and pin set the mark, opening does not clear it everywhere."""
    request_id = await world.ask(ANSWER)
    path = f"/api/chats/{world.accepted[request_id]['chat_id']}"
    await world.api.ended(request_id)
    assert (await world.api.get(path))["unread"] is True
    assert (await world.api.http.post(f"{path}/read")).status_code == 200
    assert (await world.fresh_api().get(path))["unread"] is False
    renamed = await world.api.http.patch(path, json={"title": "Renamed", "pinned": True})
    assert renamed.status_code == 200
    assert (await world.api.get(path))["unread"] is False
    await world.server.kill9()
    await world.server.start()
    chat = await world.api.get(path)
    assert (chat["unread"], chat["title"], chat["pinned"]) == (False, "Renamed", True)
    await world.judge_complete()


async def test_rows_of_the_chat_list_do_not_move_with_every_token(world):
    """Known elsewhere: `updated_at` grows per token and rows move under the pointer."""
    request_id = await world.ask({**ANSWER, "chunks": 150})
    path = f"/api/chats/{world.accepted[request_id]['chat_id']}"
    await world.api.shown(request_id, 20)
    early = await world.api.get(path)
    await world.api.shown(request_id, 200)
    late = await world.api.get(path)
    assert late["running_request_id"] == request_id
    assert (early["updated_at"], early["revision"]) == (late["updated_at"], late["revision"])
    await world.judge_complete()


async def test_the_story_of_two_chats_ends_with_the_whole_answer_in_the_first(world):
    """Product, "the story that must work": ask in A, go to B at 20 %, return when A has ended."""
    first = await world.ask({**ANSWER, "name": "a", "chunks": 150})
    reader = world.reader("sse", first)
    leaving = asyncio.create_task(reader.follow(within_s=10))
    await world.api.shown(first, 60)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    left_at = len(reader.record.shown)
    second = await world.ask({**ANSWER, "name": "b", "chunks": 30})
    await world.api.ended(second)
    chats = {one["id"]: one for one in (await world.api.get("/api/chats"))["chats"]}
    assert chats[world.accepted[first]["chat_id"]]["running_request_id"] == first
    await world.api.ended(first)
    back = (await world.api.messages(world.accepted[first]["chat_id"]))[-1]
    assert (back["status"], back["content"]) == ("completed", whole({"chunks": 150}))
    assert left_at < len((await world.judge_complete())[first].events)
    assert world.calls("a")[0].closed_by == "server", "leaving stopped the answer"
    assert time.time() > world.calls("a")[0].closed_at
