"""Acceptance: what is checked before the transaction, and who is told after it."""

from __future__ import annotations

from contextlib import asynccontextmanager

import msgspec
import pytest

from perdure.accept import Acceptance, Question
from perdure.buses.inprocess import InProcessBus
from perdure.dispatch import Dispatch
from perdure.errors import Conflict, Invalid, NotFound, TooMany, Unavailable
from perdure.model import Status
from perdure.ports import AcceptLimits, Agent, NewMessage, RunLimits, Topic
from perdure.queues.inprocess import InProcessQueue
from perdure.stores.sqlite import SqliteStore
from perdure.traces import Traces
from tests.contract.stores import Pen, complete, sound, take
from tests.world.waiting import eventually

BYTES_MAX = 1000


class Nobody:
    """A handler that is never asked here."""

    can_continue = False

    def stream(self, call):
        raise NotImplementedError

    async def close(self):
        pass


class Office:
    """Acceptance on a real store; wake-ups and deliveries are remembered."""

    def __init__(self, path, running_max):
        self.store = SqliteStore(path, "normal")
        self.bus, self.queue = InProcessBus(), InProcessQueue()
        run = RunLimits(running_max, running_max)
        self.dispatch = Dispatch(self.store, self.queue, run)
        self.agents = {name: Agent(id=name, handler=Nobody()) for name in ("guide", "other")}
        self.acceptance = Acceptance(
            self.store,
            self.bus,
            self.dispatch,
            self.agents,
            default_agent_id="guide",
            limits=AcceptLimits(3, 3, 100, run),
            message_bytes_max=BYTES_MAX,
        )
        self.rung: list[str] = []
        self.delivered: list[str] = []
        self.bus.subscribe(self.rung.extend)
        self.queue.consume(self.delivered.append)

    async def ask(self, text="Why?", user="ann", **changes):
        question = Question(text=text, user_id=user, **changes)
        return (await self.acceptance.ask(question)).request

    async def begin(self, **changes):
        """Ask; return the pen of a worker that has begun to answer."""
        request = await self.ask(**changes)
        return Pen(await take(self.store, request.id))

    async def delivers(self, request_id):
        async def has():
            return request_id in self.delivered

        await eventually(has, within_s=5, what=f"{request_id} is delivered")


@asynccontextmanager
async def opened(tmp_path, running_max=100):
    office = Office(tmp_path / "perdure.db", running_max)
    await office.store.open()
    yield office
    office.dispatch.closed = True
    await office.store.close()


@pytest.fixture
async def office(tmp_path):
    async with opened(tmp_path) as made:
        yield made


# Asking


class Undecided(SqliteStore):
    """As if others always decided who may run while it accepts."""

    async def accept(self, new):
        accepted = await super().accept(msgspec.structs.replace(new, start=False))
        return msgspec.structs.replace(accepted, undecided=True)


async def test_a_question_that_others_left_undecided_is_admitted_right_after(office):
    """Guard: the ring; else it would wait for somebody's end, or for the reconciler."""
    office.store.__class__ = Undecided
    request = await office.ask()
    assert request.dispatched_at is None
    await office.delivers(request.id)


async def test_a_question_is_safe_and_on_its_way_when_ask_returns(office):
    """Committed; the queue gets its id, the person's lists are told."""
    request = await office.ask("Why?\nPlease.")
    assert (await office.store.request(request.id)).status is Status.QUEUED
    assert Topic.chats("ann") in office.rung
    await office.delivers(request.id)
    chat = await office.store.chat(request.chat_id, "ann")
    assert (chat.title, chat.agent_id) == ("Why?", "guide")
    await sound(office.store, request.id)


async def test_a_chat_is_named_after_what_began_it(office):
    """The first message of a given history, not the latest question."""
    history = [NewMessage("m-1", "user", "About otters"), NewMessage("m-2", "assistant", "Yes?")]
    request = await office.ask("And beavers?", history=history)
    assert (await office.store.chat(request.chat_id, "ann")).title == "About otters"
    texts = [message.text for message in await office.store.messages(request.chat_id, "ann")]
    assert texts == ["About otters", "Yes?", "And beavers?", ""]


