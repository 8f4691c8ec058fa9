"""From deltas to events: what a log says, in which order, and to whom it stays readable."""

import importlib
import json
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from perdure import events
from perdure.deltas import (
    Annotation,
    Finish,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Trace,
    Usage,
)
from perdure.events import Builder
from perdure.fold import Fold, fold
from perdure.items import parses, request_of
from perdure.model import Failure, Status
from tests.unit import shapes
from tests.unit.answers import (
    CITATION,
    Attempt,
    Life,
    answer,
    begun,
    builder,
    created,
    deltas,
    live,
    lives,
    running,
    told,
)
from tests.unit.reader import read, without

COMPLETED, FAILED, CANCELLED = Status.COMPLETED, Status.FAILED, Status.CANCELLED
REDOS = range(5)


def output(log: list[bytes]) -> list[dict[str, Any]]:
    """Return the output of a log's last lifecycle event."""
    found: list[dict[str, Any]] = told(log)[-1]["response"]["output"]
    return found


def anonymous(value: Any) -> Any:
    """Return data without the ids that differ from run to run."""
    if isinstance(value, dict):
        ids = {"id", "item_id", "call_id"}
        return {key: anonymous(inner) for key, inner in value.items() if key not in ids}
    return [anonymous(inner) for inner in value] if isinstance(value, list) else value


# Every log


@given(lives)
def test_every_log_is_whole_and_breaks_no_sdk(life):
    log, closing = live(life)
    reader = read(log)
    assert reader.ended
    assert closing is not None
    assert closing.output == reader.response["output"]


@given(running, st.data())
def test_a_log_can_be_taken_over_after_any_event(life, data):
    log, _ = live(life)
    cut = data.draw(st.integers(1, len(log)))
    before = fold(log[:cut])
    heir = builder(log[:cut])
    closing = heir.end(CANCELLED)
    assert read(log[:cut] + heir.take()).ended
    if not any(half_a_call(item) for item in before.open_items()):
        assert closing.text == before.text()


def half_a_call(item: dict[str, Any]) -> bool:
    """Say whether an item counts only while it may still become whole."""
    return item["type"] == "function_call" and not parses(item["arguments"])


def test_an_attempt_that_broke_off_in_its_first_call_leaves_the_text_of_the_one_before():
    log, _ = live(
        Life([Attempt([Text("kept")], handed_over=True), Attempt([ToolCall("0", '{"a', "look")])])
    )
    assert fold(log).text() == ""
    assert builder(log).end(CANCELLED).text == "kept"


@given(running, st.data(), st.lists(deltas, max_size=5))
def test_a_log_can_be_gone_on_with_after_any_event(life, data, more):
    log, _ = live(life)
    cut = data.draw(st.integers(1, len(log)))
    heir = builder(log[:cut])
    for delta in more:
        heir.add(delta)
    rest = heir.take()
    heir.queued()
    assert not read(log[:cut] + rest + heir.take()).ended


@given(lives, st.data())
def test_where_events_are_taken_changes_nothing_but_the_size_of_deltas(life, data):
    whole, closing = live(life)
    for attempt in life.attempts:
        attempt.taken_after = data.draw(st.frozensets(st.integers(0, 9)))
    pieces, other = live(life)
    assert closing is not None
    assert other is not None
    assert other.text == closing.text
    assert anonymous(fold(pieces).items()) == anonymous(fold(whole).items())
    assert anonymous(other.output) == anonymous(closing.output)


@given(st.lists(deltas, max_size=12))
def test_no_character_of_text_is_lost_or_moved(said):
    texts = "".join(delta.text for delta in said if isinstance(delta, Text | Refusal))
    storable = "".join("�" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in texts)
    assert fold(answer(*said)).text() == storable


def replies(log: list[bytes]) -> Iterator[bytes]:
    for event in log:
        yield b"event: " + events.kind(event).encode() + b"\ndata: " + event + b"\n\n"
    yield b"data: [DONE]\n\n"


def sdk(log: list[bytes]) -> openai.OpenAI:
    """Return the official client, answered with this log."""
    http: Any = importlib.import_module("httpx2" if openai.__version__ >= "3" else "httpx")
    body = b"".join(replies(log))
    kind = {"content-type": "text/event-stream"}
    server = http.MockTransport(lambda _: http.Response(200, headers=kind, content=body))
    client = http.Client(transport=server)
    return openai.OpenAI(
        api_key="-", base_url="http://127.0.0.1:9/v1", max_retries=0, http_client=client
    )


