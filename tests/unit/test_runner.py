"""The runner: claim, ask, store, end; what stops an answer from outside and what tries it again."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest

from perdure import run as run_module
from perdure import runner as runner_module
from perdure.buses.inprocess import InProcessBus
from perdure.deltas import Finish, Text, Trace, Usage
from perdure.dispatch import Dispatch
from perdure.errors import AgentError, UpstreamError
from perdure.handlers.python import PythonHandler
from perdure.journal import Journal
from perdure.model import Status
from perdure.ports import Agent, RunLimits, Topic
from perdure.queues.inprocess import InProcessQueue
from perdure.runner import Runner
from perdure.stores.sqlite import SqliteStore
from tests.contract.stores import always_again, ask, begin, complete, sound
from tests.world.waiting import eventually

WITHIN_S = 8
DROPPED = UpstreamError("It broke off.", code="upstream_dropped", retryable=True)
BUSY = UpstreamError("Busy.", code="upstream_error", retryable=True, status=503)


class Scripted:
    """A handler that plays one script after the other, and remembers its calls."""

    can_continue = False

    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.calls = []
        self.times = []
        self.closed = 0
        self.waiting = asyncio.Event()
        self.released = asyncio.Event()

    async def stream(self, call):
        self.calls.append(call)
        self.times.append(asyncio.get_running_loop().time())
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        try:
            for step in script:
                if isinstance(step, Exception):
                    raise step
                if step == "nap":
                    await asyncio.sleep(0.05)  # a moment in which a drain can begin
                elif step == "wait":
                    self.waiting.set()
                    await self.released.wait()
                else:
                    yield Text(step) if isinstance(step, str) else step
        finally:
            self.closed += 1

    async def close(self):
        pass


class Office:
    """A store, a journal and a runner with one agent that plays scripts."""

    def __init__(self, path, handler, answer_bytes_max=1_000_000, lease_s=30.0, **agent):
        self.store = SqliteStore(path, "normal")
        self.bus, self.queue = InProcessBus(), InProcessQueue()
        self.handler = handler
        self.agents = {"guide": Agent(id="guide", handler=handler, **agent)}
        self.journal = Journal(self.store, self.bus)
        self.dispatch = Dispatch(self.store, self.queue, RunLimits(2, 2))
        self.runner = Runner(
            self.store,
            self.journal,
            self.bus,
            self.agents,
            freed=self.dispatch.ring,
            lease_s=lease_s,
            answer_bytes_max=answer_bytes_max,
        )
        self.queue.consume(self.runner.deliver)

    async def ask(self, **changes):
        request = await ask(self.store, **changes)
        self.dispatch.ring()
        return request

    async def ended(self, request):
        async def end():
            row = await self.store.request(request.id)
            return row if row.status.terminal else None

        return await eventually(end, within_s=WITHIN_S, what=f"{request.id} has ended")

    async def answer(self, **changes):
        """Ask and wait for the end; return the row and the fold of the log."""
        row = await self.ended(await self.ask(**changes))
        return row, await sound(self.store, row.id)

    async def idle(self):
        async def nothing():
            return not self.runner.runs

        await eventually(nothing, within_s=WITHIN_S, what="no run is left")


@asynccontextmanager
async def opened(tmp_path, *scripts, **settings):
    office = Office(tmp_path / "perdure.db", Scripted(*scripts), **settings)
    await office.store.open()
    office.journal.start()
    office.runner.start()
    yield office
    office.dispatch.closed = True
    await office.runner.drain(0)
    await office.journal.close()
    await office.store.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(runner_module, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr(runner_module, "SWEEP_S", 0.02)


# To the end


async def test_an_answer_is_stored_with_all_that_came_with_it(tmp_path):
    """Text, usage, trace: row, message and log agree."""
    script = [Trace("tr-1"), "Be", "cause.", Usage(3, 4, 7), Finish()]
    async with opened(tmp_path, script) as office:
        row, folded = await office.answer(text="Why?")
        assert (row.status, folded.text()) == (Status.COMPLETED, "Because.")
        assert (row.trace_id, row.usage["total_tokens"]) == ("tr-1", 7)
        (call,) = office.handler.calls
        assert call.messages == [{"role": "user", "content": "Why?"}]
        assert (call.attempt, call.partial) == (1, "")
        assert (await office.store.messages(row.chat_id, "ann"))[-1].text == "Because."
        await office.idle()
        assert office.handler.closed == 1


async def test_an_answer_cut_at_its_length_is_completed_but_incomplete(tmp_path):
    """`length`: our state is completed, the response says incomplete."""
    async with opened(tmp_path, ["So lo", Finish("length")]) as office:
        row, _ = await office.answer()
        assert (row.status, row.incomplete_reason) == (Status.COMPLETED, "max_output_tokens")


async def test_a_conversation_is_told_without_its_empty_answers(tmp_path):
    """A failed answer without text would be an empty message, which servers refuse."""
    async with opened(tmp_path, [AgentError("no")], ["ok", Finish()]) as office:
        first, _ = await office.answer(text="One?")
        await office.answer(text="Two?", chat_id=first.chat_id)
        told = [message["content"] for message in office.handler.calls[-1].messages]
        assert told == ["One?", "Two?"]


async def test_a_free_place_is_taken_by_the_next_at_once(tmp_path):
    """Guard: the end of a run rings; two at once are allowed here."""
    async with opened(tmp_path, ["x", Finish()]) as office:
        asked = [await office.ask() for _ in range(7)]
        for request in asked:
            assert (await office.ended(request)).status is Status.COMPLETED


async def test_a_second_delivery_does_nothing(tmp_path):
    """At least once: the claim decides; nobody is asked twice."""
    async with opened(tmp_path, ["x", "wait", Finish()]) as office:
        request = await office.ask()
        await office.handler.waiting.wait()
        await office.queue.enqueue([request.id, request.id, "resp_none"])
        office.handler.released.set()
        await office.ended(request)
        await office.queue.enqueue([request.id])
        await office.idle()
        assert len(office.handler.calls) == 1


# Trying again


async def test_before_the_first_delta_a_failure_is_tried_again(tmp_path):
    """503, 503, answer: one attempt, and nothing in the log tells of it."""
    async with opened(tmp_path, [BUSY], [BUSY], ["ok", Finish()]) as office:
        row, folded = await office.answer()
        assert (row.status, row.attempt, folded.text()) == (Status.COMPLETED, 1, "ok")
        assert len(office.handler.calls) == office.handler.closed == 3


async def test_the_wait_that_a_server_asks_for_is_kept(tmp_path):
    """Retry-After: not a moment earlier."""
    limited = UpstreamError("Slow down.", retryable=True, retry_after_s=0.3, status=429)
    async with opened(tmp_path, [limited], ["ok", Finish()]) as office:
        await office.answer()
        first, second = office.handler.times
        assert second - first >= 0.3


async def test_a_wait_beyond_the_deadline_fails_at_once(tmp_path):
    """Guard: `retry_total_s`; nobody waits an hour for a server that asks for one."""
    limited = UpstreamError("Slow down.", code="upstream_rate_limited", retryable=True)
    limited.retry_after_s = 3600
    async with opened(tmp_path, [limited], retry_total_s=1.0) as office:
        row, _ = await office.answer()
        assert (row.status, row.error.code) == (Status.FAILED, "upstream_rate_limited")
        assert len(office.handler.calls) == 1


async def test_retrying_ends_at_the_deadline(tmp_path):
    """A server that stays away is told of."""
    async with opened(tmp_path, [BUSY], retry_total_s=0.2) as office:
        row, _ = await office.answer()
        assert (row.status, row.error.code) == (Status.FAILED, "upstream_error")
        assert len(office.handler.calls) > 1


async def test_what_cannot_succeed_is_not_tried_again(tmp_path):
    """400, 401, 404 …: the same call would fail the same way."""
    refused = UpstreamError("No such model.", code="upstream_refused", status=404)
    async with opened(tmp_path, [refused]) as office:
        row, _ = await office.answer()
        assert (row.status, row.error.code) == (Status.FAILED, "upstream_refused")
        assert row.error.message == "No such model."
        assert len(office.handler.calls) == 1


async def test_after_the_first_delta_nothing_but_a_drop_is_tried_again(tmp_path):
    """An error in mid-answer ends it; the text so far stays."""
    broken = UpstreamError("Out of memory.", code="upstream_error", retryable=True)
    async with opened(tmp_path, ["so far", broken]) as office:
        row, folded = await office.answer()
        assert (row.status, row.error.code) == (Status.FAILED, "upstream_error")
        assert folded.text() == "so far"
        assert len(office.handler.calls) == 1


@pytest.mark.parametrize("drop", [[DROPPED], []], ids=["an error", "a clean end without finish"])
async def test_a_drop_in_mid_answer_begins_again_as_a_new_attempt(tmp_path, drop):
    """The abandoned text stays in the log, closed; what counts is the new one."""
    async with opened(tmp_path, ["half an ans", *drop], ["whole", Finish()]) as office:
        row, folded = await office.answer()
        assert (row.status, row.attempt) == (Status.COMPLETED, 2)
        assert (folded.text(), folded.attempt) == ("whole", 2)
        assert [call.attempt for call in office.handler.calls] == [1, 2]
        assert (await office.store.messages(row.chat_id, "ann"))[-1].text == "whole"


async def test_attempts_have_a_most(tmp_path):
    """Guard: `attempts_max`; a server that always drops is asked so often and no more."""
    async with opened(tmp_path, ["half", DROPPED], attempts_max=3) as office:
        row, folded = await office.answer()
        assert (row.status, row.error.code) == (Status.FAILED, "upstream_dropped")
        assert (row.attempt, len(office.handler.calls)) == (3, 3)
        assert folded.text() == "half"


async def test_the_policy_fail_keeps_the_partial_answer(tmp_path):
    """`recovery = fail`: a drop is told, not hidden behind a second bill."""
    async with opened(tmp_path, ["half", DROPPED], recovery="fail") as office:
        row, folded = await office.answer()
        assert (row.status, row.error.code) == (Status.FAILED, "upstream_dropped")
        assert (folded.text(), len(office.handler.calls)) == ("half", 1)


async def test_a_drop_that_must_not_be_repeated_opens_no_attempt(tmp_path):
    """A handler may say that a second call would do harm; then the log ends as it stands."""
    final = UpstreamError("It broke off.", code="upstream_dropped")
    async with opened(tmp_path, ["half", final]) as office:
        row, folded = await office.answer()
        assert (row.status, row.attempt, folded.attempt) == (Status.FAILED, 1, 1)
        assert folded.text() == "half"


# Limits


@pytest.mark.parametrize(
    ("limit", "script", "code"),
    [
        ("first_byte_timeout_s", ["wait"], "first_byte_timeout"),
        ("idle_timeout_s", ["so far", "wait"], "idle_timeout"),
        ("total_timeout_s", ["so far", "wait"], "total_timeout"),
    ],
)
async def test_silence_has_a_limit(tmp_path, limit, script, code):
    """Guard: the sweep; the call is closed, the text so far stays, the reason is told."""
    async with opened(tmp_path, script, **{limit: 0.1}) as office:
        row, folded = await office.answer()
        assert (row.status, row.error.code) == (Status.FAILED, code)
        assert folded.text() == "".join(script[:-1])
        assert office.handler.closed == 1


async def test_waiting_to_try_again_is_not_silence(tmp_path):
    """The first-byte limit counts a call's silence, not the pause between two calls."""
    limited = UpstreamError("Slow down.", retryable=True, retry_after_s=0.4, status=429)
    settings = {"first_byte_timeout_s": 0.2}
    async with opened(tmp_path, [limited], ["ok", Finish()], **settings) as office:
        assert (await office.answer())[0].status is Status.COMPLETED


