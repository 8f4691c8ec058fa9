"""Tails: readers are positions in one log; wake-ups are hints; nobody hurts anybody."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, asynccontextmanager

import pytest

from perdure import chores
from perdure import tail as tail_module
from perdure.buses.inprocess import InProcessBus
from perdure.errors import Gone, NotFound, Unavailable
from perdure.fold import fold
from perdure.model import Status
from perdure.ports import Topic
from perdure.reader import HELD_BYTES, Reader
from perdure.stores.sqlite import SqliteStore
from perdure.tail import Drained, Tails
from tests.contract.stores import ask, begin, complete, whole
from tests.world.waiting import eventually

NEVER_S = 3600.0
WITHIN_S = 5.0
LATE_S = 0.2


class Deaf(InProcessBus):
    """Loses every wake-up."""

    async def publish(self, topics):
        del topics


class Twice(InProcessBus):
    """Rings twice, and for nothing in between."""

    async def publish(self, topics):
        rung = list(topics)
        for again in (rung, ["resp_none"], rung):
            await super().publish(again)


class Late(InProcessBus):
    """Rings when the news is old."""

    async def publish(self, topics):
        rung = list(topics)

        asyncio.get_running_loop().call_later(LATE_S, self._listeners.tell, rung)


class Reading(SqliteStore):
    """A store in which something may happen between a read and its return."""

    def __init__(self, path):
        super().__init__(path, "normal")
        self.meanwhile = None
        self.reads = 0

    async def read(self, cursors, bytes_max):
        found = await super().read(cursors, bytes_max)
        self.reads += 1
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return found


class Stage:
    """A store, a bus, running tails, and answers that are written and rung."""

    def __init__(self, path, bus, reread_s):
        self.store = Reading(path)
        self.bus = bus
        self.tails = Tails(self.store, bus, reread_s=reread_s)

    async def say(self, pen, text):
        assert await self.store.append([pen.say(text)]) == [True]
        await self.bus.publish([Topic.events(pen.id)])

    async def end(self, pen):
        assert await self.store.finish(*pen.end())
        await self.bus.publish([Topic.events(pen.id)])

    async def follow(self, request_id, after=-1, *, idle_s=NEVER_S):
        """Return all events that a reader gets, to the end."""
        events: list[bytes] = []
        async for batch in self.tails.follow(request_id, after, idle_s=idle_s):
            if batch is not None:
                assert batch.first == after + 1 + len(events)
                events += batch.events
        return events

    def reader(self, request_id, after=-1):
        return asyncio.ensure_future(self.follow(request_id, after))

    async def settled(self, readers):
        """Wait until so many readers are attached and have nothing left to read."""

        async def waiting():
            return sum(len(tail.waiters) for tail in self.tails._tails.values()) == readers

        await eventually(waiting, within_s=WITHIN_S, what=f"{readers} readers wait")


@asynccontextmanager
async def staged(path, bus=None, reread_s=NEVER_S):
    stage = Stage(path, bus or InProcessBus(), reread_s)
    await stage.store.open()
    stage.tails.start()
    yield stage
    await stage.tails.close()
    await stage.store.close()


@pytest.fixture
async def stage(tmp_path):
    """Nothing is read again here: whatever arrives was rung for."""
    async with staged(tmp_path / "perdure.db") as made:
        yield made


# To the end


async def test_a_reader_gets_the_log_as_it_grows_and_ends_with_it(stage):
    """From the start or from any cursor: exactly what follows it, then the end."""
    pen = await begin(stage.store)
    readers = [stage.reader(pen.id, after) for after in (-1, 0, 1)]
    await stage.settled(3)
    for piece in range(20):
        await stage.say(pen, f"{piece} ")
    late = stage.reader(pen.id, 5)
    await stage.end(pen)
    log = await whole(stage.store, pen.id)
    for reader, after in zip([*readers, late], (-1, 0, 1, 5), strict=True):
        assert await asyncio.wait_for(reader, WITHIN_S) == log[after + 1 :]
    assert stage.tails.readers == 0
    assert not stage.tails._tails


async def test_a_finished_log_is_read_without_waiting(stage):
    """At its end nothing follows, and the reader is told so."""
    pen = await begin(stage.store)
    await complete(stage.store, pen, "x" * 500_000)
    log = await whole(stage.store, pen.id)
    for after in (-1, 3, len(log) - 1, len(log) + 5):
        got = await asyncio.wait_for(stage.follow(pen.id, after), WITHIN_S)
        assert got == log[after + 1 :]


async def test_a_reader_of_a_waiting_question_sees_it_begin(stage):
    """The first attach may come before the first attempt."""
    request = await ask(stage.store)
    reader = stage.reader(request.id)
    await stage.settled(1)
    await stage.store.cancel(request.id)
    await stage.bus.publish([request.id])
    events = await asyncio.wait_for(reader, WITHIN_S)
    assert fold(events).status is Status.CANCELLED


async def test_a_cursor_from_the_future_waits_and_moves_nobody_else(stage):
    """Guard: a position is a reader's own; one odd reader must not strand the others."""
    pen = await begin(stage.store)
    odd = stage.reader(pen.id, 10)
    await stage.settled(1)
    other = stage.reader(pen.id, -1)
    await stage.settled(2)
    for piece in range(12):
        await stage.say(pen, f"{piece} ")
    await stage.end(pen)
    log = await whole(stage.store, pen.id)
    assert await asyncio.wait_for(other, WITHIN_S) == log
    assert await asyncio.wait_for(odd, WITHIN_S) == log[11:]


