"""Promises of the store for stock clients: what they give is kept, and named as they name it."""

import asyncio

import msgspec
import pytest

from perdure.errors import Conflict, NotFound, TooMany, Unavailable
from perdure.fold import fold
from perdure.model import Status
from perdure.ports import NewMessage
from tests.contract.stores import (
    LAPSED_S,
    RUN,
    Pen,
    always_again,
    always_fail,
    ask,
    begin,
    complete,
    question,
    sound,
    take,
    whole,
)


async def test_parameters_and_input_are_kept_as_given(store):
    params = {"instructions": "Be brief.", "tools": [{"type": "function", "name": "find"}]}
    given = [{"id": "msg_1", "type": "message", "role": "user", "content": []}]
    request = await ask(store, params=params, input=given)
    assert (await store.request(request.id)).params == params
    assert await store.input(request.id, "ann") == given
    assert (await take(store, request.id)).request.params == params
    with pytest.raises(NotFound):
        await store.input(request.id, "eve")
    assert await store.input((await ask(store)).id, "ann") == []


async def test_history_comes_before_the_question_in_a_chat_that_goes_on(store):
    first = await ask(store)
    history = [NewMessage("msg_h", "tool", "rain", [{"type": "item", "item": {"n": 1}}])]
    second = await ask(store, chat_id=first.chat_id, history=history)
    messages = await store.messages(first.chat_id, "ann")
    assert [message.id for message in messages][2:] == [
        "msg_h",
        second.user_message_id,
        second.message_id,
    ]
    assert messages[2].parts == [{"type": "item", "item": {"n": 1}}]


async def test_a_history_counts_as_messages_of_the_chat(store):
    first = await ask(store)
    limits = msgspec.structs.replace(question().limits, messages_max=5)
    history = [NewMessage("msg_h", "tool", "rain"), NewMessage("msg_i", "tool", "sun")]
    with pytest.raises(Conflict) as refused:
        await ask(store, chat_id=first.chat_id, history=history, limits=limits)
    assert refused.value.code == "chat_full"
    await ask(store, chat_id=first.chat_id, history=history[:1], limits=limits)


async def test_a_chat_is_found_by_the_name_its_client_made_up(store):
    """Also when both questions come at once; the name means nothing to others."""
    posts = [question(client_chat_id="c1") for _ in range(4)]
    made = [accepted.request.chat_id for accepted in await _accept_all(store, posts)]
    assert len(set(made)) == 1
    assert (await store.chat_of_client("c1", "ann")).id == made[0]
    assert (await store.chat_of_client("c1", "ann")).client_id == "c1"
    other = await ask(store, "eve", client_chat_id="c1")
    assert other.chat_id != made[0]
    with pytest.raises(NotFound):
        await store.chat_of_client("c2", "ann")
    await store.delete_chat(made[0], "ann")
    with pytest.raises(NotFound):
        await store.chat_of_client("c1", "ann")
    assert (await ask(store, client_chat_id="c1")).chat_id != made[0]


async def _accept_all(store, posts):
    return await asyncio.gather(*(store.accept(post) for post in posts))


async def test_another_agent_may_answer_where_the_caller_says_so(store):
    first = await ask(store)
    with pytest.raises(Conflict):
        await ask(store, chat_id=first.chat_id, agent_id="other")
    second = await ask(store, chat_id=first.chat_id, agent_id="other", any_agent=True)
    assert second.agent_id == "other"
    assert (await store.chat(first.chat_id, "ann")).agent_id == "guide"


async def test_a_transient_request_goes_with_its_chat_after_its_end(harness):
    """Retention of the others does not matter: everything else is kept for ever here."""
    store = harness.store
    kept, gone = await begin(store), await begin(store, transient=True)
    running = await begin(store, transient=True)
    for pen in (kept, gone):
        await complete(store, pen)
    assert (await store.request(gone.id)).transient
    await store.prune(events_s=0, requests_s=0, chats_s=0)
    assert (await store.request(gone.id)).status is Status.COMPLETED
    await harness.age("request", 3600)
    assert (await store.prune(events_s=0, requests_s=0, chats_s=0))["transient"] == 1
    with pytest.raises(NotFound):
        await store.request(gone.id)
    with pytest.raises(NotFound):
        await store.chat(gone.chat_id, "ann")
    for pen in (kept, running):
        await store.request(pen.id)


