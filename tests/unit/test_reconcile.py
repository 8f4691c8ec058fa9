"""The reconciler: it delivers again, takes over and prunes; it never runs anything itself."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from perdure import chores, outage
from perdure import reconcile as reconcile_module
from perdure.buses.inprocess import InProcessBus
from perdure.deltas import Finish, Text
from perdure.dispatch import Dispatch
from perdure.errors import Unavailable
from perdure.journal import Journal
from perdure.model import Failure, Request, Status
from perdure.ports import Agent, RunLimits, Topic
from perdure.queues.inprocess import InProcessQueue
from perdure.reconcile import Reconciler
from perdure.runner import Runner
from perdure.settings import Retention
from perdure.stores.sqlite import SqliteStore
from tests.contract.stores import LAPSED_S, ask, begin, complete, sound, take
from tests.world.waiting import eventually

WITHIN_S = 5
LIMITS = RunLimits(10, 10)
NEVER = Retention(events_hours=0)


class Silent:
    """A handler that says one word, then waits until it is released."""

    can_continue = False

    def __init__(self):
        self.asked = asyncio.Event()
        self.released = asyncio.Event()

    async def stream(self, call):
        yield Text(f"attempt {call.attempt}")
        self.asked.set()
        await self.released.wait()
        yield Finish()

    async def close(self):
        pass


class Office:
    """A store and a reconciler; deliveries and wake-ups are remembered."""

    def __init__(self, path, every_s, retention, **agent):
        self.store = SqliteStore(path, "normal")
        self.bus, self.queue = InProcessBus(), InProcessQueue()
        self.handler = Silent()
        self.agents = {"guide": Agent(id="guide", handler=self.handler, **agent)}
        self.dispatch = Dispatch(self.store, self.queue, LIMITS)
        self.reconciler = Reconciler(
            self.store,
            self.bus,
            self.queue,
            self.dispatch,
            self.agents,
            retention=retention,
            every_s=every_s,
        )
        self.delivered: list[str] = []
        self.rung: list[str] = []
        self.queue.consume(self.delivered.append)
        self.bus.subscribe(self.rung.extend)

    async def becomes(self, request_id, status):
        async def is_so():
            row = await self.store.request(request_id)
            return row if row.status is status else None

        return await eventually(is_so, within_s=WITHIN_S, what=f"{request_id} is {status}")

    async def delivers(self, request_id):
        async def has():
            return request_id in self.delivered

        await eventually(has, within_s=WITHIN_S, what=f"{request_id} is delivered")


@asynccontextmanager
async def opened(tmp_path, *, every_s=0.02, retention=NEVER, **agent):
    office = Office(tmp_path / "perdure.db", every_s, retention, **agent)
    await office.store.open()
    office.reconciler.start()
    yield office
    office.dispatch.closed = True
    await office.reconciler.close()
    await office.store.close()


# Verdicts


def lost(crashes, agent_id="guide"):
    return Request(
        id="resp_1",
        chat_id="chat_1",
        user_id="ann",
        agent_id=agent_id,
        user_message_id="msg_1",
        message_id="msg_2",
        status=Status.STREAMING,
        created_at=0.0,
        sequence_number=3,
        crashes=crashes,
    )


@pytest.mark.parametrize(
    ("agent", "request_", "code"),
    [
        ({}, lost(1), None),
        ({}, lost(2), None),
        ({}, lost(3), "worker_lost"),
        ({"attempts_max": 1}, lost(1), "worker_lost"),
        ({"attempts_max": 5}, lost(4), None),
        ({"recovery": "continue"}, lost(1), None),
        ({"recovery": "continue"}, lost(3), "worker_lost"),
        ({"recovery": "fail"}, lost(1), "interrupted"),
        ({}, lost(1, "former"), "agent_removed"),
    ],
)
async def test_the_agent_s_policy_decides_about_a_lost_worker(tmp_path, agent, request_, code):
    """Guard: poison stops at `attempts_max`, `fail` never asks twice, a gone agent is told."""
    office = Office(tmp_path / "perdure.db", 1.0, NEVER, **agent)
    verdict = office.reconciler.verdict(request_)
    assert (verdict and verdict.code) == code
    if isinstance(verdict, Failure):
        assert verdict.message.endswith(".")


# Rounds


async def test_what_lost_its_lease_is_taken_over_and_started_again(tmp_path):
    """Within one round; readers and lists are told.

    Guard: the request's next worker may be at work when a wake-up arrives, so none says stop.
    """
    async with opened(tmp_path) as office:
        pen = await begin(office.store, lease_s=LAPSED_S)
        await office.delivers(pen.id)
        assert {Topic.events(pen.id), Topic.chats("ann")} <= set(office.rung)
        assert Topic.stop(pen.id) not in office.rung
        row = await office.store.request(pen.id)
        assert (row.status, row.crashes) == (Status.QUEUED, 1)
        assert await office.store.append([pen.say("late")]) == [False]


async def test_a_living_worker_is_left_alone(tmp_path):
    """Guard: the lease, never the age."""
    async with opened(tmp_path) as office:
        live, dead = await begin(office.store), await begin(office.store, lease_s=LAPSED_S)
        await office.delivers(dead.id)
        await complete(office.store, live)
        assert live.id not in office.delivered


async def test_poison_ends_after_so_many_workers(tmp_path):
    """Each attempt loses its worker; the last one fails the request and keeps its text."""
    async with opened(tmp_path, attempts_max=2) as office:
        pen = await begin(office.store, lease_s=LAPSED_S)
        await office.becomes(pen.id, Status.QUEUED)
        await office.delivers(pen.id)
        await take(office.store, pen.id, LAPSED_S)
        row = await office.becomes(pen.id, Status.FAILED)
        assert (row.error.code, row.crashes, row.attempt) == ("worker_lost", 2, 2)
        assert Topic.stop(pen.id) in office.rung
        await sound(office.store, pen.id)


async def test_at_the_start_everything_that_streams_is_taken_over(tmp_path):
    """Embedded: the dead self's leases are not waited for."""
    async with opened(tmp_path, every_s=3600) as office:
        pens = [await begin(office.store) for _ in range(3)]
        await office.reconciler.take_over(dead=True)
        for pen in pens:
            assert (await office.store.request(pen.id)).status is Status.QUEUED