# Wake-ups


async def test_a_reader_registers_before_it_reads(stage):
    """Guard: what is committed during the first read is rung for, and the ring is not lost."""
    pen = await begin(stage.store)

    async def meanwhile():
        await stage.say(pen, "meanwhile")
        # The tails may look at their doorbell before the reader's first read returns.
        await asyncio.sleep(0.02)

    stage.store.meanwhile = meanwhile
    reader = stage.reader(pen.id)
    await stage.settled(1)

    async def seen():
        (tail,) = stage.tails._tails.values()
        return tail.next > len(pen.claim.events)

    await eventually(seen, within_s=WITHIN_S, what="the event of the meantime is read")
    await stage.end(pen)
    assert await asyncio.wait_for(reader, WITHIN_S) == await whole(stage.store, pen.id)


@pytest.mark.parametrize("bus", [Deaf(), Twice(), Late()], ids=["drops", "doubles", "delays"])
async def test_a_bad_bus_changes_nothing_but_the_delay(tmp_path, bus):
    """Guard: all tails are read again every second or two; wake-ups are hints."""
    async with staged(tmp_path / "perdure.db", bus, reread_s=0.1) as stage:
        pen = await begin(stage.store)
        readers = [stage.reader(pen.id) for _ in range(5)]
        await stage.settled(5)
        for piece in range(10):
            await stage.say(pen, f"{piece} ")
            await asyncio.sleep(0.01)  # spread the pieces over some looks
        await stage.end(pen)
        began = time.monotonic()
        log = await whole(stage.store, pen.id)
        for reader in readers:
            assert await asyncio.wait_for(reader, WITHIN_S) == log
        assert time.monotonic() - began < 2
    assert tail_module.REREAD_S <= 2


async def test_without_looking_again_a_lost_wake_up_strands_the_reader(tmp_path):
    """Control of the test above."""
    async with staged(tmp_path / "perdure.db", Deaf(), reread_s=NEVER_S) as stage:
        pen = await begin(stage.store)
        reader = stage.reader(pen.id)
        await stage.settled(1)
        await stage.end(pen)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader, 0.5)


async def test_a_store_that_is_away_for_a_moment_ends_no_reader(tmp_path):
    """The tails go on; the readers keep their positions."""
    async with staged(tmp_path / "perdure.db", reread_s=0.05) as stage:
        pen = await begin(stage.store)
        reader = stage.reader(pen.id)
        await stage.settled(1)

        async def fail():
            raise Unavailable("away")

        stage.store.meanwhile = fail
        await stage.say(pen, "x")
        await stage.end(pen)
        assert await asyncio.wait_for(reader, WITHIN_S) == await whole(stage.store, pen.id)


# Many and slow readers


async def test_a_bug_below_ends_no_tail(tmp_path, monkeypatch):
    """Guard: `chores.begin`; without it all readers of the process would wait for ever."""
    monkeypatch.setattr(chores, "AGAIN_S", 0.01)
    async with staged(tmp_path / "perdure.db", reread_s=0.02) as stage:
        pen = await begin(stage.store)
        reader = stage.reader(pen.id)
        await stage.settled(1)
        reads = stage.store.reads

        async def broken():
            raise ZeroDivisionError

        stage.store.meanwhile = broken

        async def broke():
            return stage.store.reads > reads

        await eventually(broke, within_s=WITHIN_S, what="the store breaks on a read")
        await stage.end(pen)
        assert await asyncio.wait_for(reader, WITHIN_S) == await whole(stage.store, pen.id)


