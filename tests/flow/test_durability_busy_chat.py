"""A chat that answers gets a second question: it waits in sight, or is refused, or interrupts."""

import asyncio

import pytest

from tests.world.api import question
from tests.world.readers import SseReader
from tests.world.records import Record
from tests.world.waiting import eventually
from tests.world.world import World, whole

pytest_plugins = ["tests.world.fixtures"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = {"name": "long", "chunks": 4000, "rate": 100}


async def busy_chat(world):
    """Start a long answer; return its request id and its chat's."""
    first = await world.ask(LONG)
    await world.called("long")
    return first, world.accepted[first]["chat_id"]


async def test_by_default_the_second_question_waits_in_sight_and_runs_after_the_first(world):
    """Design §4, a busy chat. Guard: one request per chat at a time, in order."""
    script = {"name": "first", "chunks": 60, "rate": 60}
    first = await world.ask(script)
    chat_id = world.accepted[first]["chat_id"]
    await world.called("first")
    second = await world.ask({"name": "second"}, chat_id=chat_id)
    third = await world.ask({"name": "third"}, chat_id=chat_id)
    status = await world.api.status(second)
    assert status["status"] == "queued"
    assert (await world.api.chat(chat_id))["queued"] == 2
    assert not world.calls("second")
    await world.judge_complete()
    order = [call.script for call in world.upstream.calls]
    assert ["first" in order[0], "second" in order[1], "third" in order[2]] == [True] * 3
    told = [message["content"] for message in world.calls("third")[0].body["messages"]]
    assert [text for text in told if text.startswith("w")] == [whole(script), whole({})]
    assert (await world.api.request(third))["status"] == "completed"


async def test_a_waiting_request_tells_its_position_until_it_runs(tmp_path, rng):
    """Promise 10. Guard: visible in a queue, never a silent spinner."""
    async with World(tmp_path, rng, limits={"running_max": 1}) as world:
        first = await world.ask(LONG)
        await world.called("long")
        second = await world.ask({"name": "second"})
        third = await world.ask({"name": "third"})
        positions = [(await world.api.request(one))["queue_position"] for one in (second, third)]
        assert positions == [1, 2]
        assert (await world.api.status(third))["queue_position"] == 2
        await world.api.cancel(second)

        async def next_one():
            return (await world.api.status(third))["queue_position"] == 1

        await eventually(next_one, within_s=3, what="the third is the next one")
        await world.api.cancel(first)
        assert (await world.api.ended(third))["queue_position"] is None
        await world.judge()


async def test_a_waiting_question_can_be_edited_and_is_asked_as_edited_even_after_a_kill(world):
    """Design §4: editable, and it survives a restart."""
    first, chat_id = await busy_chat(world)
    second = await world.ask({"name": "draft"}, chat_id=chat_id)
    message_id = world.accepted[second]["user_message_id"]
    edited = {"content": '{"name": "edited", "chunks": 7} please'}
    changed = await world.api.http.patch(f"/api/messages/{message_id}", json=edited)
    assert (changed.status_code, changed.json()["content"]) == (200, edited["content"])
    await world.server.kill9()
    await world.server.start()
    assert (await world.api.status(second))["status"] == "queued"
    stored = {one["id"]: one["content"] for one in await world.api.messages(chat_id)}
    assert stored[message_id] == edited["content"]
    assert (await world.api.cancel(first))["status"] == "cancelled"
    assert (await world.api.ended(second))["final_response"] == whole({"chunks": 7})
    assert not world.calls("draft")
    await world.judge()


async def test_a_waiting_question_can_be_removed_and_never_reaches_the_upstream(world):
    """Design §4: removable; it is gone with its request, and whoever follows it is told."""
    first, chat_id = await busy_chat(world)
    second = await world.ask({"name": "second"}, chat_id=chat_id)
    third = await world.ask({"name": "third"}, chat_id=chat_id)
    message_id = world.accepted[second]["user_message_id"]
    follower = SseReader(world.server.url, Record(second, "follower"))
    following = asyncio.create_task(follower.follow(within_s=5))
    removed = await world.api.http.delete(f"/api/messages/{message_id}")
    assert removed.status_code in (200, 204)
    assert (await world.api.http.get(f"/api/requests/{second}")).status_code == 404
    assert not (await following).shown[1:], "more than the first event was shown"
    del world.accepted[second]
    await world.api.cancel(first)
    assert (await world.api.ended(third))["status"] == "completed"
    assert message_id not in [one["id"] for one in await world.api.messages(chat_id)]
    assert not world.calls("second")
    await world.judge()


async def test_a_question_that_runs_can_be_neither_edited_nor_removed(world):
    """The control of the two tests above: only what waits can be changed."""
    first, _ = await busy_chat(world)
    path = f"/api/messages/{world.accepted[first]['user_message_id']}"
    edited = await world.api.http.patch(path, json={"content": "something else"})
    removed = await world.api.http.delete(path)
    assert (edited.status_code, edited.json()["code"]) == (409, "message_sent")
    assert (removed.status_code, removed.json()["code"]) == (409, "message_sent")
    await world.api.cancel(first)
    await world.judge()


async def test_reject_refuses_the_second_question_and_stores_nothing(world):
    """Design §4: `reject` answers 409."""
    first, chat_id = await busy_chat(world)
    body = question({"name": "second"}, chat_id=chat_id, if_busy="reject")
    refused = await world.api.post_question(body)
    assert (refused.status_code, refused.json()["code"]) == (409, "chat_busy")
    assert len(await world.api.messages(chat_id)) == 2
    await world.api.cancel(first)
    await world.judge()


async def test_interrupt_stops_the_first_answer_keeps_its_text_and_runs_the_second(world):
    """Design §4: `interrupt`; the second answer is told what the first one said so far."""
    first, chat_id = await busy_chat(world)
    await world.api.shown(first, 40)
    second = await world.ask({"name": "second"}, chat_id=chat_id, if_busy="interrupt")
    assert (await world.api.request(first))["status"] == "cancelled"
    call = await world.closed(world.calls("long")[0], within_s=1)
    assert call.closed_by == "client"
    assert (await world.api.ended(second))["status"] == "completed"
    kept = (await world.api.request(first))["partial_response"]
    told = world.calls("second")[0].body["messages"]
    assert kept in [message["content"] for message in told]
    await world.judge()


async def test_two_tabs_that_send_together_get_one_running_and_one_waiting_answer(world):
    """Known elsewhere: two tabs, two runs, each writing the other's rows."""
    seed = await world.ask({"name": "seed"})
    await world.api.ended(seed)
    chat_id = world.accepted[seed]["chat_id"]
    script = {"chunks": 50, "rate": 100}
    both = await asyncio.gather(
        *(world.ask({**script, "name": f"tab{n}"}, chat_id=chat_id) for n in (1, 2))
    )
    await world.judge_complete()
    spans = sorted(
        (call.began_at, call.closed_at) for n in (1, 2) for call in world.calls(f"tab{n}")
    )
    assert len(spans) == len(both)
    assert spans[0][1] <= spans[1][0], "two answers of one chat ran at once"


async def test_over_the_cap_of_the_queue_a_question_is_refused_with_429_and_a_time(tmp_path, rng):
    """Promise 10. Guard: `queued_per_user_max`."""
    limits = {"running_max": 1, "queued_per_user_max": 2}
    async with World(tmp_path, rng, limits=limits) as world:
        first = await world.ask(LONG)
        await world.called("long")
        waiting = [await world.ask({"name": f"w{number}"}) for number in range(2)]
        over = await world.api.post_question(question({"name": "over"}))
        assert (over.status_code, over.json()["code"]) == (429, "user_queue_full")
        assert int(over.headers["Retry-After"]) >= 1
        assert len((await world.api.get("/api/chats"))["chats"]) == 3
        await world.api.cancel(waiting[0])
        await world.ask({"name": "again"})
        await world.api.cancel(first)
        await world.judge()
        assert not world.calls("over")


@pytest.mark.parametrize("slots", [1, 2])
async def test_one_question_of_bob_starts_within_one_slot_of_alices_thirty(tmp_path, rng, slots):
    """Promise 10, fairness. Guard: admission by rank within the person, then age."""
    async with World(tmp_path, rng, limits={"running_max": slots}, users=True) as world:
        script = {"chunks": 20, "rate": 100}
        bob = world.api_of("bob")
        for number in range(30):
            await world.ask({**script, "name": f"alice{number}"})
        await world.called("alice0")
        asked = len(world.upstream.calls)
        accepted = await bob.ask({**script, "name": "bob"})
        await world.called("bob", within_s=15)
        before = [call.script for call in world.upstream.calls].index(world.calls("bob")[0].script)
        assert before - asked <= slots, "Bob waited for more than one slot"
        await bob.ended(accepted["request_id"])
        await end_all(world)
        await world.judge()


async def test_two_busy_people_on_two_slots_do_not_keep_a_third_waiting(tmp_path, rng):
    """Promise 10, fairness among more people than slots: whoever was served goes to the back."""
    async with World(tmp_path, rng, limits={"running_max": 2}, users=True) as world:
        script = {"chunks": 20, "rate": 100}
        people = [world.api_of("alice"), world.api_of("carol")]
        asked = [
            (await api.ask({**script, "name": f"n{number}"}))["request_id"]
            for number in range(15)
            for api in people
        ]
        begun = len(world.upstream.calls)
        accepted = await world.api_of("bob").ask({**script, "name": "bob"})
        call = await world.called("bob", within_s=15)
        assert call.number - begun <= 3, "Bob waited for more than one round of the slots"
        await world.api_of("bob").ended(accepted["request_id"])
        for number, request_id in enumerate(asked):
            await people[number % 2].cancel(request_id)


async def end_all(world):
    """Cancel whatever of Alice's still waits or runs."""
    await asyncio.gather(*(world.api.cancel(request_id) for request_id in world.accepted))

    async def empty():
        page = await world.api.get("/api/requests", status="queued")
        return not page["requests"]

    await eventually(empty, within_s=5, what="nothing waits")


async def test_a_second_chat_is_not_starved_by_a_long_answer_in_the_first(world):
    """Known elsewhere: the second chat's first token waits for the first chat's last."""
    first, _ = await busy_chat(world)
    second = await world.ask({"name": "second", "chunks": 5})
    assert (await world.api.ended(second, within_s=3))["status"] == "completed"
    assert (await world.api.request(first))["status"] == "streaming"
    await world.api.cancel(first)
    await world.judge()
