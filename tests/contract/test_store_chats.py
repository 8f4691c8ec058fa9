"""Chats and messages: lists, changes, queued messages, deletion, feedback, retention."""

from __future__ import annotations

import asyncio

import pytest

from perdure.errors import Conflict, NotFound, Refused
from perdure.model import Feedback, Status, new_id
from perdure.ports import NewMessage
from perdure.stores.keeping import TOMBSTONE_S
from tests.contract.stores import (
    LAPSED_S,
    LEASE_S,
    READ_BYTES,
    RUN,
    Pen,
    always_again,
    ask,
    begin,
    complete,
    question,
    sound,
    take,
)


async def pages(listing, limit):
    """Follow a list's cursors to its end; return the ids of all pages."""
    found, cursor = [], None
    while True:
        page, cursor = await listing(limit=limit, cursor=cursor)
        assert len(page) <= limit
        found += [one.id for one in page]
        if cursor is None:
            return found
        assert len(page) == limit


def requests_of(store, **filters):
    return lambda **page: store.requests("ann", **filters, **page)


def chats_of(store, **filters):
    return lambda **page: store.chats("ann", **filters, **page)


def verdict_of(user, request_id, name, value):
    return Feedback(
        id=new_id("fb"),
        user_id=user,
        request_id=request_id,
        trace_id="tr-1",
        name=name,
        value=value,
        rationale="because",
        created_at=12.5,
    )


# Lists


@pytest.mark.parametrize("limit", [1, 3, 7, 50])
async def test_a_list_of_requests_shows_each_once_newest_first(store, limit):
    """Cursors never skip and never repeat, whatever the size of a page."""
    asked = [await ask(store) for _ in range(7)]
    await ask(store, "bob")
    assert await pages(requests_of(store), limit) == [one.id for one in reversed(asked)]


async def test_a_list_of_requests_is_filtered_by_state_and_chat(store):
    """Each filter, and both."""
    running, waiting, ended = await begin(store), await ask(store), await begin(store)
    await complete(store, ended)
    assert await pages(requests_of(store, status=Status.COMPLETED), 1) == [ended.id]
    assert await pages(requests_of(store, chat_id=running.chat_id), 1) == [running.id]
    both = requests_of(store, chat_id=waiting.chat_id, status=Status.STREAMING)
    assert await pages(both, 1) == []


async def test_a_list_shows_how_far_a_running_answer_is(store):
    """The number in a list is that of the log."""
    pen = await begin(store)
    await store.append([pen.say("so far")])
    ((row,), _) = await store.requests("ann")
    assert row == await store.request(pen.id)
    assert (await sound(store, pen.id)).sequence_number == row.sequence_number


async def test_deleting_the_last_one_of_a_page_hides_none_of_the_next(store):
    """Guard: a cursor is a place, not a row that must still be there."""
    asked = [await ask(store) for _ in range(4)]
    page, cursor = await store.requests("ann", limit=2)
    await store.delete_request(page[-1].id, "ann")
    rest, cursor = await store.requests("ann", limit=2, cursor=cursor)
    assert [one.id for one in rest] == [asked[1].id, asked[0].id]
    assert cursor is None


@pytest.mark.parametrize("cursor", ["", "x", ":::", "resp_none", "nan:nan:x"])
async def test_a_made_up_cursor_is_refused(store, cursor):
    """An empty page would look like the end of the list."""
    for _ in range(3):
        await ask(store)
    for listing in (store.requests, store.chats):
        with pytest.raises(Refused) as refused:
            await listing("ann", cursor=cursor)
        assert refused.value.code == "invalid_cursor"


@pytest.mark.parametrize("limit", [1, 2, 5, 50])
async def test_a_list_of_chats_shows_each_once_pinned_first(store, limit):
    """Pinned first, then newest activity; archived ones apart."""
    ids = [(await store.create_chat("ann", "guide", f"chat {n}")).id for n in range(6)]
    await store.create_chat("bob", "guide", "foreign")
    await store.update_chat(ids[1], "ann", pinned=True)
    await store.update_chat(ids[2], "ann", archived=True)
    await ask(store, chat_id=ids[0])
    assert await pages(chats_of(store), limit) == [ids[n] for n in (1, 0, 5, 4, 3)]
    assert await pages(chats_of(store, archived=True), limit) == [ids[2]]


async def test_renaming_a_chat_does_not_move_it(store):
    """Activity orders the list, not housekeeping."""
    first = await store.create_chat("ann", "guide", "first")
    second = await store.create_chat("ann", "guide", "second")
    renamed = await store.update_chat(first.id, "ann", title="renamed")
    assert renamed.title == "renamed"
    assert await pages(chats_of(store), 5) == [second.id, first.id]