async def test_a_hundred_readers_share_one_read_and_one_framing(stage):
    """Work per event does not grow with the number of readers."""
    pen = await begin(stage.store)
    frames: list[list[bytes]] = [[] for _ in range(100)]

    async def follow(kept):
        async for batch in stage.tails.follow(pen.id, len(pen.claim.events) - 1, idle_s=NEVER_S):
            kept.append(batch.sse())

    readers = [asyncio.ensure_future(follow(kept)) for kept in frames]
    await stage.settled(100)
    before = stage.store.reads
    for piece in range(10):
        await stage.say(pen, f"{piece} ")
        await stage.settled(100)
    assert stage.store.reads - before <= 20
    await stage.end(pen)
    await asyncio.wait_for(asyncio.gather(*readers), WITHIN_S)
    for place in range(len(frames[0])):
        assert len({id(kept[place]) for kept in frames}) == 1


async def test_what_this_process_has_stored_is_not_read_again(stage):
    """Guard: `Tails.take`; each append would cost a read, on PostgreSQL a round trip."""
    pen = await begin(stage.store)
    reader = stage.reader(pen.id)
    await stage.settled(1)
    reads = stage.store.reads
    for piece in range(20):
        append = pen.say(f"{piece} ")
        assert await stage.store.append([append]) == [True]
        stage.tails.take([append])
        await asyncio.sleep(0)
    assert stage.store.reads == reads
    await stage.end(pen)
    assert await asyncio.wait_for(reader, WITHIN_S) == await whole(stage.store, pen.id)


async def test_what_is_told_twice_or_too_early_is_read_once_and_in_order(stage):
    """While a read for a tail is under way, its process stores the same events and more."""
    pen = await begin(stage.store)
    reader = stage.reader(pen.id)
    await stage.settled(1)
    first, second = pen.say("one "), pen.say("two ")
    assert await stage.store.append([first]) == [True]
    stage.tails.take([second])  # not before its predecessor: this only rings

    async def meanwhile():
        stage.tails.take([first])
        assert await stage.store.append([second]) == [True]
        await stage.store.finish(*pen.end())

    stage.store.meanwhile = meanwhile
    await eventually(lambda: settled(stage), within_s=WITHIN_S, what="the read is over")
    stage.tails.take([first, second])
    await stage.bus.publish([Topic.events(pen.id)])
    assert await asyncio.wait_for(reader, WITHIN_S) == await whole(stage.store, pen.id)


async def settled(stage):
    return stage.store.meanwhile is None


async def test_an_end_that_was_read_before_its_predecessor_was_told_is_not_lost(stage):
    """Guard: `Tail.extend` takes what is new of an overlapping piece; it would drop the end."""
    pen = await begin(stage.store)
    reader = stage.reader(pen.id)
    await stage.settled(1)
    append = pen.say("all of it")
    assert await stage.store.append([append]) == [True]
    assert await stage.store.finish(*pen.end())

    async def meanwhile():
        stage.tails.take([append])

    stage.store.meanwhile = meanwhile
    await stage.bus.publish([Topic.events(pen.id)])
    assert await asyncio.wait_for(reader, WITHIN_S) == await whole(stage.store, pen.id)


async def test_a_reader_that_never_reads_costs_nothing_and_hurts_nobody(stage):
    """Guard: a tail holds a bounded piece; whoever falls behind reads the store at its own pace."""
    pen = await begin(stage.store)
    async with aclosing(stage.tails.follow(pen.id, -1, idle_s=NEVER_S)) as slow:
        got = list((await anext(slow)).events)
        fast = stage.reader(pen.id)
        await stage.settled(1)
        for _ in range(100):
            await stage.say(pen, "x" * 20_000)
            (tail,) = stage.tails._tails.values()
            assert tail.held <= HELD_BYTES + 30_000
        await stage.end(pen)
        log = await whole(stage.store, pen.id)
        assert await asyncio.wait_for(fast, WITHIN_S) == log
        async for batch in slow:
            assert batch.size <= tail_module.READ_BYTES + max(map(len, log))
            got += batch.events
        assert got == log


# Listeners: readers to whom new events are handed without waking them


async def attend(stage, request_id, take):
    """Read what is there, then listen with `take`; begin anew whenever it took no more."""
    events: list[bytes] = []

    def sink(batch):
        if not take(batch):
            return False
        assert batch.first == len(events)
        events.extend(batch.events)
        return True

    with stage.tails.reader(request_id, -1) as reader:
        while not reader.ended:
            if not await reader.listen(sink, NEVER_S) and not reader.ended:
                batch = await reader.read(NEVER_S)
                assert batch is None or batch.first == len(events)
                events += batch.events if batch is not None else []
    return events


