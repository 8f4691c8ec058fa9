"""Signs of life: leases renewed beside the loop, lost claims told to it, stuck loops ended."""

from __future__ import annotations

import time
from typing import Any

import pytest

from perdure.errors import Unavailable
from perdure.heartbeat import Heartbeat
from tests.world.waiting import eventually

LEASE_S = 0.6


class Leases:
    """A store that only renews, for what it still thinks is owned."""

    def __init__(self):
        self.owned = {"resp_1": "claim_1", "resp_2": "claim_2"}
        self.renewals = []
        self.broken = False
        self.bug = None

    async def open(self):
        if self.broken:
            raise Unavailable("The store is away.")

    async def close(self):
        self.renewals.append("closed")

    async def renew(self, claims, lease_s):
        if self.broken:
            raise Unavailable("The store is away.")
        if self.bug is not None:
            raise self.bug
        self.renewals.append((dict(claims), lease_s))
        return {key for key, claim in claims.items() if self.owned.get(key) == claim}


class Runs:
    """A runner, as the heartbeat sees it."""

    def __init__(self):
        self.running = {"resp_1": "claim_1", "resp_2": "claim_2"}
        self.lost = []
        self.fenced = []

    def claims(self):
        return dict(self.running)

    def lose(self, request_id, claim_id):
        self.lost.append((request_id, claim_id))

    def fence(self, error):
        self.fenced.append(error)


@pytest.fixture
async def stage():
    runs: Any = Runs()
    leases: Any = Leases()
    ends: list[str] = []
    heart = Heartbeat(runs, leases, lease_s=LEASE_S, silent_max_s=1.0, end=ends.append)
    yield heart, runs, leases, ends
    await heart.close()
    assert leases.renewals[-1] == "closed"


def has(what):
    async def look():
        return what()

    return look


async def test_leases_are_renewed_while_the_loop_is_busy(stage):
    """Guard: the thread; code that computes for longer than a lease must not lose its runs."""
    heart, runs, leases, _ = stage
    heart.start()
    await eventually(has(lambda: leases.renewals), within_s=5, what="a first renewal")
    before = len(leases.renewals)
    time.sleep(LEASE_S * 1.5)  # noqa: ASYNC251  # the fault: the loop does not get a turn
    assert len(leases.renewals) >= before + 2
    assert leases.renewals[0] == (runs.running, LEASE_S)


async def test_a_lost_claim_is_told_to_the_loop(stage):
    """A claim that is gone stops the run under that very claim."""
    heart, runs, leases, _ = stage
    leases.owned.pop("resp_2")
    heart.start()
    await eventually(has(lambda: runs.lost), within_s=5, what="the loss is told")
    assert runs.lost[0] == ("resp_2", "claim_2")
    assert not runs.fenced


async def test_without_renewals_for_most_of_a_lease_all_runs_stop(stage):
    """Guard: self-fencing; others may answer by now, whatever keeps us from the store."""
    heart, runs, leases, _ = stage
    leases.broken = True
    began = time.monotonic()  # before the thread runs, however late this one goes on
    heart.start()
    await eventually(has(lambda: runs.fenced), within_s=5, what="the runs are stopped")
    assert time.monotonic() - began >= LEASE_S * 2 / 3 - 0.05
    leases.broken = False
    await eventually(has(lambda: leases.renewals), within_s=5, what="renewals go on")


async def test_a_bug_below_costs_renewals_and_not_the_thread(stage):
    """Guard: it counts as a renewal that failed; without the thread all leases would lapse."""
    heart, runs, leases, _ = stage
    leases.bug = ZeroDivisionError()
    heart.start()
    await eventually(has(lambda: runs.fenced), within_s=5, what="the runs are stopped")
    leases.bug = None
    await eventually(has(lambda: leases.renewals), within_s=5, what="renewals go on")


async def test_a_loop_that_is_stuck_ends_the_process(stage):
    """Guard: the watchdog; a stuck loop would keep its leases for ever."""
    heart, _, _, ends = stage
    heart.start()
    time.sleep(1.6)  # noqa: ASYNC251  # the fault: longer than `silent_max_s`
    assert ends
    assert "did not answer" in ends[0]


async def test_a_loop_that_answers_is_left_alone(stage):
    """Control of the one before."""
    heart, _, leases, ends = stage
    heart.start()
    await eventually(has(lambda: len(leases.renewals) > 6), within_s=10, what="some renewals")
    assert not ends
