"""The Messages handler: what it reads, what it sends, how it goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perdure.deltas import Annotation, Delta, Finish, Reasoning, Text, ToolCall, Usage
from perdure.errors import UpstreamError
from perdure.handlers.anthropic import AnthropicHandler, MessageLog
from perdure.ports import Call
from tests.upstream import Upstream

STOP = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
]
START = {"type": "message_start", "message": {"usage": {"input_tokens": 5}}}


def block(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def text(said: str) -> dict[str, Any]:
    return block(0, {"type": "text_delta", "text": said})


def read(*events: Any) -> list[Delta]:
    log = MessageLog()
    found: list[Delta] = [one for e in events for one in log.read(json.dumps(e).encode())]
    return [*found, log.finish] if log.finish else found


def test_text_thoughts_and_tool_calls_are_read():
    tool = {"type": "tool_use", "id": "toolu_1", "name": "find", "input": {}}
    assert read(
        START,
        {"type": "ping"},
        block(0, {"type": "thinking_delta", "thinking": "hm"}),
        block(0, {"type": "signature_delta", "signature": "x"}),
        text("Hello"),
        block(0, {"type": "citations_delta", "citation": {"url": "http://a", "title": "A"}}),
        block(0, {"type": "citations_delta", "citation": {"type": "char_location"}}),
        {"type": "content_block_start", "index": 1, "content_block": tool},
        block(1, {"type": "input_json_delta", "partial_json": '{"a":'}),
        block(1, {"type": "input_json_delta", "partial_json": "1}"}),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 3},
        },
        {"type": "message_stop"},
    ) == [
        Reasoning("hm"),
        Text("Hello"),
        Annotation({"type": "url_citation", "url": "http://a", "title": "A"}),
        ToolCall("1", "", "find", "toolu_1"),
        ToolCall("1", '{"a":', "find", "toolu_1"),
        ToolCall("1", "1}", "find", "toolu_1"),
        Usage(5, 3, 8, 0),
        Finish("tool_calls"),
    ]


@pytest.mark.parametrize(
    ("told", "means"),
    [
        *[("end_turn", "stop"), ("stop_sequence", "stop"), ("pause_turn", "stop"), ("x", "stop")],
        *[("max_tokens", "length"), ("model_context_window_exceeded", "length")],
        *[("tool_use", "tool_calls"), ("refusal", "content_filter")],
    ],
)
def test_the_end_says_why(told, means):
    end = {"type": "message_delta", "delta": {"stop_reason": told}}
    assert read(end, {"type": "message_stop"})[-1] == Finish(means)


def test_an_overloaded_server_may_be_asked_again_and_a_wrong_question_may_not():
    for kind, retryable in (("overloaded_error", True), ("invalid_request_error", False)):
        with pytest.raises(UpstreamError) as error:
            read({"type": "error", "error": {"type": kind, "message": "No."}})
        assert error.value.retryable is retryable


async def asked(model: str, **more: Any) -> tuple[list[Delta], list[dict[str, Any]]]:
    """Ask a scripted server; return the deltas and the bodies that it got."""
    with Upstream() as upstream:
        handler = AnthropicHandler(upstream.url, model, "secret")
        ids = {"request_id": "r", "chat_id": "c", "user_id": "u", "agent_id": "a"}
        call = Call(**{**ids, "messages": [{"role": "user", "content": "Hi"}], **more})
        try:
            deltas = [delta async for delta in handler.stream(call)]
        finally:
            await handler.close()
        assert upstream.calls[0].headers["x-api-key"] == "secret"
        return deltas, [one.body for one in upstream.calls]


SCRIPT = json.dumps({"frames": [START, text("Hello"), *STOP]})


async def test_the_talk_is_told_in_turns_of_two_roles():
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "t1", "function": {"name": "find", "arguments": '{"a": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "rain"},
        {"role": "user", "content": [{"type": "text", "text": "And?"}]},
    ]
    tool = {"type": "function", "name": "find", "parameters": {"type": "object"}}
    params = {"tools": [tool], "tool_choice": "required", "max_output_tokens": 9, "top_p": 0.5}
    deltas, (body,) = await asked(SCRIPT, messages=messages, params=params)
    assert deltas == [Text("Hello"), Usage(5, 3, 8, 0), Finish("stop")]
    assert body["system"] == "Be kind."
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"] == [
        {"type": "tool_use", "id": "t1", "name": "find", "input": {"a": 1}}
    ]
    assert body["messages"][2]["content"][0] == {
        "type": "tool_result",
        "tool_use_id": "t1",
        "content": "rain",
    }
    assert (body["max_tokens"], body["top_p"]) == (9, 0.5)
    assert body["tools"] == [{"name": "find", "input_schema": {"type": "object"}}]
    assert body["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", "soon"])
async def test_arguments_that_are_no_object_are_told_within_one(arguments):
    """Guard: `_input`; a call that was cut off would else end each later question of its chat."""
    calls = [{"id": "t1", "function": {"name": "find", "arguments": arguments}}]
    called = {"role": "assistant", "content": None, "tool_calls": calls}
    weather, further = ({"role": "user", "content": text} for text in ("Weather?", "And?"))
    _, (body,) = await asked(SCRIPT, messages=[weather, called, further])
    (used,) = body["messages"][1]["content"]
    assert set(used["input"]) == {"arguments"}


async def test_it_goes_on_behind_a_partial_answer_without_doubling_a_space():
    script = json.dumps({"frames": [START, text(" there"), *STOP]})
    deltas, (body,) = await asked(script, partial="Hello ")
    assert body["messages"][-1] == {"role": "assistant", "content": "Hello"}
    assert deltas[0] == Text("there")


@pytest.mark.parametrize("frames", [[START, text("Hel")], [START, text("Hel"), STOP[0]]])
async def test_an_end_before_message_stop_is_a_drop(frames):
    with pytest.raises(UpstreamError) as dropped:
        await asked(json.dumps({"frames": frames, "done": False}))
    assert (dropped.value.code, dropped.value.retryable) == ("upstream_dropped", True)


async def test_a_model_without_prefill_is_asked_to_go_on():
    refused = {"status": 400, "body": "prefill", "fail_times": 1}
    script = json.dumps({"frames": [START, text("there"), *STOP], **refused})
    deltas, (first, second) = await asked(script, partial="Hello ")
    assert deltas[0] == Text("there")
    assert first["messages"][-1]["role"] == "assistant"
    assert second["messages"][-1]["role"] == "user"


def begun(index: int, kind: str, **more: Any) -> dict[str, Any]:
    told = {"type": kind, "id": f"t{index}", "name": "find", **more}
    return {"type": "content_block_start", "index": index, "content_block": told}


def test_the_work_of_a_tool_that_the_server_runs_passes_by():
    """Guard: `index in self._calls`; web search would fail every answer that uses it."""
    told = read(
        begun(0, "server_tool_use"),
        block(0, {"type": "input_json_delta", "partial_json": '{"q": 1}'}),
        {"type": "content_block_stop", "index": 0},
        begun(1, "web_search_tool_result", content=[]),
        block(2, {"type": "text_delta", "text": "Hello"}),
        *STOP,
    )
    assert told[0] == Text("Hello")
    assert told[-1] == Finish("stop")


def test_a_call_without_arguments_has_none_in_json():
    """Guard: `_close`; clients parse the arguments, and "" is no JSON."""
    pieces = [block(0, {"type": "input_json_delta", "partial_json": ""})]
    stop = {"type": "content_block_stop", "index": 0}
    calls = [one for one in read(begun(0, "tool_use"), *pieces, stop) if isinstance(one, ToolCall)]
    assert "".join(one.arguments for one in calls) == "{}"
    given = [block(0, {"type": "input_json_delta", "partial_json": '{"a":1}'})]
    calls = [one for one in read(begun(0, "tool_use"), *given, stop) if isinstance(one, ToolCall)]
    assert "".join(one.arguments for one in calls) == '{"a":1}'


@pytest.mark.parametrize("frame", ["[DONE]", "half a fr", {"type": None}, {"x": 1}])
async def test_what_follows_the_end_does_not_count(frame):
    deltas, _ = await asked(json.dumps({"frames": [START, text("Hello"), *STOP, frame]}))
    assert deltas[-1] == Finish("stop")


async def test_files_refusals_and_single_calls_are_asked_for_in_its_own_words():
    pdf, note = "data:application/pdf;base64,JVBERi0=", "data:text/plain;base64,SGVsbG8="
    parts = [
        {"type": "file", "file": {"file_data": pdf, "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": note}},
        {"type": "file", "file": {"file_url": "https://a/b.pdf"}},
    ]
    messages = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": "Why?"},
    ]
    tool = {"type": "function", "name": "find", "parameters": {"type": "object"}}
    params = {"tools": [tool], "parallel_tool_calls": False}
    _, (body,) = await asked(SCRIPT, messages=messages, params=params)
    whole, plain, far = body["messages"][0]["content"]
    assert whole["source"] == {
        "type": "base64",
        "media_type": "application/pdf",
        "data": "JVBERi0=",
    }
    assert whole["title"] == "a.pdf"
    assert plain["source"] == {"type": "text", "media_type": "text/plain", "data": "Hello"}
    assert far["source"] == {"type": "url", "url": "https://a/b.pdf"}
    assert body["messages"][1]["content"] == [{"type": "text", "text": "No."}]
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


@pytest.mark.parametrize("part", [{"type": "file", "file": {"file_id": "f"}}, {"type": "audio"}])
async def test_what_it_cannot_take_is_refused_in_words(part):
    with Upstream() as upstream:
        handler = AnthropicHandler(upstream.url, SCRIPT)
        call = Call("r", "c", "u", "a", [{"role": "user", "content": [part]}])
        with pytest.raises(UpstreamError, match=f"takes no {part['type']}"):
            _ = [delta async for delta in handler.stream(call)]
        await handler.close()