async def listens(stage, count=1):
    async def attached():
        return sum(len(tail.listeners) for tail in stage.tails._tails.values()) == count

    await eventually(attached, within_s=WITHIN_S, what=f"{count} listen")


async def test_a_listener_is_handed_each_batch_once_to_the_end(stage):
    """The same log as any reader's, without a turn of the loop for each event."""
    pen = await begin(stage.store)
    listeners = [asyncio.ensure_future(attend(stage, pen.id, lambda _: True)) for _ in range(3)]
    await listens(stage, 3)
    for piece in range(20):
        await stage.say(pen, f"{piece} ")
    await stage.end(pen)
    log = await whole(stage.store, pen.id)
    assert await asyncio.wait_for(asyncio.gather(*listeners), WITHIN_S) == [log] * 3


async def test_a_listener_that_takes_no_more_reads_on_at_its_own_pace(stage, rng):
    """A full socket: nothing is skipped, nothing is handed out twice, the others get theirs."""
    pen = await begin(stage.store)
    moody = asyncio.ensure_future(attend(stage, pen.id, lambda _: rng.random() < 0.5))
    steady = asyncio.ensure_future(attend(stage, pen.id, lambda _: True))
    await listens(stage, 2)
    for _ in range(60):
        await stage.say(pen, "x" * rng.randrange(1, 5000))
        await asyncio.sleep(0)
    await stage.end(pen)
    log = await whole(stage.store, pen.id)
    for listener in (moody, steady):
        assert await asyncio.wait_for(listener, WITHIN_S) == log


async def test_a_listener_hears_of_silence_deletion_and_drain(stage):
    """Whatever `read` would tell resumes it; nobody listens for ever."""
    pen, other = await begin(stage.store), await begin(stage.store)
    with stage.tails.reader(pen.id, len(pen.claim.events) - 1) as quiet:
        assert await quiet.read(0.0) is None
        assert await asyncio.wait_for(quiet.listen(lambda _: True, 0.01), WITHIN_S)
    deleted = asyncio.ensure_future(attend(stage, pen.id, lambda _: True))
    drained = asyncio.ensure_future(attend(stage, other.id, lambda _: True))
    await listens(stage, 2)
    await stage.store.delete_request(pen.id, "ann")
    await stage.bus.publish([pen.id])
    with pytest.raises(NotFound):
        await asyncio.wait_for(deleted, WITHIN_S)
    stage.tails.drain()
    with pytest.raises(Drained):
        await asyncio.wait_for(drained, WITHIN_S)


async def test_of_many_who_listen_only_the_first_are_looked_at(stage, monkeypatch):
    """Guard: the end of the look in `hush`; else thousands of idle readers stop the loop."""
    looked = []
    bored = Reader.bored

    def counted(reader, now, moved_at):
        looked.append(reader)
        return bored(reader, now, moved_at)

    monkeypatch.setattr(tail_module, "TICK_S", NEVER_S)
    monkeypatch.setattr(Reader, "bored", counted)
    pen = await begin(stage.store)
    listening = [asyncio.ensure_future(attend(stage, pen.id, lambda _: True)) for _ in range(50)]
    await listens(stage, 50)
    (tail,) = stage.tails._tails.values()
    looked.clear()
    tail.hush(time.monotonic())
    assert len(looked) == 1
    assert len(tail.listeners) == 50
    tail.hush(time.monotonic() + NEVER_S)
    assert len(looked) == 51
    assert not tail.listeners
    await stage.end(pen)
    await asyncio.wait_for(asyncio.gather(*listening), WITHIN_S)


async def test_a_listener_that_leaves_is_forgotten(stage):
    """A closed connection costs nothing afterwards."""
    pen = await begin(stage.store)
    leaving = asyncio.ensure_future(attend(stage, pen.id, lambda _: True))
    await listens(stage)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert not stage.tails._tails
    await stage.say(pen, "x")


# Other ends


async def test_an_unknown_request_is_not_found(stage):
    """Unknown is not ended."""
    with pytest.raises(NotFound):
        await stage.follow("resp_none")
    assert not stage.tails._tails


async def test_a_request_that_is_deleted_ends_its_readers(stage):
    """They would wait for ever for an end that is deleted with the rest."""
    pen = await begin(stage.store)
    reader = stage.reader(pen.id)
    await stage.settled(1)
    await stage.store.delete_request(pen.id, "ann")
    await stage.bus.publish([pen.id])
    with pytest.raises(NotFound):
        await asyncio.wait_for(reader, WITHIN_S)


