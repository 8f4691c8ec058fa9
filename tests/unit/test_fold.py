"""The answer is the fold of its events."""

import time
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.deltas import Annotation, Reasoning, Refusal, Text, ToolCall, ToolResult, Usage
from perdure.events import is_terminal, rebuild
from perdure.fold import Fold, fold
from perdure.model import Failure, Request, Status
from tests.unit.answers import (
    CITATION,
    Attempt,
    Life,
    answer,
    builder,
    created,
    live,
    lives,
    running,
    told,
)
from tests.unit.reader import Reader, read
from tests.unit.recorded import FOLDER, LIVES, record

COMPLETED, FAILED, CANCELLED = Status.COMPLETED, Status.FAILED, Status.CANCELLED


# Against a reader that knows nothing of the fold


@given(lives)
def test_after_every_event_the_fold_has_what_the_strictest_reader_has(life):
    log, closing = live(life)
    state, reader = Fold(), Reader()
    for event in log:
        state.apply(event)
        reader.read(event)
        assert state.items() == reader.output
        assert state.sequence_number == reader.next - 1
        assert state.ended == reader.ended
    assert closing is not None
    assert state.answer() == reader.response["output"] == closing.output
    assert state.text() == closing.text


@given(lives)
def test_the_end_is_folded_with_all_that_belongs_to_it(life):
    log, closing = live(life)
    state = fold(log)
    assert closing is not None
    assert state.status == closing.status == life.end
    assert state.error == closing.error
    assert state.usage == closing.usage
    assert state.incomplete_reason == closing.incomplete_reason


@given(lives)
def test_within_an_attempt_text_only_grows(life):
    log, _ = live(life)
    states = [fold(log[: end + 1]) for end in range(len(log))]
    for before, after in pairwise(states):
        same = before.answer()[:1] and after.answer()[:1]
        if same and before.answer()[0]["id"] == after.answer()[0]["id"]:
            assert after.text().startswith(before.text())


@given(running, st.data())
def test_a_fold_goes_on_from_any_point(life, data):
    log, _ = live(life)
    cut = data.draw(st.integers(0, len(log)))
    state = fold(log[:cut])
    state.text()
    state.items()
    for event in log[cut:]:
        state.apply(event)
    whole = fold(log)
    assert (state.items(), state.answer()) == (whole.items(), whole.answer())


@given(running)
def test_at_most_the_last_item_is_open(life):
    log, _ = live(life)
    for end in range(1, len(log) + 1):
        state = fold(log[:end])
        assert state.open_items() in ([], state.items()[-1:])


# Order and damage


def test_an_empty_fold_says_that_nothing_happened():
    state = Fold()
    assert (state.sequence_number, state.attempt, state.ended) == (-1, 0, False)
    assert (state.items(), state.answer(), state.text()) == ([], [], "")


@pytest.mark.parametrize("wrong", [0, 1, 3, 4])
def test_an_event_out_of_turn_is_refused(wrong):
    log = answer(Text("a"))
    state = fold(log[:2])
    with pytest.raises(ValueError, match="cannot follow"):
        state.apply(log[wrong])
    state.apply(log[2])
    assert state.sequence_number == 2


def test_nothing_follows_the_end():
    state = fold(answer(Text("a")))
    late = b'{"type":"response.in_progress","sequence_number":%d}' % (state.sequence_number + 1)
    with pytest.raises(ValueError, match="cannot follow"):
        state.apply(late)


@pytest.mark.parametrize(
    "event",
    [
        b'{"type":"response.output_text.delta","sequence_number":1,"output_index":0,"delta":"a"}',
        b'{"type":"response.output_item.done","sequence_number":1,"output_index":3,"item":{}}',
        b'{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{}}',
        b'{"type":"response.output_text.delta","sequence_number":1',
        b'{"type":"response.output_text.delta"}',
        b"",
        b"garbage",
    ],
)
def test_an_event_that_makes_no_sense_is_refused(event):
    state = fold([created()])
    with pytest.raises(ValueError):
        state.apply(event)
    assert state.sequence_number == 0


def test_unknown_events_and_keys_change_nothing_but_their_number_counts():
    log = [created()]
    log.append(b'{"type":"response.new","sequence_number":1,"response":7,"delta":[],"item":null}')
    log.append(b'{"type":"keepalive","sequence_number":2}')
    state = fold(log)
    assert (state.sequence_number, state.items(), state.status) == (2, [], Status.QUEUED)
    state.apply(b'{"type":"response.queued","sequence_number":3,"new":1,"response":{"status":"?"}}')
    assert state.status is Status.QUEUED


# Attempts


def life(*attempts: Attempt, end: Status | None = None) -> Fold:
    return fold(live(Life(list(attempts), end))[0])


def test_the_latest_attempt_with_content_is_the_answer():
    state = life(Attempt([Text("old")]), Attempt([Text("new")]))
    assert (state.text(), state.attempt) == ("new", 2)
    assert len(state.items()) == 2