async def test_an_endless_answer_is_cut_off(tmp_path):
    """Guard: `answer_bytes_max`; an agent that loops fills no disk."""
    async with opened(tmp_path, ["x" * 1000] * 100, answer_bytes_max=10_000) as office:
        row, folded = await office.answer()
        assert (row.status, row.error.code) == (Status.FAILED, "answer_too_large")
        assert 10_000 <= len(folded.text()) <= 12_000
        assert office.handler.closed == 1


async def test_an_agent_that_floods_waits_for_the_disk(tmp_path):
    """Backpressure: what waits for the store stays bounded."""
    async with opened(
        tmp_path, [*["x" * 30_000] * 200, Finish()], answer_bytes_max=10**8
    ) as office:
        most = 0

        async def ended():
            nonlocal most
            for run in office.runner.runs.values():
                most = max(most, run.builder.pending)
            row = await office.store.request(request.id)
            return row.status.terminal

        request = await office.ask()
        await eventually(ended, within_s=20, what="the flood is stored", every_s=0)
        assert most < 4 * run_module.PENDING_BYTES_MAX
        assert len((await sound(office.store, request.id)).text()) == 6_000_000


# Broken handlers


@pytest.mark.parametrize("error", [ZeroDivisionError("x / 0"), TimeoutError("late"), KeyError("k")])
async def test_an_exception_in_a_handler_fails_its_request_only(tmp_path, error):
    """The name of the exception is told, its text and traceback are not."""
    async with opened(tmp_path, ["so far", error], ["ok", Finish()]) as office:
        row, folded = await office.answer()
        assert (row.status, row.error.code) == (Status.FAILED, "server_error")
        assert type(error).__name__ in row.error.message
        assert "x / 0" not in row.error.message
        assert folded.text() == "so far"
        assert (await office.answer())[0].status is Status.COMPLETED