async def test_pruned_events_are_gone_and_from_the_start_the_answer_is_told_again(stage):
    """410 for an old cursor; -1 always works."""
    pen = await begin(stage.store)
    await complete(stage.store, pen, "The answer.")
    await stage.store.prune(events_s=1e-9, requests_s=0, chats_s=0)
    with pytest.raises(Gone):
        await stage.follow(pen.id, 1)
    assert fold(await stage.follow(pen.id)).text() == "The answer."
    last = (await stage.store.request(pen.id)).sequence_number
    assert await asyncio.wait_for(stage.follow(pen.id, last), WITHIN_S) == []


async def test_a_slow_reader_of_a_pruned_answer_holds_nobody_up(stage):
    """Guard: ended tails are not read again; the refusal of one cursor fails the read of all."""
    old, pen = await begin(stage.store), await begin(stage.store)
    for piece in range(9):
        await stage.say(old, f"{piece} ")
    await stage.end(old)
    await stage.store.prune(events_s=1e-9, requests_s=0, chats_s=0)
    with stage.tails.reader(old.id, -1) as slow:
        assert (await slow.read(NEVER_S)).ended  # told again, in fewer events than it had
        reader = stage.reader(pen.id)
        await stage.settled(1)
        await stage.store.append([pen.say("on")])
        await stage.bus.publish([old.id, pen.id])
        await stage.end(pen)
        assert fold(await asyncio.wait_for(reader, WITHIN_S)).text() == "on"


async def test_a_drain_ends_all_readers_with_a_hint_and_never_with_an_end(stage):
    """Guard: an end without a terminal event would be taken for the whole answer."""
    pen = await begin(stage.store)
    reader = stage.reader(pen.id)
    await stage.settled(1)
    stage.tails.drain()
    for late in (reader, stage.reader(pen.id)):
        with pytest.raises(Drained):
            await asyncio.wait_for(late, WITHIN_S)


async def test_silence_is_told_so_that_a_keep_alive_can_be_sent(stage):
    """`idle_s`: the reader gets None and goes on from where it was."""
    pen = await begin(stage.store)
    async with aclosing(stage.tails.follow(pen.id, 1, idle_s=0.01)) as following:
        assert await asyncio.wait_for(anext(following), WITHIN_S) is None
        await stage.say(pen, "x")
        assert (await asyncio.wait_for(anext(following), WITHIN_S)).first == 2


async def test_a_reader_that_leaves_as_its_time_is_up_stops_no_other_s_clock(stage):
    """Guard: a waiter that was cancelled in the same turn of the loop is passed over."""
    pen = await begin(stage.store)
    async with aclosing(stage.tails.follow(pen.id, 1, idle_s=0.01)) as following:
        waiting = asyncio.ensure_future(anext(following))
        await stage.settled(1)
        (tail,) = stage.tails._tails.values()
        left = asyncio.get_running_loop().create_future()
        left.cancel()
        tail.waiters = {left: 0.0, **tail.waiters}
        assert await asyncio.wait_for(waiting, WITHIN_S) is None


# Snapshots


async def test_a_snapshot_says_how_far_it_goes(stage):
    """Text and number are of one instant, so that a stream can go on from there."""
    pen = await begin(stage.store)
    for piece in ("one ", "two "):
        await stage.say(pen, piece)
        seen = await stage.tails.snapshot(pen.id)
        row = await stage.store.request(pen.id)
        assert (seen.sequence_number, seen.status) == (row.sequence_number, Status.STREAMING)
    assert seen.text == "one two "
    await stage.end(pen)
    assert (await stage.tails.snapshot(pen.id)).status is Status.COMPLETED
    with pytest.raises(NotFound):
        await stage.tails.snapshot("resp_none")


async def test_snapshots_of_one_answer_fold_each_event_once(stage):
    """Constant work per event: a second look reads only what is new."""
    pen = await begin(stage.store)
    await stage.say(pen, "x" * 1000)
    shots = await asyncio.gather(*(stage.tails.snapshot(pen.id) for _ in range(10)))
    assert len({shot.text for shot in shots}) == 1
    before = stage.store.reads
    await stage.tails.snapshot(pen.id)
    assert stage.store.reads - before == 1


async def test_a_snapshot_begun_long_ago_outlives_the_pruning_of_its_events(stage):
    """Guard: a fold that stopped in mid-answer begins anew from the rebuilt log."""
    pen = await begin(stage.store)
    await stage.say(pen, "half ")
    await stage.tails.snapshot(pen.id)
    await complete(stage.store, pen, "and half")
    await stage.store.prune(events_s=1e-9, requests_s=0, chats_s=0)
    assert (await stage.tails.snapshot(pen.id)).text == "half and half"
