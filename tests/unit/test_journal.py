"""The journal: one commit for all runs, rung after it, and never two writers of one run at once."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from contextlib import asynccontextmanager

import pytest

from perdure import journal as journal_module
from perdure.buses.inprocess import InProcessBus
from perdure.deltas import Text
from perdure.errors import OwnershipLost, PerdureError, Unavailable
from perdure.journal import SPACING_MAX_S, SPACING_S, Journal, spacing_s
from perdure.model import Status
from perdure.stores.sqlite import SqliteStore
from tests.contract.stores import Pen, begin, sound, whole
from tests.world.waiting import eventually

WITHIN_S = 5
COMMIT_S = 0.01


class Moody(SqliteStore):
    """A store whose writes wait at a gate, fail as told, and are remembered in order."""

    def __init__(self, path):
        super().__init__(path, "normal")
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: deque[Exception | None] = deque()
        self.arrived = []
        self.done = []

    async def _pass(self, name, size):
        self.arrived.append((name, size))
        await self.gate.wait()
        if self.failures and (failure := self.failures.popleft()):
            raise failure

    async def append(self, appends):
        await self._pass("append", len(appends))
        verdicts = await super().append(appends)
        self.done.append(("append", len(appends)))
        return verdicts

    async def finish(self, last, ending):
        await self._pass("finish", 1)
        stored = await super().finish(last, ending)
        self.done.append(("finish", 1))
        return stored

    async def arrivals(self, count):
        async def enough():
            return len(self.arrived) >= count

        await eventually(enough, within_s=WITHIN_S, what=f"{count} writes at the gate")


class Author:
    """A run as the journal sees it: a pen, and what it was told."""

    def __init__(self, pen: Pen) -> None:
        self.pen = pen
        self.request_id = pen.id
        self.lost: list[PerdureError] = []

    def say(self, text):
        self.pen.builder.add(Text(text))

    def take(self):
        first = self.pen.builder.first
        if not self.pen.builder.pending:
            return None
        taken = self.pen.say("")
        assert taken.first == first
        return taken

    def lose(self, error):
        self.lost.append(error)


class Wide(InProcessBus):
    """A bus that reaches other processes as well: it remembers what they would hear."""

    def __init__(self):
        super().__init__()
        self.elsewhere = []

    async def publish_elsewhere(self, topics):
        self.elsewhere += topics


class Office:
    """A store, a bus that is listened to, and a running journal whose commits are heard of."""

    def __init__(self, path):
        self.store = Moody(path)
        self.bus = Wide()
        self.journal = Journal(self.store, self.bus)
        self.journal.on_stored = self._stored
        self.rung = []
        self.bus.subscribe(self._heard)

    def _heard(self, topics):
        self.rung.append((list(topics), list(self.store.done)))

    def _stored(self, appends):
        self._heard(append.request_id for append in appends)

    async def author(self):
        return Author(await begin(self.store))

    async def has(self, author, text):
        async def there():
            return (await sound(self.store, author.request_id)).text() == text

        await eventually(there, within_s=WITHIN_S, what=f"{text!r} is stored")


@pytest.fixture
async def office(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "RETRY_S", 0.01)
    async with opened(Office(tmp_path / "perdure.db")) as made:
        yield made


@asynccontextmanager
async def opened(office):
    await office.store.open()
    office.journal.start()
    yield office
    office.store.gate.set()
    await office.journal.close()
    await office.store.close()


async def test_what_a_run_says_is_stored_and_then_told(office):
    """Guard: commit before the wake-up; whoever is woken finds what they were woken for."""
    author = await office.author()
    author.say("hello")
    office.journal.note(author)
    await office.has(author, "hello")
    ((topics, done),) = office.rung
    assert topics == [author.request_id]
    assert done == [("append", 1)]
    assert office.bus.elsewhere == topics


async def test_a_reader_that_breaks_on_an_append_costs_the_journal_nothing(office):
    """Guard: `on_stored` is fenced off; without that the journal's task ends."""
    author = await office.author()
    office.journal.on_stored = broken
    for word in ("one", "two"):
        author.say(word)
        office.journal.note(author)

        async def stored(word=word):
            return word in (await sound(office.store, author.request_id)).text()

        await eventually(stored, within_s=WITHIN_S, what=word)
    assert not author.lost