async def test_an_agent_s_own_error_is_told_in_its_words(tmp_path):
    """`AgentError`: the sentence is for a person."""
    async with opened(tmp_path, [AgentError("Log in first.", code="auth_required")]) as office:
        row, _ = await office.answer()
        assert (row.error.code, row.error.message) == ("auth_required", "Log in first.")


@pytest.mark.parametrize("text", ["\ud83d", "a\x00b", "\u2028", ""])
async def test_odd_texts_break_nothing(tmp_path, text):
    """Half characters and NULs come from real servers, in texts and in trace ids."""
    async with opened(tmp_path, [Trace(f"tr{text}"), "a", text, "b", Finish()]) as office:
        row, folded = await office.answer()
        assert row.status is Status.COMPLETED
        assert folded.text().startswith("a")
        assert row.trace_id.startswith("tr")
        assert (await office.answer())[0].status is Status.COMPLETED


async def test_an_agent_that_is_gone_fails_its_requests(tmp_path):
    """A configuration may change while questions wait."""
    async with opened(tmp_path, ["x", Finish()]) as office:
        row, _ = await office.answer(agent_id="former")
        assert (row.status, row.error.code) == (Status.FAILED, "agent_removed")
        assert "former" in row.error.message


# Stopped from outside


async def test_a_cancel_closes_the_call_at_once(tmp_path):
    """The store decides, the bus tells; the agent stops costing money."""
    async with opened(tmp_path, ["so far", "wait"]) as office:
        request = await office.ask()
        await office.handler.waiting.wait()
        await office.store.cancel(request.id)
        await office.bus.publish([Topic.stop(request.id)])
        await office.idle()
        assert office.handler.closed == 1
        folded = await sound(office.store, request.id)
        assert (folded.status, folded.text()) == (Status.CANCELLED, "so far")


