"""Answers that go on behind what was said: what the next attempt is given, and what it replaces."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from perdure import runner as runner_module
from perdure.deltas import Finish, Marked, Text, ToolCall
from perdure.errors import UpstreamError
from perdure.model import Status
from perdure.ports import Topic
from tests.contract.stores import always_again
from tests.unit.test_runner import DROPPED, Office, Scripted
from tests.world.waiting import eventually

FORGOT = UpstreamError("Who?", code="upstream_forgot")


class Going(Scripted):
    """Plays scripts, can continue, and remembers what it was told to stop."""

    can_continue = True

    def __init__(self, *scripts):
        super().__init__(*scripts)
        self.stopped = []

    async def stop(self, position):
        self.stopped.append(position)


def mark(number, text=""):
    return Marked({"n": number}, (Text(text),) if text else ())


@pytest.fixture
def office_of(tmp_path, monkeypatch):
    """Open an office whose agent goes on."""
    monkeypatch.setattr(runner_module, "RETRY_FIRST_S", 0.01)

    @asynccontextmanager
    async def opening(*scripts):
        office = Office(tmp_path / "perdure.db", Going(*scripts), recovery="continue")
        await office.store.open()
        office.journal.start()
        office.runner.start()
        yield office
        office.dispatch.closed = True
        await office.runner.drain(0)
        await office.journal.close()
        await office.store.close()

    return opening


async def test_the_next_attempt_is_given_the_partial_and_says_only_the_rest(office_of):
    """Guards: `Run.partial`, `in_progress(continued)`; half tool calls are dropped."""
    half = ToolCall("k", '{"a":', "find", "c")
    async with office_of(["Once ", half, DROPPED], ["upon", Finish()]) as office:
        row, told = await office.answer()
    assert row.status is Status.COMPLETED
    assert told.text() == "Once upon"
    assert [call.partial for call in office.handler.calls] == ["", "Once "]
    assert [item["type"] for item in row.output] == ["message", "message"]


async def test_a_mark_is_stored_with_what_it_brought_and_given_to_the_next_attempt(office_of):
    async with office_of(
        [mark(0), mark(1, "Once "), DROPPED], [mark(2, "upon"), Finish()]
    ) as office:
        row, told = await office.answer()
    assert told.text() == "Once upon"
    assert row.upstream == {"n": 2}
    assert [call.upstream for call in office.handler.calls] == [None, {"n": 1}]


async def test_a_lost_workers_mark_is_given_to_its_successor(office_of):
    async with office_of([mark(1, "Once "), "wait"], [mark(2, "upon"), Finish()]) as office:
        request = await office.ask()
        await office.handler.waiting.wait()

        async def stored():
            return (await office.store.request(request.id)).upstream

        await eventually(stored, within_s=5, what="the mark is stored")
        await office.store.reap(always_again, dead=True)
        await office.bus.publish([Topic.stop(request.id)])
        office.dispatch.ring()
        row = await office.ended(request)
    assert [call.upstream for call in office.handler.calls] == [None, {"n": 1}]
    assert [call.partial for call in office.handler.calls] == ["", "Once "]
    assert row.status is Status.COMPLETED
    assert office.handler.stopped == []


async def test_an_upstream_that_forgot_is_asked_anew_and_its_answer_replaces_the_partial(office_of):
    """Guard: the attempt begins anew; else the text would be doubled."""
    async with office_of([mark(1, "Once "), DROPPED], [FORGOT], ["Anew.", Finish()]) as office:
        row, told = await office.answer()
    assert told.text() == "Anew."
    assert row.attempt == 3
    assert [(call.partial, call.upstream) for call in office.handler.calls] == [
        ("", None),
        ("Once ", {"n": 1}),
        ("", None),
    ]


async def test_what_nobody_wants_any_more_is_stopped_upstream(office_of):
    """Closing the call does not end an agent that goes on by itself."""
    async with office_of([mark(1, "Once "), "wait"]) as office:
        request = await office.ask()
        await office.handler.waiting.wait()
        await office.store.cancel(request.id)
        await office.bus.publish([Topic.stop(request.id)])
        await office.idle()
    assert office.handler.stopped == [{"n": 1}]


async def test_an_agent_that_does_not_listen_holds_no_run(office_of, monkeypatch):
    """Guard: `STOP_S`; else the run would keep its worker's slot until the process ends."""
    monkeypatch.setattr(runner_module, "STOP_S", 0.01)
    async with office_of([mark(1, "Once "), "wait"]) as office:
        office.handler.stop = lambda _: asyncio.Event().wait()
        request = await office.ask()
        await office.handler.waiting.wait()
        await office.store.cancel(request.id)
        await office.bus.publish([Topic.stop(request.id)])
        await office.idle()


async def test_what_is_handed_over_goes_on_upstream(office_of):
    async with office_of([mark(1, "Once "), "wait"]) as office:
        await office.ask()
        await office.handler.waiting.wait()
        await office.runner.drain(0)
    assert office.handler.stopped == []