async def test_a_history_is_for_a_new_chat_only(office):
    """A client that sends the whole conversation each time doubles nothing."""
    first = await office.begin()
    await complete(office.store, first, "Because.")
    history = [NewMessage("m-1", "user", "Why?"), NewMessage("m-2", "assistant", "Because.")]
    request = await office.ask("And?", chat_id=first.chat_id, history=history)
    claim = await take(office.store, request.id)
    assert [message.text for message in claim.messages] == ["Why?", "Because.", "And?"]


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
async def test_an_empty_message_is_refused(office, text):
    """Unless it has parts, such as an image."""
    with pytest.raises(Invalid) as refused:
        await office.ask(text)
    assert refused.value.code == "message_empty"
    image = [{"type": "input_image", "image_url": "u"}]
    assert (await office.ask(text, parts=image)).status is Status.QUEUED


async def test_a_message_is_measured_in_bytes(office):
    """Guard: `message_bytes_max`, for the question and for each message of a history."""
    await office.ask("x" * BYTES_MAX)
    for text in ("x" * (BYTES_MAX + 1), "漢" * (BYTES_MAX // 3 + 1)):
        with pytest.raises(Invalid) as refused:
            await office.ask(text)
        assert (refused.value.code, refused.value.status) == ("message_too_large", 413)
        with pytest.raises(Invalid):
            await office.ask("ok", history=[NewMessage("m-1", "user", text)])
    assert (await office.store.counts())["queued"] == 1


async def test_an_unknown_agent_is_refused_and_none_means_the_default(office):
    """Before anything is written."""
    with pytest.raises(Invalid) as refused:
        await office.ask(agent_id="nobody")
    assert refused.value.code == "unknown_agent"
    assert (await office.ask()).agent_id == "guide"
    assert (await office.ask(agent_id="other")).agent_id == "other"


async def test_a_chat_keeps_its_agent(office):
    """Asked without a name, the chat's own; with another one: a conflict."""
    pen = await office.begin(agent_id="other")
    await complete(office.store, pen)
    following = await office.ask(chat_id=pen.chat_id)
    assert following.agent_id == "other"
    with pytest.raises(Conflict):
        await office.ask(chat_id=pen.chat_id, agent_id="guide")
    with pytest.raises(NotFound):
        await office.ask(chat_id=pen.chat_id, user="bob")


async def test_an_interruption_tells_the_worker_and_the_readers(office):
    """The call is closed at once, the readers see the end at once."""
    pen = await office.begin()
    await office.ask(chat_id=pen.chat_id, if_busy="interrupt")
    assert {Topic.stop(pen.id), Topic.events(pen.id), Topic.chats("ann")} <= set(office.rung)
    assert (await office.store.request(pen.id)).status is Status.CANCELLED


async def test_a_drain_takes_no_question(office):
    """Told in a way that clients try again."""
    office.acceptance.draining = True
    with pytest.raises(Unavailable) as refused:
        await office.ask()
    assert (refused.value.code, refused.value.retryable) == ("draining", True)
    assert (await office.store.counts())["queued"] == 0


async def test_a_full_queue_says_when_to_come_back(tmp_path):
    """Over the limit: 429, not a longer queue."""
    async with opened(tmp_path, running_max=1) as office:
        for _ in range(4):
            await office.ask()
        with pytest.raises(TooMany) as refused:
            await office.ask()
        assert refused.value.retry_after_s >= 1


# After the question


async def test_asking_again_makes_a_sibling_answer_of_an_ended_one(office):
    """The same question, agent and metadata; what runs must end first."""
    pen = await office.begin(metadata={"from": "test"})
    with pytest.raises(Conflict) as refused:
        await office.acceptance.again(pen.id, "ann")
    assert refused.value.code == "request_unfinished"
    await complete(office.store, pen, "One.")
    with pytest.raises(NotFound):
        await office.acceptance.again(pen.id, "bob")
    again = (await office.acceptance.again(pen.id, "ann")).request
    before = pen.claim.request
    assert again.user_message_id == before.user_message_id
    assert again.message_id != before.message_id
    assert (again.metadata, again.agent_id) == ({"from": "test"}, "guide")
    await office.delivers(again.id)


async def test_an_agent_that_is_gone_is_not_asked_again(office):
    """Told at once instead of a failure later."""
    pen = await office.begin(agent_id="other")
    await complete(office.store, pen)
    del office.agents["other"]
    with pytest.raises(Invalid) as refused:
        await office.acceptance.again(pen.id, "ann")
    assert refused.value.code == "unknown_agent"


class Told(Traces):
    """Remembers what it is told of."""

    wanted = True

    def __init__(self):
        self.ends = []

    def ended(self, request):
        self.ends.append(request.status)


async def test_a_cancel_that_comes_too_late_tells_no_end(office, monkeypatch):
    """Guard: the status that won; its run tells the end, and a second span would have its id."""
    pen, told = await office.begin(), Told()
    office.acceptance.traces = told
    cancel = office.store.cancel

    async def late(request_id):
        await complete(office.store, pen)
        return await cancel(request_id)

    monkeypatch.setattr(office.store, "cancel", late)
    assert (await office.acceptance.cancel(pen.id, "ann")).status is Status.COMPLETED
    assert told.ends == []


async def test_a_cancel_is_the_owner_s_and_makes_room(tmp_path):
    """Foreign is not found; the next one in the queue starts."""
    async with opened(tmp_path, running_max=1) as office:
        pen = await office.begin()
        waiting = await office.ask()
        with pytest.raises(NotFound):
            await office.acceptance.cancel(pen.id, "bob")
        row = await office.acceptance.cancel(pen.id, "ann")
        assert row.status is Status.CANCELLED
        assert Topic.stop(pen.id) in office.rung
        await office.delivers(waiting.id)
        assert (await office.acceptance.cancel(pen.id, "ann")) == row


async def test_deleting_a_chat_tells_all_whom_it_concerns(office):
    """Workers close, readers look, lists drop it, the queue moves on."""
    pen = await office.begin()
    waiting = await office.ask(chat_id=pen.chat_id)
    office.rung.clear()
    await office.acceptance.delete_chat(pen.chat_id, "ann")
    for request_id in (pen.id, waiting.id):
        assert {Topic.stop(request_id), Topic.events(request_id)} <= set(office.rung)
    assert Topic.chats("ann") in office.rung


async def test_a_deleted_request_stops_its_worker_and_ends_its_readers(office):
    """Both hear of it at once."""
    pen = await office.begin()
    await office.acceptance.delete_request(pen.id, "ann")
    assert {Topic.stop(pen.id), Topic.events(pen.id)} <= set(office.rung)


async def test_an_edit_is_checked_like_a_question(office):
    """A message cannot grow over its limit, or shrink to nothing, by being edited."""
    pen = await office.begin()
    waiting = await office.ask(chat_id=pen.chat_id)
    for text, code in ((" ", "message_empty"), ("x" * (BYTES_MAX + 1), "message_too_large")):
        with pytest.raises(Invalid) as refused:
            await office.acceptance.edit_message(waiting.user_message_id, "ann", text)
        assert refused.value.code == code
    edited = await office.acceptance.edit_message(waiting.user_message_id, "ann", "new")
    assert edited.text == "new"
    await office.acceptance.remove_message(waiting.user_message_id, "ann")
    with pytest.raises(NotFound):
        await office.store.request(waiting.id)


async def test_chats_are_made_changed_and_marked_with_their_lists_told(office):
    """Every change of a chat rings for its person."""
    chat = await office.acceptance.create_chat("ann", None, "")
    assert (chat.title, chat.agent_id) == ("New chat", "guide")
    with pytest.raises(Invalid):
        await office.acceptance.create_chat("ann", "nobody", "")
    steps = (
        lambda: office.acceptance.update_chat(chat.id, "ann", title="t", pinned=True),
        lambda: office.acceptance.mark_read(chat.id, "ann"),
    )
    for step in steps:
        office.rung.clear()
        await step()
        assert office.rung == [Topic.chats("ann")]


async def test_a_place_in_the_queue_is_for_those_who_wait(tmp_path):
    """Admitted, running and ended ones have none; a new one's is known at once."""
    async with opened(tmp_path, running_max=1) as office:
        pen = await office.begin()
        places = []
        for _ in range(3):
            request = await office.ask()
            places.append(await office.acceptance.position(request))
        assert places == [1, 2, 3]
        assert await office.acceptance.position(await office.store.request(pen.id)) is None
        row = await office.acceptance.cancel(request.id, "ann")
        assert await office.acceptance.position(row) is None
