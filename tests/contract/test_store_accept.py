"""Accepting: the question, its request and event 0 are there together, or nothing is."""

from __future__ import annotations

import asyncio

import pytest

from perdure.errors import Conflict, NotFound, PerdureError, TooMany
from perdure.model import Status
from perdure.ports import AcceptLimits, NewMessage, RunLimits
from tests.contract import promises
from tests.contract.stores import (
    PLENTY,
    RUN,
    ask,
    begin,
    complete,
    question,
    sound,
    take,
    whole,
)


def limits(*, queued=PLENTY, per_user=PLENTY, messages=PLENTY, running=0, running_per_user=PLENTY):
    run = RunLimits(running_max=running, running_per_user_max=running_per_user)
    return AcceptLimits(queued, per_user, messages, run)


async def nothing_is_there(store, new):
    assert await store.counts() == {"queued": 0, "streaming": 0}
    with pytest.raises(NotFound):
        await store.request(new.id)
    assert await store.read({new.id: -1}, 1000) == {}


async def test_an_accepted_question_is_there_as_a_whole(store):
    """One transaction: chat, both messages, request and event 0."""
    new = question("ann", "Why?", metadata={"from": "test"})
    request = (await store.accept(new)).request
    assert (request.id, request.status, request.sequence_number) == (new.id, Status.QUEUED, 0)
    assert request.metadata == {"from": "test"}
    chat = await store.chat(new.chat_id, "ann")
    assert (chat.title, chat.queued, chat.current_message_id) == ("Why?", 1, new.message_id)
    asked, answer = await store.messages(new.chat_id, "ann")
    assert (asked.role, asked.text, asked.parent_id) == ("user", "Why?", None)
    assert (answer.role, answer.text, answer.parent_id) == ("assistant", "", asked.id)
    assert answer.request_id == new.id
    assert await whole(store, new.id) == [new.first_event]


async def test_a_history_comes_before_the_question(store):
    """The chain of messages: each follows the one before."""
    history = [NewMessage("m-1", "system", "Be kind."), NewMessage("m-2", "user", "Hello")]
    pen = await begin(store, history=history)
    told = [(message.role, message.text) for message in pen.claim.messages]
    assert told == [("system", "Be kind."), ("user", "Hello"), ("user", "Why?")]


async def test_parts_come_back_as_they_were(store):
    """What was not plain text is kept in its own shape."""
    parts = [{"type": "input_text", "text": "Look"}, {"type": "input_image", "image_url": "u"}]
    pen = await begin(store, question=NewMessage("m-1", "user", "Look", parts))
    assert pen.claim.messages[0].parts == parts


async def test_an_accepted_question_survives_a_crash(harness):
    """Commit before the answer to the caller."""
    request = await ask(harness.store)
    await harness.crash()
    assert await harness.store.request(request.id) == request
    assert len(await harness.store.messages(request.chat_id, "ann")) == 2


async def test_a_key_makes_one_request_however_often_it_is_sent_at_once(store):
    """Guard: the key is looked up in the transaction that writes it."""
    await promises.a_key_makes_one_request(store)


async def test_a_key_used_for_another_body_is_refused(store):
    """Guard: the fingerprint stands beside the key."""
    await promises.another_body_is_refused(store)


async def test_two_people_may_use_the_same_key(store):
    """A key is a person's own: a foreign one tells nothing."""
    first = await store.accept(question("ann", idempotency_key="k", fingerprint="f"))
    second = await store.accept(question("bob", idempotency_key="k", fingerprint="g"))
    assert not second.replayed
    assert first.request.id != second.request.id


async def test_a_replay_tells_how_the_request_stands_now(store):
    """A repeated POST after the end returns the ended request."""
    new = question(idempotency_key="k", fingerprint="f")
    await store.accept(new)
    await store.cancel(new.id)
    again = await store.accept(question(idempotency_key="k", fingerprint="f"))
    assert (again.replayed, again.request.id) == (True, new.id)
    assert again.request.status is Status.CANCELLED


async def test_a_replay_is_refused_by_no_limit_and_no_busy_chat(store):
    """Guard: the key is looked up before anything is refused."""
    new = question(idempotency_key="k", fingerprint="f")
    await store.accept(new)
    for changes in ({"limits": limits(queued=0)}, {"if_busy": "reject"}, {"if_busy": "interrupt"}):
        again = question(chat_id=new.chat_id, idempotency_key="k", fingerprint="f", **changes)
        accepted = await store.accept(again)
        assert (accepted.replayed, accepted.request.id) == (True, new.id)
        assert accepted.request.status is Status.QUEUED