async def test_the_chat_of_a_transient_request_is_in_no_list_and_takes_no_more(store):
    """Guard: `chat.transient`; a retry or another question there would go with it."""
    pen = await begin(store, text="secret plan", transient=True)
    kept = await begin(store, text="secret plan")
    for query in ("", "secret"):
        assert [chat.id for chat in (await store.chats("ann", query=query))[0]] == [kept.chat_id]
    assert [chat.id for chat in await store.chats_since("ann", 0)] == [kept.chat_id]
    assert [row.id for row in (await store.requests("ann"))[0]] == [kept.id]
    for call in (store.chat(pen.chat_id, "ann"), ask(store, chat_id=pen.chat_id)):
        with pytest.raises(NotFound):
            await call
    assert len(await store.messages(pen.chat_id, "ann")) == 2
    assert [one.id for one in await store.delete_chat(pen.chat_id, "ann")] == [pen.id]
    assert [chat.id for chat in await store.chats_since("ann", 0)] == [kept.chat_id]


async def test_forks_of_an_answer_run_side_by_side_and_each_waits_for_what_it_follows(store):
    """Guard: `follows` in the look at the chat; without it all would wait for one another."""
    root = await begin(store)
    await complete(store, root)
    chat_id, parent_id = root.chat_id, root.claim.request.message_id
    forks = [
        await ask(store, chat_id=chat_id, parent_id=parent_id, follows=root.id) for _ in range(2)
    ]
    assert set(await store.admit(RUN)) == {fork.id for fork in forks}
    parent_id = forks[0].message_id
    later = await ask(store, chat_id=chat_id, parent_id=parent_id, follows=forks[0].id)
    plain = await ask(store, chat_id=chat_id)
    pens = [Pen(await take(store, fork.id)) for fork in forks]
    await complete(store, pens[1])
    assert await store.admit(RUN) == []
    await complete(store, pens[0], "One.")
    assert await store.admit(RUN) == [later.id]
    claim = await take(store, later.id)
    assert [message.text for message in claim.messages] == [
        "Why?",
        "Because.",
        "Why?",
        "One.",
        "Why?",
    ]
    await complete(store, Pen(claim))
    assert await store.admit(RUN) == [plain.id]


async def test_a_chat_runs_until_the_last_of_its_forks_has_ended(store):
    """Guard: an end takes its own request out of what runs, and no other."""
    root = await begin(store)
    await complete(store, root)
    place = {"parent_id": root.claim.request.message_id, "follows": root.id}
    forks = [await ask(store, chat_id=root.chat_id, **place) for _ in range(2)]
    pens = [Pen(await take(store, fork.id)) for fork in forks]
    chat = await store.chat(root.chat_id, "ann")
    assert (chat.running_request_id in {fork.id for fork in forks}, chat.queued) == (True, 0)
    for pen, left in zip(pens, (forks[1].id, None), strict=True):
        await complete(store, pen)
        chat = await store.chat(root.chat_id, "ann")
        assert (chat.running_request_id, chat.queued) == (left, 0)


async def test_a_fork_that_can_start_at_once_is_not_refused_by_a_full_queue(store):
    """The chat is busy, but not with anything that the fork waits for."""
    root = await begin(store)
    await complete(store, root)
    await begin(store, chat_id=root.chat_id)
    full = msgspec.structs.replace(question().limits, queued_max=0)
    asked = question(chat_id=root.chat_id, parent_id=root.claim.request.message_id, limits=full)
    await store.accept(msgspec.structs.replace(asked, follows=root.id))
    with pytest.raises(TooMany):
        await ask(store, chat_id=root.chat_id, limits=full)


async def test_a_chat_keeps_metadata(store):
    chat = await store.create_chat("ann", "guide", "t", {"topic": "x"})
    assert chat.metadata == {"topic": "x"}
    changed = await store.update_chat(chat.id, "ann", metadata={"topic": "y"})
    assert (changed.metadata, changed.title) == ({"topic": "y"}, "t")
    renamed = await store.update_chat(chat.id, "ann", title="u")
    assert renamed.metadata == {"topic": "y"}