async def test_a_cancel_that_nobody_told_is_found_out_by_renewing(tmp_path):
    """Guard: the wake-up is a courtesy; the lease is the law."""
    async with opened(tmp_path, ["so far", "wait"], lease_s=0.15) as office:
        request = await office.ask()
        await office.handler.waiting.wait()
        await office.store.cancel(request.id)
        await office.idle()
        assert office.handler.closed == 1


async def test_leases_are_renewed_while_an_answer_runs(tmp_path):
    """Guard: a living worker is never reaped, however long it is silent."""
    async with opened(tmp_path, ["wait", "x", Finish()], lease_s=1) as office:
        request = await office.ask()
        await office.handler.waiting.wait()
        for _ in range(10):
            await asyncio.sleep(0.2)  # two leases long, in which nothing else happens
            assert await office.store.reap(always_again) == []
        office.handler.released.set()
        assert (await office.ended(request)).attempt == 1


async def test_a_taken_over_run_does_not_forget_the_run_that_follows_it(tmp_path):
    """Guard: a run that ends late removes itself only; its follower keeps its lease and clock."""
    slow = asyncio.Event()

    class Stubborn(Scripted):
        async def stream(self, call):
            try:
                async for delta in super().stream(call):
                    yield delta
            finally:
                if call.attempt == 1:
                    await slow.wait()

    async with opened(tmp_path) as office:
        handler = Stubborn(["one", "wait"], ["two", "wait", Finish()])
        office.agents["guide"] = Agent(id="guide", handler=handler)
        request = await office.ask()
        await handler.waiting.wait()
        first = office.runner.runs[request.id]
        await office.store.reap(always_again, dead=True)
        await office.bus.publish([Topic.stop(request.id)])
        office.dispatch.ring()

        async def followed():
            return office.runner.runs.get(request.id) not in (None, first)

        await eventually(followed, within_s=WITHIN_S, what="the second attempt runs")
        slow.set()
        await asyncio.wait([first.task])
        assert request.id in office.runner.runs
        handler.released.set()
        row = await office.ended(request)
        assert (row.status, row.attempt) == (Status.COMPLETED, 2)
        assert (await sound(office.store, request.id)).text() == "two"


# Drain


async def test_a_drain_lets_short_runs_end_and_hands_over_the_long_ones(tmp_path):
    """Nobody sees a false end, and no crash is counted."""
    async with opened(tmp_path, ["long", "wait"]) as office:
        long = await office.ask()
        await office.handler.waiting.wait()
        office.handler.scripts = [["short", "nap", Finish()]]
        short = await office.ask()

        async def asked():
            return len(office.handler.calls) == 2

        await eventually(asked, within_s=WITHIN_S, what="the short one runs")
        await office.runner.drain(1.0)
        assert (await office.store.request(short.id)).status is Status.COMPLETED
        row = await office.store.request(long.id)
        assert (row.status, row.crashes) == (Status.QUEUED, 0)
        assert (await sound(office.store, long.id)).text() == "long"
        assert office.handler.closed == 2