@pytest.mark.parametrize("end", [None, FAILED, CANCELLED])
def test_an_attempt_without_content_leaves_the_older_text(end):
    assert life(Attempt([Text("old")]), Attempt([]), Attempt([]), end=end).text() == "old"


def test_a_completed_attempt_without_content_is_an_empty_answer():
    state = life(Attempt([Text("old")]), Attempt([]), end=COMPLETED)
    assert (state.text(), state.answer()) == ("", [])


@pytest.mark.parametrize("end", [None, COMPLETED, FAILED])
def test_an_attempt_that_continues_counts_together_with_the_former(end):
    state = life(
        Attempt([Text("a")]),
        Attempt([Text("b")], continued=True),
        Attempt([Text("c")], continued=True),
        end=end,
    )
    assert state.text() == "abc"


def test_an_attempt_continues_the_latest_one_that_had_content():
    state = life(
        Attempt([Text("a")]),
        Attempt([]),
        Attempt([Text("b")], continued=True),
        Attempt([Text("c")]),
        Attempt([ToolCall("0", '{"half', "f")]),
        Attempt([Text("d")], continued=True),
    )
    assert state.text() == "cd"


def test_a_restart_after_a_continuation_stands_alone():
    state = life(
        Attempt([Text("a")]),
        Attempt([Text("b")], continued=True),
        Attempt([Text("c")]),
        end=COMPLETED,
    )
    assert state.text() == "c"


def test_a_second_beginning_of_the_same_attempt_may_turn_it_into_a_continuation():
    log = answer(Text("a"), end=None)
    writer = builder(log)
    writer.in_progress(2, "worker_lost")
    writer.in_progress(2, "worker_lost", continued=True)
    writer.add(Text("b"))
    state = fold(log + writer.take())
    assert (state.text(), state.attempt) == ("ab", 2)


def test_the_person_s_own_metadata_is_not_taken_for_ours():
    own = {"attempt": "7", "recovery": "continue"}
    lived, _ = live(Life([Attempt([Text("a")]), Attempt([Text("b")])]), [created(metadata=own)])
    state = fold(lived)
    assert (state.attempt, state.text()) == (2, "b")
    assert state.metadata == own
    assert fold(lived[:3]).attempt == 1


def test_a_lost_attempt_waits_until_the_next_begins():
    state = life(Attempt([Text("a")]), Attempt([]))
    waiting = fold(live(Life([Attempt([Text("a")]), Attempt([])]))[0][:-1])
    assert (waiting.status, state.status) == (Status.QUEUED, Status.STREAMING)


def test_half_a_tool_call_does_not_count_once_its_attempt_broke_off():
    state = life(Attempt([Text("a"), ToolCall("0", '{"x":', "f")]), Attempt([]))
    assert [item["type"] for item in state.answer()] == ["message"]
    assert [item["type"] for item in state.items()] == ["message", "function_call"]


def test_half_a_tool_call_counts_while_it_streams():
    state = life(Attempt([ToolCall("0", '{"x":', "f")]))
    assert [item["arguments"] for item in state.answer()] == ['{"x":']


# Text


def test_all_messages_are_one_text_refusals_included():
    state = life(
        Attempt(
            [Text("a", "1"), Reasoning("hm"), Text("b", "2"), Refusal("c"), ToolResult("x", "y")]
        )
    )
    assert state.text() == "abc"


def test_what_items_returned_does_not_change_with_later_events():
    log = answer(Text("a"), Annotation(CITATION), end=None)
    state = fold(log)
    before = state.items()
    shown = msgspec.json.encode(before)
    writer = builder(log)
    writer.add(Annotation(CITATION))
    writer.add(Text("b"))
    for event in writer.take():
        state.apply(event)
    assert msgspec.json.encode(before) == shown


def test_the_last_response_is_kept_without_its_output():
    state = life(Attempt([Text("a"), Usage(1, 1)]), end=COMPLETED)
    assert state.response["status"] == "completed"
    assert "output" not in state.response
    assert state.usage == state.response["usage"]


def test_an_event_costs_microseconds():
    log = [created()]
    writer = builder(log)
    writer.in_progress(1)
    for _ in range(5_000):
        writer.add(Text("some words"))
        log += writer.take()

    def cost_us() -> float:
        started = time.perf_counter()
        fold(log)
        return (time.perf_counter() - started) / len(log) * 1e6

    # About 1.5 µs on an idle core.
    assert min(cost_us() for _ in range(5)) < 15


# Logs rebuilt from their end


def request(log: list[bytes], **changes: Any) -> Request:
    """Return the row that a finished log leaves behind."""
    state = fold(log)
    fields: dict[str, Any] = {
        "id": "resp_1",
        "chat_id": "chat_1",
        "user_id": "u",
        "agent_id": "support",
        "user_message_id": "msg_1",
        "message_id": "msg_2",
        "status": state.status,
        "created_at": 1_795_000_000.5,
        "completed_at": 1_795_000_009.5,
        "sequence_number": state.sequence_number,
        "output": state.answer(),
        "error": state.error,
        "usage": state.usage,
        "incomplete_reason": state.incomplete_reason,
        "metadata": state.metadata,
    }
    return Request(**fields | changes)


