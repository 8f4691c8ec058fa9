"""Logs: what is appended, finished, read and pruned."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from perdure.deltas import Text, Usage
from perdure.errors import Gone
from perdure.events import is_terminal, number
from perdure.fold import fold
from perdure.model import Failure, Status
from perdure.ports import Append
from tests.contract import promises
from tests.contract.stores import (
    READ_BYTES,
    Pen,
    ask,
    begin,
    complete,
    sound,
    take,
    whole,
)

KIB = 1024


async def read(store, request_id, after, bytes_max=READ_BYTES):
    return (await store.read({request_id: after}, bytes_max))[request_id]


# Append


async def test_an_append_counts_only_at_the_number_that_follows(store):
    """Guard: the number in the append; a retry after an unknown commit is harmless."""
    await promises.numbers_have_no_gaps(store)


async def test_a_worker_that_lost_its_claim_writes_nothing(store):
    """Guard: the fence, in every write of a worker."""
    await promises.late_writes_are_refused(store)


async def test_appends_of_many_requests_stand_or_fall_one_by_one(store):
    """A batch is one transaction with one verdict each."""
    pens = [await begin(store) for _ in range(3)]
    await store.cancel(pens[1].id)
    unknown = Append("resp_none", "claim_none", 0, [b'{"type":"x","sequence_number":0}'])
    waiting = await ask(store)
    early = Append(waiting.id, "claim_none", 1, pens[2].say("x").events)
    batch = [pens[0].say("zero"), pens[1].say("one"), unknown, early]
    assert await store.append(batch) == [True, False, False, False]
    assert (await sound(store, pens[0].id)).text() == "zero"
    assert (await sound(store, pens[1].id)).text() == ""
    assert (await sound(store, waiting.id)).sequence_number == 0
    assert "resp_none" not in await store.read({"resp_none": -1}, 1000)


async def test_an_empty_batch_and_an_append_without_events_are_fine(store):
    """A trace id may come before any text."""
    pen = await begin(store)
    assert await store.append([]) == []
    before = await whole(store, pen.id)
    beside = Append(pen.id, pen.claim.claim_id, pen.builder.first, [], "tr-1")
    assert await store.append([beside]) == [True]
    assert await whole(store, pen.id) == before
    assert (await store.request(pen.id)).trace_id == "tr-1"


async def test_trace_id_and_attempt_are_stored_beside_the_events(store):
    """Given once, they stay; a refused append stores neither."""
    pen = await begin(store)
    await store.append([pen.say("a", trace_id="tr-1", attempt=2)])
    await store.append([pen.say("b")])
    await store.append([msgspec.structs.replace(pen.say("c"), claim_id="x", trace_id="tr-2")])
    row = await store.request(pen.id)
    assert (row.trace_id, row.attempt) == ("tr-1", 2)


@pytest.mark.parametrize("size", [3 * KIB, 40 * KIB, 200 * KIB])
async def test_a_large_log_reads_back_byte_for_byte(harness, size):
    """However an adapter packs events, a number keeps its bytes: while it runs, after it, later."""
    store = harness.store
    pen, small = await begin(store), await begin(store, "bob")
    written = [*pen.claim.events]
    for piece in range(1_000_000 // size):
        append = pen.say(chr(97 + piece % 26) * size)
        written += append.events
        assert await store.append([append, small.say(".")]) == [True, True]
    assert await whole(store, pen.id) == written
    last, ending = pen.end()
    written += last.events
    assert await store.finish(last, ending)
    assert await whole(store, pen.id) == written
    await harness.reopen()
    assert await whole(harness.store, pen.id) == written
    assert len((await sound(harness.store, small.id)).text()) == 1_000_000 // size


async def test_odd_characters_come_back_as_they_were(store):
    """Events are bytes: nothing in a text can end a line or a row."""
    pen = await begin(store)
    await complete(store, pen, 'line\nbreak\r\n\u2028\u0085 quote " 漢😀 \\n')
    assert (await sound(store, pen.id)).text() == 'line\nbreak\r\n\u2028\u0085 quote " 漢😀 \\n'


async def test_what_was_acknowledged_survives_a_crash_and_goes_on(harness):
    """Durable before visible; the claim in force goes on after the crash."""
    pen = await begin(harness.store)
    for piece in range(5):
        await harness.store.append([pen.say(f"{piece} ")])
        before = await whole(harness.store, pen.id)
        await harness.crash()
        assert await whole(harness.store, pen.id) == before
    await complete(harness.store, pen, "end")
    assert (await sound(harness.store, pen.id)).text() == "0 1 2 3 4 end"


async def test_what_a_reader_saw_survives_a_crash(harness):
    """Guard: readers see committed events only."""
    await promises.what_was_read_survives_a_crash(harness)


# Finish


async def test_the_end_is_written_everywhere_at_once(store):
    """One transaction: last events, row, message, chat; found by search."""
    pen = await begin(store)
    pen.builder.add(Usage(3, 4))
    await store.append([pen.say("The answer is zebra.")])
    before = await store.chat(pen.chat_id, "ann")
    last, ending = pen.end()
    assert await store.finish(msgspec.structs.replace(last, trace_id="tr-9"), ending)
    row = await store.request(pen.id)
    assert (row.status, row.output, row.trace_id) == (Status.COMPLETED, ending.output, "tr-9")
    assert row.usage["output_tokens"] == 4
    assert row.completed_at >= row.started_at >= row.created_at
    message = (await store.messages(pen.chat_id, "ann"))[-1]
    assert (message.text, message.output) == ("The answer is zebra.", ending.output)
    chat = await store.chat(pen.chat_id, "ann")
    assert (chat.unread, chat.last_status) == (True, Status.COMPLETED)
    assert (chat.running_request_id, chat.queued) == (None, 0)
    assert chat.revision > before.revision
    assert [c.id for c in (await store.chats("ann", query="zebra"))[0]] == [pen.chat_id]
    assert (await sound(store, pen.id)).text() == "The answer is zebra."


async def test_a_failure_keeps_its_reason_and_the_text_so_far(store):
    """`failed`: the error stands in the row and in the log."""
    pen = await begin(store)
    await store.append([pen.say("so far")])
    failure = Failure("upstream_dropped", "It broke off.")
    assert await store.finish(*pen.end(Status.FAILED, failure))
    row = await store.request(pen.id)
    assert (row.status, row.error) == (Status.FAILED, failure)
    assert (await sound(store, pen.id)).error == failure
    assert (await store.messages(pen.chat_id, "ann"))[-1].text == "so far"


async def test_a_second_end_is_refused(store):
    """Guard: terminal is final, also for the worker that wrote it."""
    pen = await begin(store)
    last, ending = pen.end()
    assert await store.finish(last, ending)
    row, log = await store.request(pen.id), await whole(store, pen.id)
    again = msgspec.structs.replace(last, first=last.first + len(last.events))
    for append in (last, again):
        assert not await store.finish(append, ending)
        assert await store.append([append]) == [False]
    assert await store.request(pen.id) == row
    assert await whole(store, pen.id) == log


async def test_an_end_survives_a_crash(harness):
    """Once `finish` has returned, the answer is complete for ever."""
    pen = await begin(harness.store)
    row = await complete(harness.store, pen)
    log = await whole(harness.store, pen.id)
    await harness.crash()
    assert await harness.store.request(pen.id) == row
    assert await whole(harness.store, pen.id) == log
    assert (await harness.store.messages(pen.chat_id, "ann"))[-1].text == "Because."


# Read


async def log_of(store, pieces, *, end, size=1):
    """Write a log of so many pieces of text, `size` characters each; return its request's id."""
    pen = await begin(store)
    for piece in range(pieces):
        await store.append([pen.say(chr(97 + piece % 26) * size)])
    if end:
        await store.finish(*pen.end())
    return pen.id


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("size", [1, 30 * KIB])
async def test_a_read_returns_exactly_what_follows_the_cursor(store, end, size):
    """Guard: the cursor is exclusive, -1 = from the start; also across an adapter's rows."""
    request_id = await log_of(store, 12, end=end, size=size)
    events = await whole(store, request_id)
    for after in range(-1, len(events)):
        got, position = [], after
        while position < len(events) - 1:
            slice_ = await read(store, request_id, position)
            assert (slice_.first, slice_.last) == (position + 1, len(events) - 1)
            assert slice_.ended is end
            got += slice_.events
            position += len(slice_.events)
        assert got == events[after + 1 :]