async def test_what_was_admitted_and_not_delivered_is_enqueued_again(tmp_path, monkeypatch):
    """Guard: a queue that was restarted empty costs time, never an answer."""
    monkeypatch.setattr(reconcile_module, "UNDELIVERED_S", 0.01)
    async with opened(tmp_path) as office:
        request = await ask(office.store)
        await office.store.admit(LIMITS)
        await office.delivers(request.id)
        assert await office.store.claim(request.id, "w", 30) is not None


async def test_what_nobody_rang_for_is_admitted(tmp_path):
    """A crash between the commit of a question and its ring costs one round."""
    async with opened(tmp_path) as office:
        request = await ask(office.store)
        await office.delivers(request.id)


async def test_it_runs_nothing_itself(tmp_path):
    """It delivers; whoever consumes the queue claims."""
    async with opened(tmp_path) as office:
        request = await ask(office.store)
        await office.delivers(request.id)
        assert (await office.store.request(request.id)).attempt == 0
        assert not office.handler.asked.is_set()


@pytest.mark.parametrize("failure", [Unavailable("away"), ZeroDivisionError()], ids=repr)
async def test_a_store_that_fails_for_a_moment_ends_no_round(tmp_path, monkeypatch, failure):
    """Every round begins anew; after a bug too. Guard: `chores.begin`."""
    monkeypatch.setattr(chores, "AGAIN_S", 0.01)
    async with opened(tmp_path) as office:
        reap, failures = office.store.reap, [failure] * 3

        async def moody(verdict, *, dead=False):
            if failures:
                raise failures.pop()
            return await reap(verdict, dead=dead)

        office.store.reap = moody
        pen = await begin(office.store, lease_s=LAPSED_S)
        await office.delivers(pen.id)
        assert not failures