async def test_a_key_is_remembered_over_a_crash(harness):
    """The key lies in the transaction of the request."""
    await harness.store.accept(question(idempotency_key="k", fingerprint="f"))
    await harness.crash()
    assert (await harness.store.accept(question(idempotency_key="k", fingerprint="f"))).replayed


@pytest.mark.parametrize("user", ["ann", "bob"])
async def test_an_unknown_chat_and_a_foreign_one_look_alike(store, user):
    """Guard: the owner is part of every look-up."""
    chat_id = (await ask(store, "cid")).chat_id
    said = set()
    for wanted in (chat_id, "chat_none"):
        with pytest.raises(NotFound) as refused:
            await store.accept(question(user, chat_id=wanted))
        said.add((refused.value.code, refused.value.detail.replace(wanted, "")))
    assert len(said) == 1
    assert len(await store.messages(chat_id, "cid")) == 2


async def test_a_deleted_chat_takes_no_question(store):
    """A tombstone is not a chat."""
    chat_id = (await ask(store)).chat_id
    await store.delete_chat(chat_id, "ann")
    with pytest.raises(NotFound):
        await store.accept(question(chat_id=chat_id))


@pytest.mark.parametrize("link", ["parent_id", "answers"])
async def test_a_message_of_another_chat_is_not_found(store, link):
    """Guard: a message is looked up within its chat."""
    foreign = await ask(store, "bob")
    mine = await ask(store)
    for wanted in (foreign.user_message_id, "msg_none"):
        new = question(chat_id=mine.chat_id, **{link: wanted})
        with pytest.raises(NotFound) as refused:
            await store.accept(new)
        assert refused.value.code == "message_not_found"


async def test_a_new_chat_cannot_go_on_from_anyones_message(store):
    """A conversation never reaches into another chat, and so never into another person's."""
    secret = await ask(store, "bob", "The password is 1234")
    new = question("ann", parent_id=secret.user_message_id)
    with pytest.raises(NotFound):
        await store.accept(new)
    with pytest.raises(NotFound):
        await store.chat(new.chat_id, "ann")


async def test_another_agent_is_refused_in_a_chat(store):
    """A chat belongs to one agent."""
    chat_id = (await ask(store)).chat_id
    with pytest.raises(Conflict) as refused:
        await store.accept(question(chat_id=chat_id, agent_id="other"))
    assert refused.value.code == "chat_has_other_agent"


async def test_a_full_chat_is_refused(store):
    """The number of messages in a chat has a limit."""
    chat_id = (await ask(store)).chat_id
    with pytest.raises(Conflict) as refused:
        await store.accept(question(chat_id=chat_id, limits=limits(messages=3, running=9)))
    assert refused.value.code == "chat_full"
    assert "limits.messages_max = 3" in refused.value.detail


async def test_a_chat_with_room_for_one_message_takes_a_retry(store):
    """A question adds two messages, another answer to one that is there only itself."""
    asked = await ask(store)
    again = {"chat_id": asked.chat_id, "answers": asked.user_message_id}
    with pytest.raises(Conflict):
        await ask(store, **again, limits=limits(messages=2))
    await ask(store, **again, limits=limits(messages=3))
    assert len(await store.messages(asked.chat_id, "ann")) == 3


async def test_a_busy_chat_queues_a_question_behind_the_one_that_runs(store):
    """`queue`: it waits its turn and then sees the answer before it."""
    pen = await begin(store, text="First?")
    second = await ask(store, text="Second?", chat_id=pen.chat_id)
    assert await store.admit(RUN) == []
    await complete(store, pen, "One.")
    claim = await take(store, second.id)
    assert [message.text for message in claim.messages] == ["First?", "One.", "Second?"]


@pytest.mark.parametrize("running", [True, False])
async def test_a_busy_chat_rejects_a_question_that_says_so(store, running):
    """`reject`: running or waiting, the chat is busy; nothing is written."""
    first = (await begin(store)).chat_id if running else (await ask(store)).chat_id
    new = question(chat_id=first, if_busy="reject")
    with pytest.raises(Conflict) as refused:
        await store.accept(new)
    assert refused.value.code == "chat_busy"
    assert len(await store.messages(first, "ann")) == 2


async def test_an_interruption_cancels_all_that_runs_or_waits_in_the_chat(store):
    """`interrupt`: the end of the old and the start of the new are one transaction."""
    pen = await begin(store)
    await store.append([pen.say("so far")])
    waiting = await ask(store, chat_id=pen.chat_id)
    elsewhere = await ask(store)
    accepted = await store.accept(question(chat_id=pen.chat_id, if_busy="interrupt"))
    assert list(accepted.interrupted) == [pen.id, waiting.id]
    for request_id in accepted.interrupted:
        assert (await sound(store, request_id)).status is Status.CANCELLED
    assert await store.append([pen.say("late")]) == [False]
    assert (await store.request(elsewhere.id)).status is Status.QUEUED
    assert (await take(store, accepted.request.id)).messages[1].text == "so far"