@settings(max_examples=25)
@given(lives)
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_the_official_sdk_reads_every_log_to_its_end(life):
    log, closing = live(life)
    with sdk(log).responses.stream(model="support", input="x") as stream:
        last: Any = list(stream)[-1]
    assert closing is not None
    assert last.type == events.kind(log[-1])
    assert [item.id for item in last.response.output] == [item["id"] for item in closing.output]


# Events as bytes


@given(lives)
def test_type_and_number_are_read_without_parsing(life):
    log, _ = live(life)
    for event, data in zip(log, told(log), strict=True):
        assert events.kind(event) == data["type"]
        assert events.number(event) == data["sequence_number"]
        assert events.is_terminal(event) == (event is log[-1])


def test_the_number_of_an_event_without_other_fields_is_read():
    assert events.number(b'{"type":"keepalive","sequence_number":17}') == 17


def test_no_client_takes_an_event_for_two_lines():
    odd = "a\u2028b\u2029c\x85d\ne\rf\x0bg"
    log = answer(Text(odd), ToolResult("c", odd))
    assert all(len(event.decode().splitlines()) == 1 for event in log)
    assert fold(log).text() == odd


@pytest.mark.parametrize("bad", ["a\ud83d", "\ude00a", "\0", "a\0\ud83d\ude00"])
def test_text_that_no_database_holds_is_replaced(bad):
    said = [
        Text(bad),
        Reasoning(bad),
        Refusal(bad),
        ToolCall("0", bad, bad, bad),
        ToolResult(bad, bad),
        Annotation({**CITATION, "title": bad}),
    ]
    log = live_with_failure(said, Failure(bad, bad))
    assert b"\\u0000" not in b"".join(log)
    assert all("\ufffd" in json.dumps(item, ensure_ascii=False) for item in fold(log).items())
    error = fold(log).error
    assert error is not None
    assert "\ufffd" in error.message


def live_with_failure(said: list[Any], error: Failure) -> list[bytes]:
    log = [created(metadata={"note": error.message}, extra={"tools": [{"name": error.message}]})]
    writer = builder(log)
    for delta in said:
        writer.add(delta)
    writer.end(FAILED, error)
    return [*log, *writer.take()]


# The Response object


def test_a_new_response_waits_and_has_all_its_keys():
    event = shapes.parse(created(metadata={"a": "b"}, conversation="chat_1", background=False))
    assert event.response.status == "queued"
    assert event.response.output == []
    assert event.response.created_at == 1_795_000_000
    assert event.response.metadata == {"a": "b"}
    assert event.response.conversation.id == "chat_1"
    assert event.response.background is False
    assert event.response.model == "support"


def test_the_caller_s_parameters_are_echoed():
    tool = {"type": "function", "name": "find"}
    extra = {"tools": [tool], "reasoning": {"effort": "low"}, "temperature": 0.2, "store": False}
    response = events.response(id="resp_1", agent_id="a", created_at=1, extra=extra)
    shapes.parse(events.first_event(response))
    assert response["tools"] == [tool | {"description": None, "parameters": None, "strict": None}]
    assert response["reasoning"] == {"effort": "low", "summary": None}
    assert response["temperature"] == 0.2
    assert response["store"] is False


def test_a_tool_that_is_no_function_is_echoed_as_it_came():
    tool = {"type": "web_search", "filters": None}
    response = events.response(id="resp_1", agent_id="a", created_at=1, extra={"tools": [tool]})
    assert response["tools"] == [tool]


def test_text_options_without_a_format_keep_the_default_one():
    extra = {"text": {"verbosity": "low"}}
    response = events.response(id="resp_1", agent_id="a", created_at=1, extra=extra)
    assert response["text"] == {"format": {"type": "text"}, "verbosity": "low"}


def test_a_parameter_that_is_null_gets_its_default():
    nulls = dict.fromkeys(shapes.Response.__struct_fields__)
    response = events.response(id="resp_1", agent_id="a", created_at=1, extra=nulls)
    assert response == events.response(id="resp_1", agent_id="a", created_at=1)