# Changes


async def test_each_change_is_seen_once_and_in_order(store):
    """Revisions: whoever asks from the last one it saw misses nothing and repeats nothing."""
    pen = await begin(store)
    other = await store.create_chat("ann", "guide", "other")
    await store.create_chat("bob", "guide", "foreign")
    since = await store.revision("ann")
    assert await store.chats_since("ann", since) == []
    await complete(store, pen)
    await store.update_chat(other.id, "ann", title="new")
    await store.mark_read(pen.chat_id, "ann")
    changed = await store.chats_since("ann", since)
    assert [chat.id for chat in changed] == [other.id, pen.chat_id]
    assert [chat.revision for chat in changed] == sorted(chat.revision for chat in changed)
    assert changed[-1].revision == await store.revision("ann")
    assert (changed[0].title, changed[1].unread) == ("new", False)


async def test_changes_come_in_bounded_portions(store):
    """A device that was away for long catches up page by page."""
    ids = [(await store.create_chat("ann", "guide", str(n))).id for n in range(7)]
    seen, revision = [], 0
    while changed := await store.chats_since("ann", revision, limit=3):
        assert len(changed) <= 3
        seen += [chat.id for chat in changed]
        revision = changed[-1].revision
    assert seen == ids


async def test_every_step_of_an_answer_changes_its_chat(store):
    """Accept, claim, hand-over, reap, finish, cancel: live lists see each of them."""

    async def changed(step):
        before = await store.revision("ann")
        result = await step
        assert await store.revision("ann") > before
        assert [chat.id for chat in await store.chats_since("ann", before)]
        return result

    request = await changed(ask(store))
    pen = Pen(await changed(take(store, request.id)))
    await changed(store.hand_over(pen.id, pen.claim.claim_id))
    await changed(take(store, request.id, LAPSED_S))
    await changed(store.reap(always_again))
    pen = Pen(await changed(take(store, request.id)))
    await changed(complete(store, pen))
    second = await changed(ask(store, chat_id=request.chat_id))
    await changed(store.edit_message(second.user_message_id, "ann", "edited"))
    await changed(store.cancel(second.id))
    await changed(store.delete_request(second.id, "ann"))
    await changed(store.delete_chat(request.chat_id, "ann"))


async def test_revisions_never_repeat_under_concurrent_changes(store):
    """Guard: the revision is counted in the transaction of the change."""
    asked = [question() for _ in range(30)]
    await asyncio.gather(*map(store.accept, asked))
    changed = await store.chats_since("ann", 0)
    assert len({chat.revision for chat in changed}) == 30
    assert max(chat.revision for chat in changed) == await store.revision("ann")


async def test_a_read_mark_is_cleared_for_all_devices_and_told_once(store):
    """Reading what is read already is no change."""
    pen = await begin(store)
    await complete(store, pen)
    assert (await store.chat(pen.chat_id, "ann")).unread
    read = await store.mark_read(pen.chat_id, "ann")
    assert not read.unread
    assert (await store.mark_read(pen.chat_id, "ann")).revision == read.revision


# Owners