async def test_messages_are_added_behind_the_leaf_and_taken_out(store):
    chat = await store.create_chat("ann", "guide", "t")
    added = [NewMessage(f"msg_{n}", "user", f"text {n}") for n in range(3)]
    assert [one.id for one in await store.add_messages(chat.id, "ann", added)] == [
        "msg_0",
        "msg_1",
        "msg_2",
    ]
    await store.drop_message("msg_1", "ann")
    left = await store.messages(chat.id, "ann")
    assert [(one.id, one.parent_id) for one in left] == [("msg_0", None), ("msg_2", "msg_0")]
    changed = await store.drop_message("msg_2", "ann")
    assert changed.current_message_id == "msg_0"
    for call in (store.drop_message("msg_0", "eve"), store.add_messages(chat.id, "eve", added)):
        with pytest.raises(NotFound):
            await call


async def test_messages_are_not_added_beyond_what_a_chat_may_hold(store):
    chat = await store.create_chat("ann", "guide", "t")
    added = [NewMessage(f"msg_{n}", "user", "x") for n in range(3)]
    await store.add_messages(chat.id, "ann", added[:1], 3)
    with pytest.raises(Conflict) as refused:
        await store.add_messages(chat.id, "ann", added[1:], 2)
    assert refused.value.code == "chat_full"
    await store.add_messages(chat.id, "ann", added[1:], 3)
    assert len(await store.messages(chat.id, "ann")) == 3


async def test_a_chat_that_is_being_answered_is_not_edited(store):
    pen = await begin(store)
    with pytest.raises(Conflict) as refused:
        await store.add_messages(pen.chat_id, "ann", [NewMessage("msg_x", "user", "x")])
    assert refused.value.code == "chat_busy"
    with pytest.raises(Conflict):
        await store.drop_message(pen.claim.request.message_id, "ann")


async def test_an_answer_is_reduced_to_some_of_its_items(store):
    pen = await begin(store)
    request = await complete(store, pen)
    item = (request.output or [])[0]
    assert await store.answer_item(item["id"], "ann") == item
    for name, user in (("msg_none", "ann"), (item["id"], "eve")):
        with pytest.raises(NotFound):
            await store.answer_item(name, user)
    shorter = {**item, "id": "msg_short"}
    await store.drop_message(request.message_id, "ann", [shorter])
    assert (await store.messages(pen.chat_id, "ann"))[-1].output == [shorter]


@pytest.mark.parametrize("continuing", [(), ("guide",), ("other",)])
async def test_a_later_attempt_says_whether_it_goes_on(store, continuing):
    pen = await begin(store, lease_s=LAPSED_S)
    await store.append([pen.say("Once ")])
    await store.reap(always_again)
    await store.admit(RUN)
    claim = await store.claim(pen.id, "worker", 30, continuing)
    assert claim is not None
    told = fold(claim.events)
    assert told.response["metadata"].get("recovery") == (
        "continue" if "guide" in continuing else None
    )
    assert told.attempt == 2


async def test_a_first_attempt_goes_on_from_nothing(store):
    request = await ask(store)
    await store.admit(RUN)
    claim = await store.claim(request.id, "worker", 30, ["guide"])
    assert claim is not None
    assert fold(claim.events).response["metadata"] == {}


async def test_where_the_upstream_stands_is_stored_with_the_events(store):
    """A refused append leaves it as it was."""
    pen = await begin(store)
    assert (await store.request(pen.id)).upstream is None
    await store.append([pen.say("one", upstream={"n": 1})])
    await store.append([pen.say("two")])
    assert (await store.request(pen.id)).upstream == {"n": 1}
    pen.claim = type(pen.claim)("claim_other", pen.claim.request, [], [])
    assert await store.append([pen.say("three", upstream={"n": 3})]) == [False]
    assert (await store.request(pen.id)).upstream == {"n": 1}


async def test_an_end_tells_where_the_upstream_stands_too(store):
    pen = await begin(store)
    last, closing = pen.end()
    assert await store.finish(msgspec.structs.replace(last, upstream={"n": 9}), closing)
    assert (await store.request(pen.id)).upstream == {"n": 9}


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
async def test_an_end_makes_a_webhook_in_its_own_transaction(store, status):
    silent, pen = await begin(store), await begin(store, notify=True)
    assert await store.take_webhooks(60) == []
    for one in (silent, pen):
        if status is Status.CANCELLED:
            await store.cancel(one.id)
        else:
            assert await store.finish(*one.end(status))
    (made,) = await store.take_webhooks(60)
    assert (made.request_id, made.type, made.attempts) == (pen.id, f"response.{status.value}", 1)
    assert await store.take_webhooks(60) == []
    await sound(store, pen.id)