@pytest.mark.parametrize("key", ["id", "status", "output", "error", "usage", "model", "created_at"])
def test_a_caller_cannot_set_what_the_server_decides(key):
    response = events.response(id="resp_1", agent_id="a", created_at=1, extra={key: "mine"})
    assert response[key] != "mine"


# Items


def test_a_message_is_announced_streamed_and_closed():
    log = answer(Text("Hel"), Text("lo"))
    assert [event["type"].removeprefix("response.") for event in told(log)] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_reasoning_streams_as_a_summary():
    log = answer(Reasoning("hm"))
    assert told(log, "reasoning_summary_text.delta")[0]["delta"] == "hm"
    assert output(log)[0]["summary"] == [{"type": "summary_text", "text": "hm"}]


def test_a_refusal_is_a_message():
    log = answer(Refusal("I "), Refusal("won't."))
    assert output(log)[0]["content"] == [{"type": "refusal", "refusal": "I won't."}]


@pytest.mark.parametrize("other", [Reasoning("hm"), ToolCall("0", "{}", "f"), ToolResult("c", "r")])
def test_another_kind_of_item_closes_the_message(other):
    log = answer(Text("a"), other, Text("b"))
    assert [item["type"] for item in output(log)][::2] == ["message", "message"]
    assert [item["status"] for item in output(log)] == ["completed"] * 3


def test_another_message_id_closes_the_message():
    log = answer(Text("a", "m1"), Text("b"), Text("c", "m1"), Text("d", "m2"), Text("e", "m1"))
    assert [item["content"][0]["text"] for item in output(log)] == ["abc", "d", "e"]


@pytest.mark.parametrize("kind", [Text, Reasoning, Refusal])
def test_an_empty_piece_changes_nothing(kind):
    log = answer(ToolCall("0", '{"x"', "f"), kind("", "other"), ToolCall("0", ":1}"))
    assert [item["type"] for item in output(log)] == ["function_call"]
    assert not begun(kind("", "other")).has_deltas


def test_an_answer_without_any_item_completes_with_no_output():
    assert output(answer(Usage(1, 1), Finish())) == []


def test_a_citation_appears_at_once_and_in_the_closed_part():
    log = answer(Text("a"), Annotation(CITATION), Text("b"), Annotation(CITATION))
    added = told(log, "output_text.annotation.added")
    assert [event["annotation_index"] for event in added] == [0, 1]
    part = told(log, "content_part.done")[0]["part"]
    assert (part["text"], part["annotations"]) == ("ab", [CITATION, CITATION])


def test_a_citation_before_its_message_begins_it():
    log = answer(ToolResult("c", "r"), Annotation(CITATION), Text("a", "m1"), Text("b", "m1"))
    assert output(log)[1]["content"][0]["text"] == "ab"
    assert len(output(log)) == 2


def test_a_tool_result_is_an_item_of_its_own():
    log = answer(ToolCall("0", "{}", "find", "call_9"), ToolResult("call_9", "found"))
    call, result = output(log)
    assert (call["name"], call["call_id"], call["arguments"]) == ("find", "call_9", "{}")
    assert (result["call_id"], result["output"], result["status"]) == (
        "call_9",
        "found",
        "completed",
    )


# Tool calls that stream at once


def calls(log: list[bytes]) -> list[tuple[str, str, str]]:
    return [
        (item["name"], item["arguments"], item["status"])
        for item in output(log)
        if item["type"] == "function_call"
    ]


def test_interleaved_calls_are_told_one_after_the_other():
    log = answer(
        ToolCall("0", '{"a":', "f"),
        ToolCall("1", '{"b":', "g"),
        ToolCall("0", "1}"),
        ToolCall("1", "2}"),
    )
    assert calls(log) == [("f", '{"a":1}', "completed"), ("g", '{"b":2}', "completed")]


def test_a_call_that_is_whole_makes_room_for_the_next_at_once():
    writer = begun(ToolCall("0", "{}", "f"), ToolCall("1", "", "g"))
    assert len(told(writer.take(), "output_item.added")) == 2


def test_a_call_that_waits_is_told_when_the_answer_goes_on():
    log = answer(ToolCall("0", "", "f"), ToolCall("1", '{"b":2}', "g"), Text("done"))
    assert calls(log) == [("f", "", "completed"), ("g", '{"b":2}', "completed")]
    assert output(log)[2]["type"] == "message"