async def test_a_slice_says_ended_if_and_only_if_it_tells_of_the_end(store):
    """Events and end are read at one instant: a reader must neither leave early nor stay on."""
    for round_ in range(20):
        pen = await begin(store)
        reads = [read(store, pen.id, len(pen.claim.events) - 1) for _ in range(4)]
        ending = store.finish(*pen.end()) if round_ % 2 else store.cancel(pen.id)
        *slices, _ = await asyncio.gather(*reads, ending)
        last = (await store.request(pen.id)).sequence_number
        for slice_ in slices:
            assert slice_.ended == (slice_.last == last) == any(map(is_terminal, slice_.events))


@pytest.mark.parametrize("end", [False, True])
async def test_at_the_end_and_beyond_it_there_is_nothing(store, end):
    """A cursor from the future is no error: it says how far the log is."""
    request_id = await log_of(store, 3, end=end)
    last = len(await whole(store, request_id)) - 1
    for after in (last, last + 1, last + 1000):
        slice_ = await read(store, request_id, after)
        assert (list(slice_.events), slice_.last, slice_.ended) == ([], last, end)


@pytest.mark.parametrize("end", [False, True])
async def test_a_slice_has_about_the_size_that_was_asked_for_and_never_nothing(store, end):
    """Bounded memory for a reader far behind; an event larger than the bound still comes."""
    request_id = await log_of(store, 60, end=end, size=4 * KIB)
    slice_ = await read(store, request_id, -1, 8 * KIB)
    assert 0 < sum(map(len, slice_.events)) < 128 * KIB
    assert await whole(store, request_id, bytes_max=1) == await whole(store, request_id)