async def test_an_interruption_that_cannot_be_written_interrupts_nothing(store):
    """Guard: one transaction, and memory that follows it back."""
    pen = await begin(store)
    await store.append([pen.say("so far ")])
    twice = (await store.messages(pen.chat_id, "ann"))[0].id
    broken = question(
        chat_id=pen.chat_id, if_busy="interrupt", question=NewMessage(twice, "user", "again")
    )
    with pytest.raises(PerdureError):
        await store.accept(broken)
    assert (await store.request(pen.id)).status is Status.STREAMING
    await complete(store, pen, "and on")
    assert (await sound(store, pen.id)).text() == "so far and on"


async def test_the_queue_is_limited_in_total(store):
    """`queue_full`: waiting costs memory and patience; the caller is told to come back."""
    for user in ("ann", "bob"):
        await ask(store, user, limits=limits(queued=2))
    new = question("cid", limits=limits(queued=2))
    with pytest.raises(TooMany) as refused:
        await store.accept(new)
    assert refused.value.code == "queue_full"
    assert refused.value.retry_after_s > 0
    with pytest.raises(NotFound):
        await store.request(new.id)


async def test_the_queue_is_limited_for_each_person(store):
    """`user_queue_full`: one person's burst leaves room for the others."""
    for _ in range(2):
        await ask(store, "ann", limits=limits(per_user=2))
    with pytest.raises(TooMany) as refused:
        await store.accept(question("ann", limits=limits(per_user=2)))
    assert refused.value.code == "user_queue_full"
    await ask(store, "bob", limits=limits(per_user=2))


async def test_a_burst_is_not_refused_while_slots_are_free(store):
    """What could start at once does not count as waiting: admission may be a moment late."""
    free = limits(queued=1, per_user=1, running=4)
    for _ in range(5):
        await ask(store, limits=free)
    with pytest.raises(TooMany):
        await store.accept(question(limits=free))
    assert len(await store.admit(free.run)) == 4


async def test_who_may_not_start_leaves_no_room_of_their_own(store):
    """Free slots that a person's own limit keeps them from do not enlarge their queue."""
    mine = limits(per_user=1, running=10, running_per_user=1)
    for _ in range(2):
        await ask(store, limits=mine)
    with pytest.raises(TooMany):
        await store.accept(question(limits=mine))


async def test_a_hundred_questions_at_once_never_pass_the_limit(store):
    """Guard: counting and writing are one transaction."""
    asked = [question(f"u{n}", limits=limits(queued=30)) for n in range(100)]
    done = await asyncio.gather(*map(store.accept, asked), return_exceptions=True)
    assert sum(isinstance(one, TooMany) for one in done) == 70
    assert (await store.counts())["queued"] == 30


async def test_a_refused_question_leaves_nothing(store):
    """Guard: one transaction."""
    new = question(limits=limits(queued=0))
    with pytest.raises(TooMany):
        await store.accept(new)
    await nothing_is_there(store, new)


async def test_asking_again_makes_a_sibling_answer(store):
    """`answers`: the same user message gets a second answer; the first one stays."""
    first = await begin(store)
    await complete(store, first, "One.")
    asked = first.claim.request.user_message_id
    again = await store.accept(question(chat_id=first.chat_id, answers=asked))
    second = await take(store, again.request.id)
    assert [message.id for message in second.messages] == [asked]
    tree = await store.messages(first.chat_id, "ann")
    assert [m.parent_id for m in tree] == [None, asked, asked]


async def test_a_question_may_branch_off_from_any_message(store):
    """`parent_id`: the conversation is the way to the root, not the order of time."""
    first = await begin(store, text="First?")
    await complete(store, first, "One.")
    second = await begin(store, text="Second?", chat_id=first.chat_id)
    await complete(store, second, "Two.")
    answer = first.claim.request.message_id
    branch = await begin(store, text="Third?", chat_id=first.chat_id, parent_id=answer)
    assert [m.text for m in branch.claim.messages] == ["First?", "One.", "Third?"]


async def test_a_chat_may_begin_anew_beside_its_first_question(store):
    """`from_root`: how the first question is edited; without it, it would follow the last one."""
    first = await begin(store, text="First?")
    await complete(store, first, "One.")
    anew = await begin(store, text="Better?", chat_id=first.chat_id, from_root=True)
    assert [m.text for m in anew.claim.messages] == ["Better?"]
    tree = await store.messages(first.chat_id, "ann")
    assert [m.text for m in tree if m.parent_id is None] == ["First?", "Better?"]