def test_pieces_after_their_call_was_closed_are_not_lost():
    log = answer(ToolCall("0", '{"a":', "f", "c"), Text("hm"), ToolCall("0", "1}"))
    assert calls(log) == [("f", '{"a":1}', "completed")]
    assert fold(log).text() == "hm"


@pytest.mark.parametrize("name", ["", "f"])
@pytest.mark.parametrize("call_id", ["", "c"])
def test_a_late_piece_may_repeat_what_its_call_is_named(name, call_id):
    late = ToolCall("0", "1}", name, call_id)
    log = answer(ToolCall("0", '{"a":', "f", "c"), Text("hm"), late)
    assert calls(log) == [("f", '{"a":1}', "completed")]


@pytest.mark.parametrize(("name", "call_id"), [("g", ""), ("g", "c"), ("f", "d"), ("", "d")])
def test_a_late_piece_that_names_another_call_begins_it(name, call_id):
    late = ToolCall("0", "[]", name, call_id)
    log = answer(ToolCall("0", '{"a":', "f", "c"), Text("hm"), late)
    assert calls(log) == [(name, "[]", "completed")]


@pytest.mark.parametrize(
    "again",
    [
        ToolCall("0", "[]", "g", "d"),
        ToolCall("0", "[]", "f", "c"),
        ToolCall("0", "[]"),
        ToolCall("0", "", "g"),
        ToolCall("0", "", "", "d"),
    ],
)
def test_a_key_that_is_used_again_after_a_whole_call_begins_a_new_one(again):
    log = answer(ToolCall("0", "{}", "f", "c"), ToolResult("c", "r"), again)
    new = (again.name, again.arguments, "completed")
    assert calls(log) == [("f", "{}", "completed"), new]


def test_a_call_that_waits_may_be_named_late():
    log = answer(
        ToolCall("0", "{", "f"),
        ToolCall("1", ""),
        ToolCall("1", "{}", "g", "c"),
        ToolCall("0", "}"),
    )
    assert calls(log) == [("f", "{}", "completed"), ("g", "{}", "completed")]
    assert output(log)[1]["call_id"] == "c"


def test_a_brace_in_mid_call_does_not_make_it_whole():
    log = answer(
        ToolCall("0", '{"a":{}', "f"),
        ToolCall("1", "{}", "g"),
        ToolCall("0", "}"),
    )
    assert calls(log) == [("f", '{"a":{}}', "completed"), ("g", "{}", "completed")]


def test_a_call_left_open_by_another_builder_makes_room_for_the_next():
    log = answer(ToolCall("0", '{"a":', "f"), end=None)
    writer = builder(log)
    writer.add(ToolCall("0", "{}", "g"))
    log += writer.take()
    assert [item["name"] for item in fold(log).answer()] == ["g"]


def test_white_space_after_a_closed_call_is_no_call():
    assert len(calls(answer(ToolCall("0", "{}", "f"), Text("a"), ToolCall("0", "\n")))) == 1


def test_arguments_that_are_not_json_are_kept_when_the_call_was_answered():
    log = answer(ToolCall("0", "SELECT 1", "sql", "c"), ToolResult("c", "1"))
    assert calls(log) == [("sql", "SELECT 1", "completed")]


def test_the_result_of_another_call_does_not_make_half_a_call_whole():
    assert calls(answer(ToolCall("0", '{"x":', "f", "c"), ToolResult("other", "1"))) == []


def test_a_call_id_is_made_up_if_the_agent_gave_none():
    log = answer(ToolCall("0", "{}", "f"), ToolCall("1", "{}", "f"))
    ids = [item["call_id"] for item in output(log)]
    assert all(name.startswith("call_") for name in ids)
    assert len(set(ids)) == 2


def test_a_call_id_that_a_later_attempt_repeats_is_made_new_and_its_result_follows():
    writer = begun(ToolCall("0", "{}", "f", "call_0"), ToolResult("call_0", "first"))
    writer.in_progress(2)
    writer.add(ToolCall("0", "{}", "f", "call_0"))
    writer.add(ToolResult("call_0", "second"))
    call, result = writer.end(COMPLETED).output
    assert call["call_id"] == result["call_id"] != "call_0"