async def test_a_waiting_request_has_a_log_too(store):
    """The first attach may come before the first attempt."""
    request = await ask(store)
    slice_ = await read(store, request.id, -1)
    assert (slice_.first, slice_.last, slice_.ended, len(slice_.events)) == (0, 0, False, 1)
    assert list((await read(store, request.id, 0)).events) == []


async def test_unknown_requests_are_left_out(store):
    """Many cursors, one call; nobody waits for what is not there."""
    one, two = await log_of(store, 2, end=True), await log_of(store, 3, end=False)
    found = await store.read({one: -1, "resp_none": -1, two: 1}, READ_BYTES)
    assert set(found) == {one, two}
    assert found[two].first == 2


async def test_readers_of_an_attempt_handed_over_see_one_log(store):
    """A new attempt goes on in the same log; bytes at a number never change."""
    pen = await begin(store)
    await store.append([pen.say("abandoned " * 5000)])
    await store.append([pen.say("abandoned " * 5000)])
    before = await whole(store, pen.id)
    await store.hand_over(pen.id, pen.claim.claim_id)
    second = Pen(await take(store, pen.id))
    await complete(store, second, "kept")
    after = await whole(store, pen.id)
    assert after[: len(before)] == before
    assert (await sound(store, pen.id)).text() == "kept"


# Pruned events


async def pruned(store, text="The answer.", status=Status.COMPLETED):
    pen = await begin(store)
    await store.append([pen.say(text)])
    await store.finish(*pen.end(status))
    counts = await store.prune(events_s=1e-9, requests_s=0, chats_s=0)
    assert counts["events"] >= 1
    return await store.request(pen.id)


async def test_an_old_cursor_is_told_that_its_events_are_gone(store):
    """Guard: 410, never other bytes at a number that was shown."""
    row = await pruned(store)
    assert row.events_pruned
    for after in range(row.sequence_number):
        with pytest.raises(Gone) as gone:
            await store.read({row.id: after}, READ_BYTES)
        assert gone.value.code == "events_pruned"


async def test_a_cursor_at_the_end_of_a_pruned_log_is_still_fine(store):
    """Whoever has seen it all is told that nothing follows."""
    row = await pruned(store)
    slice_ = await read(store, row.id, row.sequence_number)
    assert (list(slice_.events), slice_.ended) == ([], True)


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
async def test_from_the_start_a_pruned_log_is_told_again_from_the_answer(store, status):
    """The final answer stands elsewhere, so replay from -1 always works."""
    row = await pruned(store, status=status)
    slice_ = await read(store, row.id, -1)
    assert [number(event) for event in slice_.events] == list(range(len(slice_.events)))
    assert (slice_.first, slice_.last, slice_.ended) == (0, len(slice_.events) - 1, True)
    folded = fold(slice_.events)
    assert (folded.status, folded.text(), folded.error) == (status, "The answer.", row.error)


async def test_only_what_ended_long_enough_ago_is_pruned(store):
    """Guard: age is counted from the end; what waits or runs is never pruned, 0 means for ever."""
    done, running, waiting = await begin(store), await begin(store), await ask(store)
    await complete(store, done)
    for keep in (0, 3600):
        await store.prune(events_s=keep, requests_s=keep, chats_s=keep)
        for request_id in (done.id, running.id, waiting.id):
            await sound(store, request_id)
    await store.prune(events_s=1e-9, requests_s=1e-9, chats_s=1e-9)
    for request_id in (running.id, waiting.id):
        await sound(store, request_id)


async def test_a_message_survives_the_pruning_of_events_and_requests(store):
    """The conversation outlives its logs."""
    row = await pruned(store)
    await store.prune(events_s=1e-9, requests_s=1e-9, chats_s=0)
    assert await store.read({row.id: -1}, READ_BYTES) == {}
    assert [m.text for m in await store.messages(row.chat_id, "ann")] == ["Why?", "The answer."]
    again = await begin(store, chat_id=row.chat_id, text="And?")
    assert [m.text for m in again.claim.messages] == ["Why?", "The answer.", "And?"]


async def test_the_worker_sees_deltas_of_a_whole_answer_as_one_text(store):
    """The log of a claim folds, so that a builder can go on after it."""
    pen = await begin(store)
    for piece in ("a", "b"):
        pen.builder.add(Text(piece))
        await store.append([pen.say("c")])
    assert (await sound(store, pen.id)).text() == "acbc"