def broken(_):
    raise ZeroDivisionError


async def test_nobody_is_woken_while_a_commit_is_under_way(office):
    """Durable before visible: readers see nothing, hear nothing."""
    author = await office.author()
    before = await whole(office.store, author.request_id)
    office.store.gate.clear()
    author.say("hello")
    office.journal.note(author)
    await office.store.arrivals(1)
    assert office.rung == []
    assert await whole(office.store, author.request_id) == before
    office.store.gate.set()
    await office.has(author, "hello")


async def test_what_arrives_during_a_flush_shares_the_next_one(office):
    """Group commit: the number of commits does not grow with the number of answers."""
    authors = [await office.author() for _ in range(50)]
    office.store.gate.clear()
    for author in authors:
        for piece in ("a", "b"):
            author.say(piece)
            office.journal.note(author)
            await office.store.arrivals(1)
    office.store.gate.set()
    for author in authors:
        await office.has(author, "ab")
    assert len(office.store.done) <= 3
    assert office.store.done[-1][1] >= 49


async def test_an_unavailable_store_is_tried_again_and_nothing_is_lost_or_doubled(office, caplog):
    """A disk that is full for a moment costs time only, and two lines of the log."""
    author = await office.author()
    office.store.failures.extend([Unavailable("full")] * 3)
    for piece in ("one ", "two ", "three"):
        author.say(piece)
        office.journal.note(author)
        await asyncio.sleep(0)
    await office.has(author, "one two three")
    assert author.lost == []
    first, last = [one.getMessage() for one in caplog.records]
    assert first == "storing answers fails, will try again: full"
    assert last.startswith("storing answers works again after")


async def test_a_store_that_stays_away_is_given_up_before_the_lease_is_over(office, monkeypatch):
    """Guard: the runs are told, the journal goes on with the next ones."""
    monkeypatch.setattr(journal_module, "GIVE_UP_S", 0.05)
    author = await office.author()
    office.store.failures.extend([Unavailable("gone")] * 1000)
    author.say("x")
    office.journal.note(author)

    async def told():
        return author.lost

    (error,) = await eventually(told, within_s=WITHIN_S, what="the run is told")
    assert isinstance(error, Unavailable)
    office.store.failures.clear()
    other = await office.author()
    other.say("later")
    office.journal.note(other)
    await office.has(other, "later")
    assert journal_module.GIVE_UP_S < 30


async def test_a_refused_append_stops_that_run_and_no_other(office):
    """The fence: whoever lost its claim is told at its next word."""
    zombie, other = await office.author(), await office.author()
    await office.store.cancel(zombie.request_id)
    for author in (zombie, other):
        author.say("x")
        office.journal.note(author)
    await office.has(other, "x")
    assert [type(error) for error in zombie.lost] == [OwnershipLost]
    assert other.lost == []
    assert (await sound(office.store, zombie.request_id)).text() == ""


async def test_a_bug_below_the_journal_costs_the_runs_of_one_flush_only(office):
    """Guard: nothing ends the one task through which every answer of the process goes."""
    author = await office.author()
    office.store.failures.append(ZeroDivisionError("a bug"))
    author.say("x")
    office.journal.note(author)

    async def told():
        return author.lost

    await eventually(told, within_s=WITHIN_S, what="the run is told")
    other = await office.author()
    other.say("later")
    office.journal.note(other)
    await office.has(other, "later")


async def test_a_run_that_breaks_costs_the_other_runs_of_the_flush_nothing(office):
    """Guard: each run is asked by itself; else what the others gave would be lost with them."""
    before, broken_one, behind = [await office.author() for _ in range(3)]
    broken_one.take = lambda: 1 / 0
    for author in (before, broken_one, behind):
        author.say("x")
        office.journal.note(author)
    await office.has(before, "x")
    await office.has(behind, "x")
    assert [type(error) for error in broken_one.lost] == [Unavailable]
    assert not before.lost
    assert not behind.lost


async def test_backpressure_waits_for_the_end_of_a_flush(office):
    """A run that produces too fast waits for the disk, not for a timer."""
    author = await office.author()
    office.store.gate.clear()
    author.say("x")
    office.journal.note(author)
    await office.store.arrivals(1)
    waiting = [asyncio.ensure_future(office.journal.flushed()) for _ in range(3)]
    await asyncio.wait(waiting, timeout=0.05)
    assert not any(one.done() for one in waiting)
    office.store.gate.set()
    await asyncio.wait_for(asyncio.gather(*waiting), WITHIN_S)
    assert (await sound(office.store, author.request_id)).text() == "x"