@pytest.mark.parametrize("end", [FAILED, CANCELLED])
def test_a_call_that_broke_off_is_closed_but_does_not_count(end):
    log = answer(Text("a"), ToolCall("0", '{"x":', "f"), end=end)
    closed = told(log, "output_item.done")[1]["item"]
    assert (closed["arguments"], closed["status"]) == ('{"x":', "incomplete")
    assert [item["type"] for item in output(log)] == ["message"]


def test_a_whole_call_counts_although_the_attempt_broke_off():
    assert calls(answer(ToolCall("0", '{"x":1}', "f"), end=FAILED)) == [
        ("f", '{"x":1}', "incomplete"),
    ]


def test_interleaved_calls_cost_no_more_than_their_length():
    started = time.perf_counter()
    writer = begun(ToolCall("0", '{"a":"', "f"), ToolCall("1", '{"b":"', "g"))
    for _ in range(5_000):
        writer.add(ToolCall("0", "some text "))
        writer.add(ToolCall("1", "some text "))
    assert time.perf_counter() - started < 2
    assert len(writer.end(FAILED).output) == 0


# Text on its way


def test_adjacent_text_becomes_one_event():
    writer = begun(Text("a"), Text("b"))
    assert [event["delta"] for event in told(writer.take(), "output_text.delta")] == ["ab"]
    writer.add(Text("c"))
    writer.add(Text("d"))
    assert [event["delta"] for event in told(writer.take())] == ["cd"]


def test_nothing_new_is_no_event():
    writer = begun(Text("a"))
    writer.take()
    writer.add(Text(""))
    assert writer.take() == []


def test_first_is_the_number_of_the_next_event_that_is_taken():
    writer = begun()
    for delta in (Text("a"), Reasoning("b"), Text("c")):
        first = writer.first
        writer.add(delta)
        assert writer.first == first
        assert events.number(writer.take()[0]) == first


def test_pending_grows_with_what_waits_and_ends_with_take():
    writer = begun(Text("a" * 1_000))
    waiting = writer.pending
    assert waiting >= 1_000
    writer.add(ToolCall("0", "{", "f"))
    writer.add(ToolCall("1", "b" * 500, "g"))
    assert writer.pending >= waiting + 500
    writer.take()
    assert writer.pending == 500


@pytest.mark.parametrize(
    "delta",
    [
        Text("a" * 1_000),
        Reasoning("a" * 1_000),
        Refusal("a" * 1_000),
        ToolCall("0", "a" * 1_000, "f"),
        ToolResult("c", "a" * 1_000),
        Annotation({**CITATION, "title": "a" * 1_000}),
    ],
)
def test_the_size_of_the_answer_counts_everything_in_it(delta):
    writer = begun()
    for times in (1, 2, 3):
        writer.add(delta)
        assert 1_000 * times <= writer.text_bytes <= 1_400 * times + 400
        writer.take()


def test_a_flood_of_tiny_items_has_a_size():
    writer = begun()
    for number in range(100):
        writer.add(Text("a", str(number)))
    assert writer.text_bytes > 100 * 100


def test_the_size_begins_anew_with_an_attempt_unless_it_continues():
    writer = begun(Text("a" * 1_000))
    writer.in_progress(2)
    assert writer.text_bytes == 0
    writer.in_progress(3, continued=True)
    assert writer.text_bytes == 1_000


@pytest.mark.parametrize("delta", [Text("a" * 100), Reasoning("a" * 100)])
@pytest.mark.parametrize("bound", ["pending_max", "text_bytes_max"])
def test_a_builder_tells_when_there_is_no_more_room(bound, delta):
    """Guards: either bound in `add`, for text of the open message and for all else."""
    bounds: Any = {bound: 5_000}
    writer = Builder(fold([created()]), **bounds)
    room = [writer.add(delta) for _ in range(80)]
    told = room.index(False)
    assert 0 < told < 51
    assert not any(room[told:])
    writer.take()
    assert writer.add(delta) is (bound == "pending_max"), "only what waits is gone with `take`"


def test_a_delta_costs_microseconds():
    writer, piece = begun(Text("a")), Text("some words")

    def cost_us(times: int = 5_000) -> float:
        started = time.perf_counter()
        for _ in range(times):
            writer.add(piece)
            writer.take()
        return (time.perf_counter() - started) / times * 1e6

    # About 1 µs on an idle core; ten times that would be a dict or a parse per delta.
    assert min(cost_us() for _ in REDOS) < 10