async def test_an_outage_of_the_store_is_a_line_at_its_beginning_and_one_at_its_end(
    tmp_path, monkeypatch, caplog
):
    """Guard: `Outage`. With a line for each try the log would fill the disk."""
    monkeypatch.setattr(reconcile_module, "PRUNE_EVERY_S", 0.01)
    rounds = 0

    async def away(*_args, **_given):
        nonlocal rounds
        rounds += 1
        raise Unavailable("away")

    async with opened(tmp_path) as office:

        async def many():
            return rounds >= 20

        there = {name: getattr(office.store, name) for name in ("reap", "admit", "prune")}
        for name in there:
            setattr(office.store, name, away)
        await eventually(many, within_s=WITHIN_S, what="many tries have failed")
        during = [one.getMessage() for one in caplog.records]
        for name, method in there.items():
            setattr(office.store, name, method)

        async def over():
            return sum("works again after" in one.getMessage() for one in caplog.records) == 3

        await eventually(over, within_s=WITHIN_S, what="all three work again")
    assert sorted(during) == [
        f"{what} fails, will try again: away" for what in ("admitting", "pruning", "reconciling")
    ]
    assert len(caplog.records) == 6


async def test_an_outage_that_lasts_is_told_each_minute(tmp_path, monkeypatch, caplog):
    """Guard: `AGAIN_S`; whoever looks at the end of the log sees that it goes on."""
    monkeypatch.setattr(outage, "AGAIN_S", 0.05)

    async def away(*_args, **_given):
        raise Unavailable("away")

    async with opened(tmp_path) as office:
        office.store.reap = away

        async def twice():
            return sum("reconciling still fails" in one.getMessage() for one in caplog.records) > 1

        await eventually(twice, within_s=WITHIN_S, what="it is told again")


async def test_a_process_that_slept_renews_its_leases_before_it_reaps(tmp_path):
    """Guard: after a pause longer than a lease its own answers are not taken for lost."""
    async with opened(tmp_path, every_s=0.1) as office:
        journal = Journal(office.store, office.bus)
        runner = Runner(
            office.store,
            journal,
            office.bus,
            office.agents,
            freed=office.dispatch.ring,
            lease_s=0.6,
            answer_bytes_max=10_000,
        )
        office.queue.consume(runner.deliver)
        journal.start()
        runner.start()
        request = await ask(office.store)
        office.dispatch.ring()
        await asyncio.wait_for(office.handler.asked.wait(), WITHIN_S)
        for _ in range(3):
            time.sleep(0.9)  # noqa: ASYNC251 - the whole process stands still, longer than a lease
            await asyncio.sleep(0.15)  # a round and a renewal are due and happen
        office.handler.released.set()
        row = await office.becomes(request.id, Status.COMPLETED)
        assert (row.attempt, row.crashes) == (1, 0)
        await runner.drain(0)
        await journal.close()


# Retention


async def test_what_is_past_its_time_is_pruned(tmp_path, monkeypatch):
    """Events of ended answers after hours, requests and chats after days; 0 keeps for ever."""
    monkeypatch.setattr(reconcile_module, "PRUNE_EVERY_S", 0.02)
    soon = Retention(events_hours=1e-9, requests_days=0, chats_days=0)
    async with opened(tmp_path, retention=soon) as office:
        row = await complete(office.store, await begin(office.store))

        async def pruned():
            return (await office.store.request(row.id)).events_pruned

        await eventually(pruned, within_s=WITHIN_S, what="the events are pruned")
        assert len(await office.store.messages(row.chat_id, "ann")) == 2


async def test_while_nothing_is_past_its_time_it_is_looked_for_ever_more_seldom(
    tmp_path, monkeypatch
):
    """Guard: each process of a cluster looks; every second of each would be load for nothing."""
    monkeypatch.setattr(reconcile_module, "PRUNE_EVERY_S", 0.01)
    monkeypatch.setattr(reconcile_module, "PRUNE_IDLE_MAX_S", 0.64)
    looks = []
    async with opened(tmp_path, retention=Retention()) as office:
        prune = office.store.prune

        async def counted(**ages):
            looks.append(time.monotonic())
            return await prune(**ages)

        office.store.prune = counted

        async def seven():
            return len(looks) >= 7

        await eventually(seven, within_s=WITHIN_S, what="seven looks")
        assert looks[6] - looks[5] > 4 * (looks[1] - looks[0])
