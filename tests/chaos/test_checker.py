"""Controls of the oracle: whatever a broken server could do to a reader, the checker must see.

A check that cannot fail proves nothing: each test doctors one honest story in one way.
"""

import json
from dataclasses import replace

import pytest

from tests.world.checker import Log, check, complaints
from tests.world.records import Partial, Record, Shown, canonical

ID = "resp_1"


def event(number, kind, **fields):
    return {"type": f"response.{kind}", "sequence_number": number, **fields}


def item(number, status, text):
    content = [{"type": "output_text", "text": text}] if text else []
    return {"type": "message", "id": f"msg_{number}", "status": status, "content": content}


def second_attempt():
    return {"status": "in_progress", "output": [], "metadata": {"attempt": "2"}}


def honest_events():
    """One answer whose first attempt was lost after `Hel` and whose second one says `Hello`."""
    return [
        event(0, "created", response={"status": "queued", "output": []}),
        event(1, "in_progress", response={"status": "in_progress", "output": []}),
        event(2, "output_item.added", output_index=0, item=item(0, "in_progress", "")),
        event(3, "output_text.delta", output_index=0, delta="Hel"),
        event(4, "output_item.done", output_index=0, item=item(0, "incomplete", "Hel")),
        event(5, "in_progress", response=second_attempt()),
        event(6, "output_item.added", output_index=1, item=item(1, "in_progress", "")),
        event(7, "output_text.delta", output_index=1, delta="He"),
        event(8, "output_text.delta", output_index=1, delta="llo"),
        event(9, "output_text.done", output_index=1, text="Hello"),
        event(10, "output_item.done", output_index=1, item=item(1, "completed", "Hello")),
        event(11, "completed", response={"status": "completed", "output": [item(1, "", "Hello")]}),
    ]


def log_of(events):
    return Log(ID, tuple(json.dumps(one).encode() for one in events))


def record_of(log, *, name="sse"):
    record = Record(ID, name)
    for number, data in enumerate(log.events):
        record.event(number, data)
    return record


@pytest.fixture
def log():
    return log_of(honest_events())


@pytest.fixture
def record(log):
    return record_of(log)


def polled(*partials):
    record = Record(ID, "poll")
    record.partials = [Partial(0.0, *partial) for partial in partials]
    return record


def complains(records, logs, words):
    found = complaints(records, logs)
    assert any(words in complaint for complaint in found), found
    with pytest.raises(AssertionError):
        check(records, logs)


def test_an_honest_story_raises_no_complaint(log, record):
    halfway = Record(ID, "ws", after=2, shown=record.shown[3:])
    poller = polled(
        (-1, "queued", ""),
        (3, "streaming", "Hel"),
        (5, "streaming", "Hel"),
        (6, "streaming", ""),
        (7, "streaming", "He"),
        (11, "completed", "Hello"),
    )
    check([record, halfway, poller], [log])


def test_a_lost_event_is_seen(log, record):
    del record.shown[4]
    complains([record], [log], "lost")


def test_an_event_lost_at_the_start_is_seen(log, record):
    del record.shown[0]
    complains([record], [log], "lost")


def test_a_doubled_event_is_seen(log, record):
    record.shown.insert(5, record.shown[4])
    complains([record], [log], "doubled or reordered")


def test_two_events_in_the_wrong_order_are_seen(log, record):
    record.shown[3], record.shown[4] = record.shown[4], record.shown[3]
    complains([record], [log], "event 4 was shown where 3 was due")


def test_a_changed_byte_is_seen(log, record):
    record.shown[3] = replace(record.shown[3], data=log.events[3].replace(b"Hel", b"Hal"))
    complains([record], [log], "different in the final log")


def test_a_changed_spelling_of_the_same_json_is_seen(log, record):
    record.shown[3] = replace(record.shown[3], data=canonical(log.events[3]).replace(b" ", b""))
    complains([record], [log], "different in the final log")


def test_an_event_shown_before_it_was_durable_and_then_lost_is_seen(log, record):
    record.shown[-1:] = [Shown(0.0, 11, b'{"type":"response.output_text.delta","delta":"!"}')]
    complains([record], [log], "different in the final log")
    shorter = log_of([*honest_events()[:8], honest_events()[11] | {"sequence_number": 8}])
    complains([record_of(log)], [shorter], "missing or different")


def test_a_number_that_stood_for_two_contents_is_seen_without_any_log(log, record):
    other = record_of(log, name="ws")
    other.shown[7] = replace(other.shown[7], data=log.events[7].replace(b"He", b"Ha"))
    complains([record, other], [log], "two contents")


def test_two_terminal_events_are_seen(log, record):
    again = honest_events()[11] | {"sequence_number": 12}
    complains([record], [log_of([*honest_events(), again])], "one terminal event")


def test_an_event_after_the_end_is_seen(log):
    late = event(12, "output_text.delta", output_index=1, delta="!")
    longer = log_of([*honest_events(), late])
    complains([record_of(longer)], [longer], "shown after a terminal event")


def test_a_log_without_an_end_is_seen(log):
    complains([], [log_of(honest_events()[:-1])], "one terminal event")


def test_a_hole_in_the_numbers_of_a_log_is_seen():
    events = honest_events()
    del events[3]
    complains([], [log_of(events)], "numbers are not")


def test_an_item_index_or_id_that_is_used_twice_is_seen():
    events = honest_events()
    events[6] = event(6, "output_item.added", output_index=0, item=item(0, "in_progress", ""))
    complains([], [log_of(events)], "output_index is used twice")
    complains([], [log_of(events)], "item id is used twice")


def test_an_attempt_spliced_under_the_text_of_another_is_seen():
    events = honest_events()
    events[7] = event(7, "output_text.delta", output_index=0, delta="He")
    complains([], [log_of(events)], "closes with another text")


def test_two_workers_on_one_attempt_are_seen():
    events = honest_events()
    events[5]["response"]["metadata"] = {}
    complains([], [log_of(events)], "its attempts are [1, 1]")


def test_a_final_text_that_nobody_streamed_is_seen():
    events = honest_events()
    events[11]["response"]["output"] = [item(1, "completed", "Hello, world")]
    complains([], [log_of(events)], "is not what was streamed")


def test_a_partial_that_is_not_the_logs_text_at_its_number_is_seen(log):
    complains([polled((7, "streaming", "Hell"))], [log], "not the log's text there")


def test_a_partial_newer_than_the_log_is_seen(log):
    complains([polled((12, "streaming", "Hello!"))], [log], "which the log does not have")


def test_a_partial_that_goes_back_is_seen(log):
    story = [(8, "streaming", "Hello"), (7, "streaming", "He"), (11, "completed", "Hello")]
    complains([polled(*story)], [log], "went back")


def test_a_text_that_grows_after_the_end_is_seen(log):
    story = [(11, "cancelled", "Hel"), (11, "cancelled", "Hello")]
    complains([polled(*story)], [log], "changed after the end")


def test_a_request_that_comes_back_to_life_is_seen(log):
    story = [(11, "completed", "Hello"), (11, "streaming", "Hello")]
    complains([polled(*story)], [log], "came back to life")


def test_a_request_whose_log_is_gone_is_seen(record):
    complains([record], [], "no final log")
