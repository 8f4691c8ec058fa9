"""Verdicts on their way to the tracker: later when it is away, and the last one counts."""

from __future__ import annotations

import asyncio

from perdure.errors import Unavailable
from perdure.model import Feedback
from perdure.tracker import Trace
from perdure.verdicts import Verdicts


class Tracker:
    """Fails as often as it is told to, then takes what comes."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.told: list[object] = []
        self.tries = 0
        self.closed = False

    async def trace(self, trace_id: str) -> Trace:
        raise NotImplementedError

    async def tell(self, verdict: Feedback, author: str) -> None:
        self.tries += 1
        value = verdict.value
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")
        self.told.append((value, author))

    async def close(self) -> None:
        self.closed = True


def verdict(*, value: bool) -> Feedback:
    return Feedback(
        id="fb_1",
        user_id="ann",
        request_id="resp_1",
        trace_id="tr-1",
        name="thumbs",
        value=value,
        rationale=None,
        created_at=1.0,
    )


async def settled(verdicts: Verdicts) -> None:
    while verdicts._tasks:
        await asyncio.gather(*verdicts._tasks, return_exceptions=True)
        await asyncio.sleep(0)


async def test_a_tracker_that_was_away_is_told_later():
    tracker = Tracker(failures=2)
    verdicts = Verdicts(tracker, pauses_s=(0, 0, 0))
    verdicts.tell(verdict(value=True), "ann@example.org")
    await settled(verdicts)
    assert (tracker.told, tracker.tries) == ([(True, "ann@example.org")], 3)


async def test_it_gives_up_in_the_end():
    tracker = Tracker(failures=99)
    verdicts = Verdicts(tracker, pauses_s=(0, 0))
    verdicts.tell(verdict(value=True), "ann")
    await settled(verdicts)
    assert (tracker.told, tracker.tries) == ([], 3)


async def test_a_second_thought_replaces_a_first_that_still_waits():
    tracker = Tracker(failures=1)
    verdicts = Verdicts(tracker, pauses_s=(60,))
    verdicts.tell(verdict(value=False), "ann")
    await asyncio.sleep(0)
    verdicts.tell(verdict(value=True), "ann")
    await settled(verdicts)
    assert tracker.told == [(True, "ann")]
    await verdicts.close()
    assert tracker.closed


async def test_a_second_thought_during_the_first_call_is_told_behind_it():
    """Guard: `changed`; two calls at once would both find nothing to change, and add twice."""
    tracker = Tracker(failures=0)
    verdicts = Verdicts(tracker, pauses_s=(0,))
    verdicts.tell(verdict(value=False), "ann")
    await asyncio.sleep(0)
    verdicts.tell(verdict(value=True), "ann")
    await settled(verdicts)
    assert tracker.told[-1] == (True, "ann")
    assert not verdicts._waiting