async def test_an_end_never_overtakes_an_append(office):
    """Guard: `finish` waits for the flush that holds the run's events; else it would be refused."""
    author = await office.author()
    office.store.gate.clear()
    author.say("first ")
    office.journal.note(author)
    await office.store.arrivals(1)
    author.say("second")
    office.journal.note(author)
    ending = asyncio.ensure_future(office.journal.finish(author, author.pen.end))
    await asyncio.wait([ending], timeout=0.05)
    assert office.store.arrived == [("append", 1)]
    office.store.gate.set()
    assert await asyncio.wait_for(ending, WITHIN_S)
    assert [name for name, _ in office.store.done].index("finish") == len(office.store.done) - 1
    assert (await sound(office.store, author.request_id)).text() == "first second"
    assert office.rung[-1][0] == [author.request_id]


async def test_an_end_is_tried_again_while_the_store_is_away(office):
    """The answer is complete; losing it to a full disk would be a second bill."""
    author = await office.author()
    author.say("all")
    office.store.failures.extend([Unavailable("full")] * 3)
    assert await asyncio.wait_for(office.journal.finish(author, author.pen.end), WITHIN_S)
    assert (await sound(office.store, author.request_id)).text() == "all"


async def test_the_end_of_a_lost_run_is_refused_and_told(office):
    """Somebody else has stored another end."""
    author = await office.author()
    await office.store.cancel(author.request_id)
    assert not await office.journal.finish(author, author.pen.end)
    assert (await sound(office.store, author.request_id)).status is Status.CANCELLED


async def test_a_hand_over_stores_what_there_is_and_gives_the_request_back(office):
    """Nothing that was generated is thrown away, and readers are told."""
    author = await office.author()
    author.say("so far")
    office.journal.note(author)
    assert await office.journal.hand_over(author, author.pen.claim.claim_id)
    row = await office.store.request(author.request_id)
    assert (row.status, row.crashes) == (Status.QUEUED, 0)
    assert (await sound(office.store, author.request_id)).text() == "so far"
    assert not await office.journal.hand_over(author, author.pen.claim.claim_id)


async def test_a_store_whose_commits_cost_time_has_rests_between_them(tmp_path, monkeypatch):
    """Guard: `append_rest`; else a slow disk would leave no time for anything but the journal.

    A ratio, however busy the machine: pauses against the flushes before them.
    """
    store = Moody(tmp_path / "perdure.db")
    await store.open()
    journal = Journal(store, InProcessBus())
    spans = []

    async def flush():
        begun = asyncio.get_running_loop().time()
        await asyncio.sleep(COMMIT_S)  # what is tried is the ratio to it
        spans.append((begun, asyncio.get_running_loop().time()))
        journal._took_s = (spans[-1][1] - begun,) * 2
        if len(spans) < 6:
            journal._wake.set()

    monkeypatch.setattr(journal, "_flush", flush)
    journal.start()
    journal._wake.set()
    await eventually(lambda: _has(spans, 6), within_s=WITHIN_S, what="six flushes")
    await journal.close()
    await store.close()
    rests = [later[0] - sooner[1] for sooner, later in itertools.pairwise(spans)]
    spent = [ended - begun for begun, ended in spans]
    assert min(rests[1:]) >= 0.5 * (store.append_rest - 1) * min(spent), (rests, spent)


def test_a_single_slow_commit_is_no_slow_disk():
    """Guard: the faster of the last two commits counts, not the last one.

    The disk flushes what a checkpoint has written once a second: all answers would wait for that
    commit, and as long again for each rest behind it.
    """
    assert spacing_s((0.008, 0.0005), 4.0, 0.0) == SPACING_S
    assert spacing_s((0.008, 0.008), 4.0, 0.0) == pytest.approx(0.032)
    assert spacing_s((0.0005, 0.0005), 4.0, 0.02) == pytest.approx(0.01)
    assert spacing_s((1.0, 1.0), 4.0, 1.0) == SPACING_MAX_S


async def _has(found, count):
    return len(found) >= count