def test_a_delta_costs_the_same_in_a_long_answer():
    writer, piece = begun(Text("a")), Text("some words")

    def cost_s(times: int = 2_000) -> float:
        started = time.thread_time()
        for _ in range(times):
            writer.add(piece)
            writer.take()
        return time.thread_time() - started

    short = min(cost_s() for _ in REDOS)
    writer.add(Text("a" * 2_000_000))
    assert min(cost_s() for _ in REDOS) < 5 * short


def test_a_long_answer_in_progress_takes_little_memory():
    tracemalloc.start()
    try:
        writer = begun()
        for number in range(20_000):
            writer.add(Text(f"word {number} "))
            writer.take()
        bytes_held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert writer.text_bytes > 200_000
    assert bytes_held < writer.text_bytes / 2
    closing = writer.end(COMPLETED)
    assert closing.text == "".join(f"word {number} " for number in range(20_000))


# What the agent tells beside its text


def test_trace_usage_and_finish_are_kept():
    writer = begun(Trace("tr-1"), Usage(3, 4, 0, 2, 1), Finish("length"))
    assert (writer.trace_id, writer.finish_reason) == ("tr-1", "length")
    assert writer.usage == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 2},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 7,
    }
    assert not writer.has_deltas
    assert writer.take() == []


def test_half_a_character_in_a_trace_id_is_replaced_as_well():
    assert begun(Trace("tr\ud83d")).trace_id == "tr\ufffd"


def test_the_last_usage_of_an_attempt_counts():
    assert told(answer(Usage(1, 1), Usage(2, 3, 9)))[-1]["response"]["usage"]["total_tokens"] == 9


def test_usage_and_finish_of_an_abandoned_attempt_do_not_count():
    writer = begun(Text("a"), Usage(1, 1), Finish("length"))
    writer.in_progress(2)
    closing = writer.end(COMPLETED)
    assert (closing.usage, closing.incomplete_reason) == (None, None)


@pytest.mark.parametrize(
    "delta",
    [Text("a"), Reasoning("a"), Refusal("a"), ToolCall("0"), ToolResult("c", "")],
)
def test_content_is_noticed(delta):
    assert begun(delta).has_deltas


# Ends


@pytest.mark.parametrize(
    ("end", "finish", "kind", "word", "item"),
    [
        (COMPLETED, "stop", "completed", "completed", "completed"),
        (COMPLETED, "tool_calls", "completed", "completed", "completed"),
        (COMPLETED, "length", "incomplete", "incomplete", "incomplete"),
        (COMPLETED, "content_filter", "incomplete", "incomplete", "incomplete"),
        (FAILED, "length", "failed", "failed", "incomplete"),
        (CANCELLED, "stop", "failed", "cancelled", "incomplete"),
    ],
)
def test_each_end_has_its_event_its_word_and_its_last_item(end, finish, kind, word, item):
    log = answer(Text("a"), Finish(finish), end=end)
    last = told(log)[-1]
    assert last["type"] == f"response.{kind}"
    assert last["response"]["status"] == word
    assert output(log)[0]["status"] == item
    assert last["response"]["completed_at"] == (1_795_000_009 if word == "completed" else None)


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_that_was_cut_short_is_completed_for_us_and_says_why(finish, reason):
    writer = begun(Text("a"), Finish(finish))
    closing = writer.end(COMPLETED)
    assert (closing.status, closing.incomplete_reason) == (COMPLETED, reason)
    assert told(writer.take())[-1]["response"]["incomplete_details"] == {"reason": reason}


def test_a_failure_is_told_by_its_code_and_sentence():
    writer = begun(Text("a"))
    closing = writer.end(FAILED, Failure("idle_timeout", "It fell silent."))
    assert closing.error == Failure("idle_timeout", "It fell silent.")
    error = told(writer.take())[-1]["response"]["error"]
    assert error == {"code": "idle_timeout", "message": "It fell silent."}


def test_a_failure_without_a_reason_gets_one():
    assert begun().end(FAILED).error is not None
    assert begun().end(CANCELLED).error is None