async def test_there_is_no_end_without_its_webhook(harness):
    """Guard: one transaction; written afterwards, a crash between would forget it."""
    store = harness.store
    pen = await begin(store, notify=True)
    last = pen.end()
    await harness.hide_webhooks(away=True)
    with pytest.raises(Unavailable):
        await store.finish(*last)
    assert (await store.request(pen.id)).status is Status.STREAMING
    await harness.hide_webhooks(away=False)
    assert await store.finish(*last)
    assert [one.request_id for one in await store.take_webhooks(60)] == [pen.id]


async def test_a_webhook_is_kept_for_a_month_and_until_it_is_settled(harness):
    store = harness.store
    pens = [await begin(store, notify=True) for _ in range(3)]
    for pen in pens:
        await complete(store, pen)
    told, dead, due = await store.take_webhooks(60)
    await store.settle_webhook(told.id)
    await store.settle_webhook(dead.id, error="gone")
    assert (await store.prune(events_s=0, requests_s=0, chats_s=0))["webhooks"] == 0
    await harness.age("webhook", 31 * 86400)
    assert (await store.prune(events_s=0, requests_s=0, chats_s=0))["webhooks"] == 2
    assert [one.id for one in await store.webhooks("ann")] == [due.id]


async def test_a_lost_worker_that_fails_its_request_makes_a_webhook_as_well(store):
    pen = await begin(store, notify=True, lease_s=LAPSED_S)
    await store.reap(always_fail)
    assert [one.type for one in await store.take_webhooks(60)] == ["response.failed"]
    assert (await whole(store, pen.id))[-1]


async def test_a_webhook_is_due_until_it_is_settled(store):
    """At least once: whoever took it and died is followed by another."""
    pen = await begin(store, notify=True)
    await complete(store, pen)
    (first,) = await store.take_webhooks(LAPSED_S)
    (again,) = await store.take_webhooks(60)
    assert (again.id, again.attempts) == (first.id, 2)
    await store.settle_webhook(first.id, error="refused", retry_s=LAPSED_S)
    (third,) = await store.take_webhooks(60)
    assert (third.attempts, third.error) == (3, "refused")
    await store.settle_webhook(first.id)
    assert await store.take_webhooks(60) == []
    (kept,) = await store.webhooks("ann")
    assert kept.delivered_at is not None
    assert (kept.due_at, kept.error) == (None, None)
    assert await store.webhooks("ann", dead=True) == []


async def test_a_dead_letter_is_kept_and_can_be_sent_again(store):
    pen = await begin(store, notify=True)
    await complete(store, pen)
    (made,) = await store.take_webhooks(60)
    await store.settle_webhook(made.id, error="gone")
    assert await store.take_webhooks(60) == []
    (dead,) = await store.webhooks("ann", dead=True)
    assert (dead.id, dead.error, dead.due_at) == (made.id, "gone", None)
    assert await store.webhooks("eve") == []
    with pytest.raises(NotFound):
        await store.redeliver_webhook(made.id, "eve")
    again = await store.redeliver_webhook(made.id, "ann")
    assert (again.attempts, again.failed_at) == (0, None)
    assert [one.id for one in await store.take_webhooks(60)] == [made.id]


async def test_an_unanswered_call_is_joined_once_and_by_its_maker(store):
    """Guard: `rejoin` takes the note away; two retries would both wait for one answer."""
    first, second = await ask(store), await ask(store)
    for request in (first, second):
        await store.unanswered(request.id, "call")
    assert await store.rejoin("eve", "call") is None
    assert await store.rejoin("ann", "another call") is None
    joined = await store.rejoin("ann", "call")
    assert (joined.id, joined.status) == (second.id, Status.QUEUED)
    assert await store.rejoin("ann", "call") is None


async def test_a_note_of_a_call_goes_with_its_request_and_is_no_persons_key(store):
    request = await ask(store)
    await store.unanswered(request.id, "call")
    assert (await ask(store, idempotency_key="call")).id != request.id
    await store.delete_request(request.id, "ann")
    assert await store.rejoin("ann", "call") is None