@given(lives)
def test_a_rebuilt_log_is_whole_and_folds_to_the_same_answer(life):
    log, closing = live(life, [created(metadata={"attempt": "2", "own": "x"})])
    again = rebuild(request(log))
    reader = read(again)
    state = fold(again)
    assert closing is not None
    assert state.answer() == state.items() == closing.output
    assert state.text() == closing.text
    assert (state.status, state.error) == (closing.status, closing.error)
    assert (state.usage, state.incomplete_reason) == (closing.usage, closing.incomplete_reason)
    assert state.metadata == {"attempt": "2", "own": "x"}
    assert reader.response["model"] == "support"
    assert is_terminal(again[-1])


def test_a_rebuilt_log_streams_each_text_once():
    log = answer(Text("a"), Text("b"), Annotation(CITATION), Reasoning("hm"), ToolCall("0", "{}"))
    kinds = [event["type"] for event in told(rebuild(request(log)))]
    for kind in ("output_text", "reasoning_summary_text", "function_call_arguments"):
        assert kinds.count(f"response.{kind}.delta") == 1
    assert kinds.count("response.output_text.annotation.added") == 1


def test_a_rebuilt_log_tells_when_the_answer_was_asked_and_completed():
    last = told(rebuild(request(answer(Text("a")))))[-1]["response"]
    assert (last["created_at"], last["completed_at"]) == (1_795_000_000, 1_795_000_009)


def test_a_row_without_its_time_of_completion_completed_when_it_was_asked():
    row = request(answer(Text("a")), completed_at=None)
    assert told(rebuild(row))[-1]["response"]["completed_at"] == 1_795_000_000


def test_an_answer_that_was_never_begun_is_rebuilt_from_its_row():
    row = request(answer(end=CANCELLED), output=None, completed_at=None)
    assert fold(rebuild(row)).status is CANCELLED


def test_items_of_kinds_that_we_do_not_make_are_rebuilt_as_they_are():
    foreign = [
        {"type": "mcp_approval_request", "id": "mcpr_1", "name": "rm"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "hm"}],
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "a"},
                {"type": "refusal", "refusal": "b"},
            ],
        },
        {"type": "function_call_output", "id": "fco_1", "call_id": "c", "output": [{"type": "x"}]},
    ]
    state = fold(rebuild(request(answer(Text("a")), output=foreign)))
    assert state.items() == foreign
    assert state.text() == "ab"


def test_parts_of_one_item_are_told_apart():
    texts = [{"type": "output_text", "text": c, "annotations": [], "logprobs": []} for c in "abc"]
    summaries = [{"type": "summary_text", "text": c} for c in "de"]
    status = {"status": "completed"}
    output = [
        {"type": "message", "id": "msg_1", "role": "assistant", "content": texts, **status},
        {"type": "reasoning", "id": "rs_1", "summary": summaries, **status},
    ]
    state, reader = Fold(), Reader()
    for event in rebuild(request(answer(Text("a")), output=output)):
        state.apply(event)
        reader.read(event)
        assert state.items() == reader.output
    assert state.text() == "abc"


def test_a_rebuilt_log_has_one_attempt():
    row = request(answer(Text("a")), attempt=3)
    assert [event["type"] for event in told(rebuild(row))][:2] == [
        "response.created",
        "response.in_progress",
    ]
    assert fold(rebuild(row)).attempt == 1


@pytest.mark.parametrize("status", [Status.QUEUED, Status.STREAMING])
def test_only_a_finished_request_is_rebuilt(status):
    with pytest.raises(ValueError, match="has not ended"):
        rebuild(request(answer(Text("a")), status=status))


# Recorded streams, shared with the web client


@pytest.mark.parametrize("name", LIVES)
def test_a_recorded_stream_is_what_its_life_makes(name):
    # If this is meant: `python -m tests.unit.recorded`.
    assert msgspec.json.decode((FOLDER / f"{name}.json").read_bytes()) == record(name)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_a_recorded_stream_folds_to_its_texts(path):
    recorded = msgspec.json.decode(path.read_bytes())
    state = Fold()
    for event, text in zip(recorded["events"], recorded["texts"], strict=True):
        state.apply(msgspec.json.encode(event))
        assert state.text() == text
    assert state.text() == recorded["text"]
    assert state.answer() == recorded["output"]
    assert state.status == recorded["status"]
    assert path.stem in LIVES


def test_a_failure_survives_the_fold():
    log = live(Life([Attempt([Text("a")])], FAILED, Failure("idle_timeout", "Silent.")))[0]
    assert fold(log).error == Failure("idle_timeout", "Silent.")