async def test_every_method_finds_nothing_of_another_person(store):
    """Guard: the owner is part of every look-up; unknown and foreign look alike."""
    pen = await begin(store)
    waiting = await ask(store, chat_id=pen.chat_id)
    await store.append([pen.say("x", trace_id="tr-1")])
    await store.add_feedback(verdict_of("ann", pen.id, "helpful", True))
    verdict = verdict_of("bob", pen.id, "helpful", True)
    attempts = [
        store.request(pen.id, "bob"),
        store.input(pen.id, "bob"),
        store.chat(pen.chat_id, "bob"),
        store.update_chat(pen.chat_id, "bob", title="mine"),
        store.mark_read(pen.chat_id, "bob"),
        store.delete_chat(pen.chat_id, "bob"),
        store.messages(pen.chat_id, "bob"),
        store.edit_message(waiting.user_message_id, "bob", "mine"),
        store.remove_message(waiting.user_message_id, "bob"),
        store.delete_request(pen.id, "bob"),
        store.request_of_trace("tr-1", "bob"),
        store.add_feedback(verdict),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            await attempt
    assert await store.chats("bob") == ([], None)
    assert await store.chats("bob", query="Why") == ([], None)
    assert await store.requests("bob", chat_id=pen.chat_id) == ([], None)
    assert await store.chats_since("bob", 0) == []
    assert await store.texts([waiting.user_message_id], "bob") == {}
    assert await store.feedback(pen.id, "bob") == []
    await complete(store, pen)


async def test_a_branch_is_chosen_among_the_chats_own_messages(store):
    """Guard: a leaf of another chat would leak its conversation."""
    mine, other = await begin(store), await begin(store)
    asked = mine.claim.request.user_message_id
    chat = await store.update_chat(mine.chat_id, "ann", current_message_id=asked)
    assert chat.current_message_id == asked
    foreign = other.claim.request.user_message_id
    with pytest.raises(NotFound):
        await store.update_chat(mine.chat_id, "ann", current_message_id=foreign, title="no")
    assert (await store.chat(mine.chat_id, "ann")).title == "Why?"


# Queued messages


async def test_a_waiting_message_can_be_edited(store):
    """The agent gets the new text, in plain form; search finds it and not the old one."""
    pen = await begin(store)
    parts = [{"type": "input_text", "text": "giraffe"}]
    new = NewMessage(new_id("msg"), "user", "giraffe", parts)
    waiting = await ask(store, chat_id=pen.chat_id, question=new)
    assert (await store.chats("ann", query="giraffe"))[0]
    edited = await store.edit_message(waiting.user_message_id, "ann", "walrus")
    assert (edited.text, edited.parts) == ("walrus", None)
    assert (await store.chats("ann", query="giraffe"))[0] == []
    assert (await store.chats("ann", query="walrus"))[0]
    await complete(store, pen, "One.")
    claim = await take(store, waiting.id)
    assert [message.text for message in claim.messages] == ["Why?", "One.", "walrus"]


async def test_removing_a_waiting_message_closes_the_gap(store):
    """The question behind it follows the one before it; its request is gone with its log."""
    pen = await begin(store, text="1")
    second = await ask(store, chat_id=pen.chat_id, text="2")
    third = await ask(store, chat_id=pen.chat_id, text="3")
    assert await store.remove_message(second.user_message_id, "ann") == second
    with pytest.raises(NotFound):
        await store.request(second.id)
    assert await store.read({second.id: -1}, READ_BYTES) == {}
    await complete(store, pen, "One.")
    claim = await take(store, third.id)
    assert [message.text for message in claim.messages] == ["1", "One.", "3"]
    await tree_is_whole(store, pen.chat_id)


async def test_removing_the_last_message_moves_the_branch_back(store):
    """The active leaf is a message that is there."""
    pen = await begin(store)
    waiting = await ask(store, chat_id=pen.chat_id)
    await store.remove_message(waiting.user_message_id, "ann")
    chat = await store.chat(pen.chat_id, "ann")
    assert chat.current_message_id == pen.claim.request.message_id
    assert chat.queued == 0
    await tree_is_whole(store, pen.chat_id)


async def test_removing_a_message_leaves_no_branch_of_it_hanging(store):
    """Whatever hung on the removed pair hangs on what came before."""
    pen = await begin(store, text="1")
    second = await ask(store, chat_id=pen.chat_id, text="2")
    await ask(store, chat_id=pen.chat_id, text="3", parent_id=second.user_message_id)
    await store.remove_message(second.user_message_id, "ann")
    await tree_is_whole(store, pen.chat_id)


@pytest.mark.parametrize("state", ["running", "answered", "handed over"])
async def test_a_sent_message_can_be_neither_edited_nor_removed(store, state):
    """Guard: once an agent has seen it, it stays; an edit makes a branch."""
    pen = await begin(store)
    if state == "answered":
        await complete(store, pen)
    elif state == "handed over":
        await store.hand_over(pen.id, pen.claim.claim_id)
    await refuses_to_change(store, pen.claim.request.user_message_id)


async def test_a_message_that_is_asked_again_counts_as_sent(store):
    """Its first answer must not hang in the air, nor answer a text that was never asked."""
    pen = await begin(store)
    await complete(store, pen)
    asked = pen.claim.request.user_message_id
    await store.accept(question(chat_id=pen.chat_id, answers=asked))
    await refuses_to_change(store, asked)
    await tree_is_whole(store, pen.chat_id)


async def test_a_message_whose_request_was_removed_counts_as_sent(store):
    """Its answer stands in the chat: to change the question would change what was answered."""
    pen = await begin(store)
    await complete(store, pen)
    await store.delete_request(pen.id, "ann")
    await refuses_to_change(store, pen.claim.request.user_message_id)


async def refuses_to_change(store, message_id):
    for attempt in (
        store.edit_message(message_id, "ann", "new"),
        store.remove_message(message_id, "ann"),
    ):
        with pytest.raises(Conflict) as refused:
            await attempt
        assert refused.value.code == "message_sent"


async def tree_is_whole(store, chat_id):
    """Check that parents are there, and before their children."""
    seen = {None}
    for message in await store.messages(chat_id, "ann"):
        assert message.parent_id in seen
        seen.add(message.id)
    assert (await store.chat(chat_id, "ann")).current_message_id in seen


async def test_editing_races_with_the_claim_to_one_text(store):
    """Guard: the edit and the claim are both conditional; nobody answers a text that changed."""
    for round_ in range(10):
        request = await ask(store, text="old")
        await store.admit(RUN)
        edit = store.edit_message(request.user_message_id, "ann", "new")
        claim = store.claim(request.id, "w", LEASE_S)
        steps = [claim, edit] if round_ % 2 else [edit, claim]
        done = await asyncio.gather(*steps, return_exceptions=True)
        got = next(one for one in done if hasattr(one, "messages"))
        edited = not any(isinstance(one, Conflict) for one in done)
        assert got.messages[-1].text == ("new" if edited else "old")


# Deletion


@pytest.mark.parametrize("running", [True, False])
async def test_deleting_a_request_stops_it_and_keeps_the_messages(store, running):
    """Its log is gone, its text so far stays, and its worker is refused."""
    pen = await begin(store)
    await store.append([pen.say("so far")])
    if not running:
        await store.finish(*pen.end())
    await store.delete_request(pen.id, "ann")
    with pytest.raises(NotFound):
        await store.request(pen.id)
    assert await store.read({pen.id: -1}, READ_BYTES) == {}
    assert await store.append([Pen(pen.claim).say("late")]) == [False]
    assert [m.text for m in await store.messages(pen.chat_id, "ann")] == ["Why?", "so far"]
    assert (await store.chat(pen.chat_id, "ann")).running_request_id is None
    await complete(store, await begin(store, chat_id=pen.chat_id))


async def test_deleting_a_chat_stops_what_runs_in_it(store):
    """What ran or waited is told to the caller; nothing of it is left but a tombstone."""
    pen = await begin(store, text="platypus")
    waiting = await ask(store, chat_id=pen.chat_id)
    since = await store.revision("ann")
    stopped = await store.delete_chat(pen.chat_id, "ann")
    assert {one.id: one.status for one in stopped} == {
        pen.id: Status.STREAMING,
        waiting.id: Status.QUEUED,
    }
    for request in stopped:
        with pytest.raises(NotFound):
            await store.request(request.id)
    with pytest.raises(NotFound):
        await store.messages(pen.chat_id, "ann")
    assert await store.chats("ann") == ([], None)
    assert await store.chats("ann", query="platypus") == ([], None)
    (tombstone,) = await store.chats_since("ann", since)
    assert (tombstone.id, tombstone.deleted, tombstone.title) == (pen.chat_id, True, "")
    assert await store.counts() == {"queued": 0, "streaming": 0}


async def test_nothing_revives_a_deleted_chat(harness):
    """Guard: every write finds its row gone."""
    store = harness.store
    pen, twice = await begin(store), question(idempotency_key="k", fingerprint="f")
    await store.append([pen.say("so far")])
    await store.delete_chat(pen.chat_id, "ann")
    assert await store.append([pen.say("late")]) == [False]
    assert not await store.finish(*pen.end())
    assert not await store.hand_over(pen.id, pen.claim.claim_id)
    assert await store.renew({pen.id: pen.claim.claim_id}, LEASE_S) == set()
    assert await store.reap(always_again, dead=True) == []
    assert await store.claim(pen.id, "w", LEASE_S) is None
    for attempt in (
        store.cancel(pen.id),
        store.accept(question(chat_id=pen.chat_id)),
        store.update_chat(pen.chat_id, "ann", title="back"),
        store.delete_chat(pen.chat_id, "ann"),
    ):
        with pytest.raises(NotFound):
            await attempt
    await harness.crash()
    assert await harness.store.chats("ann") == ([], None)
    assert not (await harness.store.accept(twice)).replayed


# Retention


async def test_old_requests_are_removed_and_their_messages_stay(store):
    """Logs and rows go; the conversation does not."""
    pen, running = await begin(store), await begin(store)
    await complete(store, pen)
    counts = await store.prune(events_s=0, requests_s=1e-9, chats_s=0)
    assert counts["requests"] == 1
    with pytest.raises(NotFound):
        await store.request(pen.id)
    assert len(await store.messages(pen.chat_id, "ann")) == 2
    await complete(store, running)


async def test_old_chats_are_removed_unless_something_runs_in_them(store):
    """A chat goes as if it had been deleted: live lists get its tombstone."""
    old, busy = await store.create_chat("ann", "guide", "old"), await begin(store)
    since = await store.revision("ann")
    counts = await store.prune(events_s=0, requests_s=0, chats_s=1e-9)
    assert counts["chats"] == 1
    (tombstone,) = await store.chats_since("ann", since)
    assert (tombstone.id, tombstone.deleted) == (old.id, True)
    await complete(store, busy)
    assert (await store.prune(events_s=0, requests_s=0, chats_s=1e-9))["chats"] == 1


async def test_a_tombstone_stays_for_a_while(store):
    """A device that was away for some hours still learns that a chat is gone."""
    chat = await store.create_chat("ann", "guide", "old")
    await store.delete_chat(chat.id, "ann")
    await store.prune(events_s=1e-9, requests_s=1e-9, chats_s=1e-9)
    assert [one.deleted for one in await store.chats_since("ann", 0)] == [True]


@pytest.mark.parametrize("removed", ["request", "chat", "message", "transient"])
async def test_the_key_of_what_was_removed_asks_nobody_again(harness, removed):
    """A retry that comes late makes no second answer to a question that was taken back."""
    store, transient = harness.store, removed == "transient"
    new = question(idempotency_key="k", fingerprint="f", transient=transient)
    first = (await store.accept(new)).request
    match removed:
        case "request":
            await store.delete_request(first.id, "ann")
        case "chat":
            await store.delete_chat(first.chat_id, "ann")
        case "message":
            await store.remove_message(first.user_message_id, "ann")
        case "transient":
            await store.cancel(first.id)
            await harness.age("request", 3600)
            await store.prune(events_s=0, requests_s=0, chats_s=0)
    for fingerprint in ("f", "g"):
        with pytest.raises(Conflict) as refused:
            await store.accept(question(idempotency_key="k", fingerprint=fingerprint))
        assert refused.value.code == "idempotency_key_reused"
    assert await store.counts() == {"queued": 0, "streaming": 0}
    assert not (await store.accept(question("bob", idempotency_key="k", fingerprint="f"))).replayed


@pytest.mark.parametrize("harness", ["sqlite", "postgres"], indirect=True)
async def test_the_key_of_what_was_removed_is_free_a_day_later(harness):
    """Keys of living requests stay, however old. In Redis keys expire by themselves."""
    store = harness.store
    gone, kept = (question(idempotency_key=key, fingerprint="f") for key in ("gone", "kept"))
    await store.accept(gone)
    await store.accept(kept)
    await store.delete_request(gone.id, "ann")
    never = {"events_s": 0, "requests_s": 0, "chats_s": 0}
    assert (await store.prune(**never))["keys"] == 0
    await harness.age("idempotency", TOMBSTONE_S + 1)
    assert (await store.prune(**never, dry_run=True))["keys"] == 1
    assert (await store.prune(**never))["keys"] == 1
    for key, replayed in (("gone", False), ("kept", True)):
        again = await store.accept(question(idempotency_key=key, fingerprint="f"))
        assert again.replayed is replayed


# Feedback


async def test_feedback_of_every_kind_comes_back_as_it_was_given(store):
    """True is not 1, and 1 is not "1"."""
    pen = await begin(store)
    values = {"helpful": True, "stars": 4, "score": 0.5, "note": "1"}
    for name, value in values.items():
        given = verdict_of("ann", pen.id, name, value)
        await store.add_feedback(given)
    kept = {one.name: one for one in await store.feedback(pen.id, "ann")}
    assert {name: one.value for name, one in kept.items()} == values
    assert type(kept["helpful"].value) is bool
    assert (kept["note"].rationale, kept["note"].created_at) == ("because", 12.5)


async def test_a_later_verdict_replaces_the_earlier_one(store):
    """One verdict for each person, request and name."""
    pen = await begin(store)
    for value in (True, False):
        given = verdict_of("ann", pen.id, "helpful", value)
        await store.add_feedback(given)
    (kept,) = await store.feedback(pen.id, "ann")
    assert (kept.id, kept.value) == (given.id, False)


async def test_a_request_is_found_by_its_trace(store):
    """Feedback may name the agent's own trace."""
    pen = await begin(store)
    await store.append([pen.say("x", trace_id="tr-1")])
    assert (await store.request_of_trace("tr-1", "ann")).id == pen.id
    with pytest.raises(NotFound):
        await store.request_of_trace("tr-2", "ann")