def test_what_end_returns_is_what_the_log_says():
    writer = begun(Text("a"), ToolCall("0", "{", "f"), Usage(1, 2))
    closing = writer.end(CANCELLED)
    last = told(writer.take())[-1]["response"]
    assert (closing.output, closing.usage) == (last["output"], last["usage"])
    assert closing.text == "a"


@pytest.mark.parametrize("status", [Status.QUEUED, Status.STREAMING])
def test_only_a_terminal_state_ends_a_log(status):
    with pytest.raises(ValueError, match="does not end"):
        begun().end(status)


@pytest.mark.parametrize("delta", [Text("a"), Usage(1), Finish(), ToolCall("0")])
def test_nothing_is_added_to_a_log_that_has_ended(delta):
    writer = begun(Text("a"))
    writer.end(CANCELLED)
    writer.take()
    for late in (writer, builder(answer(Text("a")))):
        with pytest.raises(ValueError, match="has ended"):
            late.add(delta)
        assert late.take() == []


def test_a_log_cannot_begin_with_anything_but_its_creation():
    with pytest.raises(ValueError, match=r"response\.created"):
        Builder(Fold())


# Attempts


def test_a_second_attempt_says_its_number_and_reason_beside_the_output_so_far():
    writer = begun(Text("a"))
    writer.in_progress(2, "worker_lost")
    done, opened = told(writer.take())[-2:]
    assert done["item"]["status"] == "incomplete"
    assert opened["response"]["metadata"] == {"attempt": "2", "reason": "worker_lost"}
    assert opened["response"]["output"] == [done["item"]]


def test_an_attempt_that_continues_says_so():
    writer = begun(Text("a"))
    writer.in_progress(2, "worker_lost", continued=True)
    assert told(writer.take())[-1]["response"]["metadata"]["recovery"] == "continue"


def test_a_first_attempt_adds_nothing_to_the_metadata():
    own = {"attempt": "mine", "reason": "mine", "recovery": "mine"}
    writer = builder([created(metadata=own)])
    writer.in_progress(1, "x", continued=True)
    assert told(writer.take())[-1]["response"]["metadata"] == own
    writer.in_progress(2)
    assert told(writer.take())[-1]["response"]["metadata"] == {"attempt": "2"}


def test_a_lost_worker_s_item_is_closed_before_the_answer_waits_again():
    writer = begun(Text("a"))
    writer.queued()
    done, queued = told(writer.take())[-2:]
    assert done["item"]["status"] == "incomplete"
    assert queued["response"]["status"] == "queued"
    assert queued["response"]["output"] == [done["item"]]


def test_completion_leaves_abandoned_items_out():
    writer = begun(Text("old"))
    writer.in_progress(2)
    writer.add(Text("new"))
    closing = writer.end(COMPLETED)
    assert closing.text == "new"
    assert len(closing.output) == 1


def test_a_failure_keeps_the_older_partial_if_the_new_attempt_brought_nothing():
    writer = begun(Text("old"))
    writer.in_progress(2)
    assert writer.end(FAILED).text == "old"


def test_an_attempt_that_continues_completes_with_all_texts():
    writer = begun(Text("old and "))
    writer.in_progress(2, continued=True)
    writer.add(Text("new"))
    assert writer.end(COMPLETED).text == "old and new"


def test_a_builder_leaves_the_fold_it_began_with_as_it_is():
    state = fold(answer(Text("a"), end=None))
    writer = Builder(state)
    writer.add(Text("b"))
    writer.end(COMPLETED)
    assert state.text() == "a"
    assert len(state.open_items()) == 1


def test_ids_tell_their_kind_and_whose_they_are():
    """Guard: an item is found by its id without a search."""
    said = (Text("a"), Reasoning("a"), ToolCall("0", "{}", "f"), ToolResult("c", "r"))
    ids = [item["id"] for item in output(answer(*said))]
    assert [name.split("_")[0] for name in ids] == ["msg", "rs", "fc", "fco"]
    assert len(set(ids)) == len(ids)
    assert {request_of(name) for name in ids} == {"resp_1"}


@given(lives)
def test_no_item_changes_after_it_was_closed(life):
    log, _ = live(life)
    closed = {event["output_index"]: event["item"] for event in told(log, "output_item.done")}
    assume(closed)
    assert [without(item, set()) for item in fold(log).items()] == list(closed.values())