async def test_a_drain_takes_nothing_new(tmp_path):
    """A late delivery stays for another worker."""
    async with opened(tmp_path, ["x", Finish()]) as office:
        await office.runner.drain(0)
        request = await office.ask()
        await office.store.admit(RunLimits(2, 2))
        await office.queue.enqueue([request.id])
        assert (await office.store.request(request.id)).status is Status.QUEUED
        assert office.handler.calls == []


async def test_what_was_being_claimed_as_the_drain_began_is_handed_over_too(tmp_path):
    """Guard: else a drain without grace would wait for a whole answer."""
    async with opened(tmp_path, ["long", "wait"]) as office:
        request = await ask(office.store)
        await office.store.admit(RunLimits(2, 2))
        office.runner.deliver(request.id)
        await asyncio.wait_for(office.runner.drain(0), WITHIN_S)
        row = await office.store.request(request.id)
        assert (row.status, row.crashes) == (Status.QUEUED, 0)


async def test_what_is_claimed_during_a_drain_asks_no_agent_before_it_is_handed_over(tmp_path):
    """Guard: the run gives way at once; its agent would be paid for, and its end cut off."""
    async with opened(tmp_path, ["x", Finish()]) as office:
        claim, claiming, gate = office.store.claim, asyncio.Event(), asyncio.Event()

        async def late(*given):
            claiming.set()
            await gate.wait()
            return await claim(*given)

        office.store.claim = late
        request = await office.ask()
        await claiming.wait()
        drain = asyncio.ensure_future(office.runner.drain(0))
        await asyncio.wait({drain}, timeout=0.05)
        gate.set()
        await asyncio.wait_for(drain, WITHIN_S)
        assert office.handler.calls == []
        assert (await office.store.request(request.id)).status is Status.QUEUED


async def test_the_next_worker_finishes_what_was_handed_over(tmp_path):
    """The whole way: drain, start, second attempt, one log."""
    async with opened(tmp_path, ["long", "wait"]) as office:
        request = await office.ask()
        await office.handler.waiting.wait()
        await office.runner.drain(0)
    async with opened(tmp_path, ["whole", Finish()]) as office:
        office.dispatch.ring()
        row = await office.ended(request)
        assert (row.status, row.attempt, row.crashes) == (Status.COMPLETED, 2, 0)
        assert (await sound(office.store, request.id)).text() == "whole"


async def test_a_store_that_cannot_be_claimed_from_frees_the_place(tmp_path, caplog):
    """A failed claim costs the reconciler's wait, not a slot for ever."""
    async with opened(tmp_path, ["x", Finish()]) as office:
        pen = await begin(office.store)
        await office.queue.enqueue([pen.id])
        await office.idle()
        await complete(office.store, pen)
        assert (await office.answer())[0].status is Status.COMPLETED
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


REFUSED = UpstreamError("The agent's server refuses the key.", code="upstream_refused", status=401)


async def test_the_log_says_why_an_answer_failed_and_no_more_of_one_that_did_not(tmp_path, caplog):
    """Guard: an operator with nothing but the log finds the reason, at a level that stands out."""
    caplog.set_level("INFO")
    async with opened(tmp_path, [REFUSED], ["x", Finish()]) as office:
        failed, completed = (await office.answer())[0], (await office.answer())[0]
        await office.idle()
    told = {one.getMessage().split()[0]: one for one in caplog.records if " after " in one.message}
    line = told[failed.id]
    assert line.levelname == "WARNING"
    assert "s: upstream_refused (agent guide): The agent's server refuses" in line.getMessage()
    assert told[completed.id].levelname == "INFO"
    assert told[completed.id].getMessage().endswith(" s")


def boom(messages):
    """An agent with a bug."""
    return [][len(messages)]


async def test_the_log_says_where_a_python_agent_raised(tmp_path, caplog):
    """Guard: its author sees the line; people who asked see only what kind of error it was."""
    async with opened(tmp_path, []) as office:
        office.runner._agents["guide"] = Agent(id="guide", handler=PythonHandler(boom))
        row, _ = await office.answer()
        await office.idle()
    assert "Traceback" not in row.error.message
    (line,) = [one for one in caplog.records if row.id in one.getMessage()]
    assert "agent_error (agent guide): The agent raised IndexError" in line.getMessage()
    assert line.exc_info is not None
    assert "in boom" in logging.Formatter().formatException(line.exc_info)
