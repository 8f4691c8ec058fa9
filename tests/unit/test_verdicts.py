"""Verdicts on their way to the tracker: later when it is away, and the last one counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest_asyncio

from perdure.errors import Unavailable
from perdure.model import Feedback, new_id
from perdure.stores.sqlite import SqliteStore
from perdure.tracker import Trace
from perdure.verdicts import Verdicts
from tests.contract.stores import ask
from tests.world.waiting import eventually


class Tracker:
    """Fails as often as it is told to, then takes what comes."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.told: list[tuple[object, str]] = []
        self.tries = 0
        self.closed = False

    async def trace(self, trace_id: str) -> Trace:
        raise NotImplementedError

    async def tell(self, verdict: Feedback, author: str) -> None:
        self.tries += 1
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")
        self.told.append((verdict.value, author))

    async def close(self) -> None:
        self.closed = True


@pytest_asyncio.fixture
async def store(tmp_path: Path):
    opened = SqliteStore(tmp_path / "verdicts.db", "normal")
    await opened.open()
    yield opened
    await opened.close()


async def judge(store: SqliteStore, *, value: bool, request_id: str = "") -> str:
    request_id = request_id or (await ask(store)).id
    verdict = Feedback(
        id=new_id("fb"),
        user_id="ann",
        request_id=request_id,
        trace_id="tr-1",
        name="thumbs",
        value=value,
        rationale=None,
        created_at=1.0,
        author="ann@example.org",
        due_at=1.0,
    )
    await store.add_feedback(verdict)
    return request_id


async def settled(store: SqliteStore, tracker: Tracker, pauses_s: Sequence[float]) -> None:
    """Tell until nothing is due any more."""
    verdicts = Verdicts(store, tracker, pauses_s)
    verdicts.start()

    async def none_is_due() -> bool:
        return not store.db.look("SELECT 1 FROM feedback WHERE due_at IS NOT NULL")

    await eventually(none_is_due, within_s=10, what="all verdicts are settled")
    await verdicts.close()
    assert tracker.closed


async def test_a_tracker_that_was_away_is_told_later(store):
    tracker = Tracker(failures=2)
    await judge(store, value=True)
    await settled(store, tracker, pauses_s=(0, 0, 0))
    assert (tracker.told, tracker.tries) == ([(True, "ann@example.org")], 3)


async def test_it_gives_up_in_the_end(store):
    tracker = Tracker(failures=99)
    await judge(store, value=True)
    await settled(store, tracker, pauses_s=(0, 0))
    assert (tracker.told, tracker.tries) == ([], 3)


async def test_a_verdict_that_waits_is_told_by_the_next_process(store):
    """Guard: it waits in the store; in the memory of a process a restart would lose it."""
    away = Tracker(failures=99)
    await judge(store, value=True)
    first = Verdicts(store, away, pauses_s=(0.2, 3600))
    first.start()

    async def tried() -> bool:
        return away.tries > 0

    await eventually(tried, within_s=10, what="it was tried")
    await first.close()
    store.db.writer.execute("UPDATE feedback SET due_at = 1 WHERE due_at IS NOT NULL")
    tracker = Tracker()
    await settled(store, tracker, pauses_s=())
    assert [value for value, _ in tracker.told] == [True]


async def test_a_second_thought_replaces_a_first_that_still_waits(store):
    tracker = Tracker()
    request_id = await judge(store, value=False)
    await judge(store, value=True, request_id=request_id)
    await settled(store, tracker, pauses_s=())
    assert [value for value, _ in tracker.told] == [True]


async def test_a_second_thought_during_the_first_call_is_told_behind_it(store):
    """Guard: `settle_feedback` leaves alone what has replaced the verdict that was told."""
    request_id = await judge(store, value=False)

    class Interrupted(Tracker):
        async def tell(self, verdict: Feedback, author: str) -> None:
            if verdict.value is False:
                await judge(store, value=True, request_id=request_id)
            await super().tell(verdict, author)

    tracker = Interrupted()
    await settled(store, tracker, pauses_s=())
    assert [value for value, _ in tracker.told] == [False, True]
