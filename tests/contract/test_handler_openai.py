"""The Chat Completions dialect, row by row: what servers send, and how they fail."""

from __future__ import annotations

import asyncio
import email.utils
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from perdure.deltas import Delta, Finish, Reasoning, Refusal, Text, ToolCall, Usage
from perdure.errors import UpstreamError
from perdure.handlers.openai import OpenAIHandler
from perdure.http import HttpClient
from perdure.ports import Call
from tests.upstream import Script, Upstream, text_of
from tests.upstream.shapes import BODIES, ERRORS, SAID


class Impatient(OpenAIHandler):
    usage_wait_s = 0.1


KEY = "key-of-the-test-0123456789"
DONE = "[DONE]"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
async def handler(upstream: Upstream) -> AsyncIterator[OpenAIHandler]:
    handler = OpenAIHandler(upstream.url, "demo", KEY)
    yield handler
    await handler.close()


def call(script: Mapping[str, Any], **fields: Any) -> Call:
    messages = [{"role": "user", "content": json.dumps(script)}]
    return Call("resp_1", "chat_1", "u", "a", messages, **fields)


@pytest.fixture(params=["yielded", "put"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether deltas come one by one, or straight from the socket as the runner takes them."""
    monkeypatch.setattr(Way, "puts", request.param == "put")


class Way:
    puts = False


async def collect(handler: OpenAIHandler, asked: Call) -> tuple[list[Delta], UpstreamError | None]:
    got: list[Delta] = []

    def put(delta: Delta) -> bool:
        got.append(delta)
        return len(got) % 3 != 0  # now and then there is no room for another one

    if Way.puts:
        asked = msgspec.structs.replace(asked, put=put)
    try:
        async with aclosing(handler.stream(asked)) as deltas:
            async for delta in deltas:
                got.append(delta)  # noqa: PERF401 - what came before an error counts
    except UpstreamError as error:
        return got, shown(error)
    return got, None


def shown(error: UpstreamError) -> UpstreamError:
    """Every error of this file passes here: one line, and no key in it."""
    assert KEY not in error.detail
    assert "\n" not in error.detail
    return error


def chunk(delta: Mapping[str, Any] | None = None, reason: str | None = None, **more: Any) -> Any:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more}


def tool(index: int | None, call_id: str | None, **function: Any) -> Any:
    return chunk({"tool_calls": [{"index": index, "id": call_id, "function": function}]})


STOP = chunk({}, "stop")
END = Finish("stop")
FRAMES: dict[str, tuple[list[Any], list[Delta]]] = {
    "a string": ([chunk({"content": "a"}), STOP], [Text("a"), END]),
    "nothing to say": ([chunk({"content": None}), chunk({}), chunk(None), STOP], [END]),
    "an empty string": ([chunk({"role": "assistant", "content": ""}), STOP], [END]),
    "text beside the reason": ([chunk({"content": "a"}, "stop"), DONE], [Text("a"), END]),
    "parts": (
        [
            chunk({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
            chunk({"content": [{"type": "reasoning", "summary": [{"text": "hm"}]}, {"type": "x"}]}),
            STOP,
        ],
        [Text("a"), Text("b"), Reasoning("hm"), END],
    ),
    "reasoning": (
        [chunk({"reasoning_content": "r"}), chunk({"reasoning": "s"}), STOP],
        [Reasoning("r"), Reasoning("s"), END],
    ),
    "reasoning under both names": (
        [chunk({"reasoning_content": "r", "reasoning": "r"}), STOP],
        [Reasoning("r"), END],
    ),
    "reasoning beside text": (
        [chunk({"reasoning": "r", "content": "a"}), STOP],
        [Text("a"), Reasoning("r"), END],
    ),
    "a refusal": ([chunk({"refusal": "No."}), STOP], [Refusal("No."), END]),
    "tool calls": (
        [
            tool(0, "c1", name="f", arguments=""),
            tool(0, None, arguments='{"a"'),
            tool(1, "c2", name="g", arguments="{}"),
            tool(0, None, arguments=":1}"),
            chunk({}, "tool_calls"),
        ],
        [
            ToolCall("0", "", "f", "c1"),
            ToolCall("0", '{"a"'),
            ToolCall("1", "{}", "g", "c2"),
            ToolCall("0", ":1}"),
            Finish("tool_calls"),
        ],
    ),
    "tool calls that are all number 0": (
        [tool(0, "c1", name="f", arguments="{}"), tool(0, "c2", name="g", arguments="{}"), STOP],
        [ToolCall("0", "{}", "f", "c1"), ToolCall("0:c2", "{}", "g", "c2"), END],
    ),
    "tool calls without a number": (
        [
            tool(None, "c1", name="f", arguments="{"),
            tool(None, None, arguments="}"),
            tool(None, "c2", name="g", arguments={"a": 1}),
            STOP,
        ],
        [
            ToolCall("0", "{", "f", "c1"),
            ToolCall("0", "}"),
            ToolCall("1", '{"a":1}', "g", "c2"),
            END,
        ],
    ),
    "calls without ids, all with number 0": (
        [
            tool(0, None, name="f", arguments='{"a"'),
            tool(0, None, arguments=":1}"),
            tool(0, "", name="f", arguments="{}"),
            chunk({}, "tool_calls"),
        ],
        [
            ToolCall("0", '{"a"', "f"),
            ToolCall("0", ":1}"),
            ToolCall("0:1", "{}", "f"),
            Finish("tool_calls"),
        ],
    ),
    "calls without ids and numbers": (
        [
            tool(None, None, name="f", arguments='{"a":1}'),
            tool(None, None, name="f", arguments='{"b":2}'),
            chunk({}, "tool_calls"),
        ],
        [
            ToolCall("0", '{"a":1}', "f"),
            ToolCall("0:1", '{"b":2}', "f"),
            Finish("tool_calls"),
        ],
    ),
    "a name that each piece repeats": (
        [
            tool(0, None, name="f", arguments='{"a"'),
            tool(0, None, name="f", arguments=":{}}"),
            chunk({}, "tool_calls"),
        ],
        [ToolCall("0", '{"a"', "f"), ToolCall("0", ":{}}", "f"), Finish("tool_calls")],
    ),
    "numbers as text": (
        [
            chunk({"tool_calls": [{"index": "1", "id": "c", "function": {"name": "f"}}]}),
            chunk({}, "tool_calls"),
        ],
        [ToolCall("1", "", "f", "c"), Finish("tool_calls")],
    ),
    "half a character": (
        ['{"choices":[{"delta":{"content":"a\\ud83d"}}]}', STOP],
        [Text("a\ufffd"), END],
    ),
    "an empty reason until the end": (
        [chunk({"content": "a"}, ""), chunk({"content": "b"}, ""), STOP],
        [Text("a"), Text("b"), END],
    ),
    "a chunk of more than a megabyte": (
        [chunk({"content": "a" * 1_200_000}), STOP],
        [Text("a" * 1_200_000), END],
    ),
    "the old function call": (
        [
            chunk({"function_call": {"name": "f", "arguments": "{}"}}),
            chunk({}, "function_call"),
        ],
        [ToolCall("function", "{}", "f"), Finish("tool_calls")],
    ),
    "an answer cut by its length": ([chunk({}, "length")], [Finish("length")]),
    "a filtered answer": ([chunk({}, "content_filter")], [Finish("content_filter")]),
    "an unknown reason": ([chunk({}, "eos")], [END]),
    "other choices": (
        [{"choices": [{"index": 1, "delta": {"content": "b"}}]}, chunk({"content": "a"}), STOP],
        [Text("a"), END],
    ),
    "usage in a chunk without choices": (
        [STOP, {"choices": [], "usage": {"prompt_tokens": 1, "total_tokens": 2}}, DONE],
        [Usage(1, 0, 2), END],
    ),
    "usage of odd types": (
        [STOP, {"choices": [], "usage": {"prompt_tokens": "8"}}],
        [Usage(), END],
    ),
    "nothing behind the end counts": ([STOP, DONE, chunk({"content": "x"})], [END]),
    "unknown frames and keys": (
        [{"x": 1}, {"type": "ping"}, chunk({"content": "a", "x": []}, x=1), "", STOP],
        [Text("a"), END],
    ),
    "a null error": ([chunk({"content": "a"}, error=None), STOP], [Text("a"), END]),
}


@pytest.mark.parametrize("name", FRAMES)
async def test_each_shape_of_a_chunk_is_read(handler: OpenAIHandler, name: str) -> None:
    frames, deltas = FRAMES[name]
    assert await collect(handler, call({"frames": frames})) == (deltas, None)


WIRE: dict[str, dict[str, Any]] = {
    "line feeds": {},
    "pairs": {"newline": "\r\n"},
    "carriage returns": {"newline": "\r"},
    "comments": {"comments": True},
    "characters cut in two": {"split_utf8": True, "size": 12},
    "parts": {"parts": True},
    "an end by [DONE]": {"usage": "none"},
    "no [DONE]": {"done": False},
    "an end by the close": {"framing": "close", "done": False},
    "a content-length": {"framing": "length"},
    "one piece": {"whole": True},
    "usage on each chunk": {"usage": "each"},
    "usage beside an empty choice": {"usage": "beside"},
    "refused stream options": {"reject_stream_options": True},
}


@pytest.mark.parametrize("name", WIRE)
async def test_the_whole_text_comes_over_every_wire(handler: OpenAIHandler, name: str) -> None:
    got, error = await collect(handler, call({"chunks": 40, **WIRE[name]}))
    assert error is None
    text = "".join(delta.text for delta in got if isinstance(delta, Text))
    script = {key: value for key, value in WIRE[name].items() if key in {"split_utf8", "size"}}
    assert text == text_of(Script(chunks=40, **script))
    assert got[-1] == Finish("stop")
    usages = [delta for delta in got if isinstance(delta, Usage)]
    assert usages[-1:] == ([] if name == "an end by [DONE]" else [Usage(8, 40, 48, 2, 0)])


async def test_a_request_asks_for_a_stream_with_usage(upstream: Upstream) -> None:
    extra = {"x-team": "one"}
    handler = OpenAIHandler(upstream.url + "/", "m", KEY, extra, {"temperature": 0})
    await collect(handler, call({"chunks": 1}))
    sent = upstream.calls[0]
    assert sent.body["stream"] is True
    assert sent.body["stream_options"] == {"include_usage": True}
    assert (sent.body["model"], sent.body["temperature"]) == ("m", 0)
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["x-team"] == "one"
    assert sent.path == "/v1/chat/completions"
    await handler.close()


async def test_stream_options_are_left_out_once_they_were_refused(
    upstream: Upstream, handler: OpenAIHandler
) -> None:
    for _ in range(2):
        await collect(handler, call({"chunks": 1, "reject_stream_options": True}))
    assert ["stream_options" in sent.body for sent in upstream.calls] == [True, False, False]


LIMITED = {"params": {"max_output_tokens": 64}}


async def limits_sent(upstream: Upstream, handler: OpenAIHandler, **script: object) -> list[object]:
    """Ask twice with a limit; return the fields that named it."""
    for _ in range(2):
        asked = msgspec.structs.replace(call({"chunks": 1, **script}), **LIMITED)
        _, error = await collect(handler, asked)
        assert error is None
    await handler.close()
    names = ("max_tokens", "max_completion_tokens")
    assert all(64 in sent.body.values() for sent in upstream.calls)
    return [name for sent in upstream.calls for name in names if name in sent.body]


async def test_a_limit_is_max_tokens_until_the_server_asks_for_the_other(
    upstream: Upstream, handler: OpenAIHandler
) -> None:
    """Guard: `_learn`. Old servers know only the one, OpenAI's newer models only the other."""
    assert await limits_sent(upstream, handler, reject_max_tokens=True) == [
        "max_tokens",
        "max_completion_tokens",
        "max_completion_tokens",
    ]


async def test_a_limit_is_called_as_the_settings_say(upstream: Upstream) -> None:
    handler = OpenAIHandler(upstream.url, "m", limit="max_completion_tokens")
    assert await limits_sent(upstream, handler) == ["max_completion_tokens"] * 2


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_the_settings_own_limit_wins_whatever_its_name(upstream: Upstream, name: str) -> None:
    handler = OpenAIHandler(upstream.url, "m", params={name: 8})
    await collect(handler, msgspec.structs.replace(call({"chunks": 1}), **LIMITED))
    await handler.close()
    body = upstream.calls[0].body
    assert {key: body[key] for key in body if key.startswith("max")} == {name: 8}


async def test_only_allowed_tools_are_told_to_the_agent(
    upstream: Upstream, handler: OpenAIHandler
) -> None:
    """Guard: `wishes.offered`; a call of another one must be impossible."""
    tools = [{"type": "function", "name": name} for name in ("find", "send")]
    choice = {"type": "allowed_tools", "mode": "required", "tools": tools[:1]}
    params = {"tools": tools, "tool_choice": choice}
    await collect(handler, msgspec.structs.replace(call({"chunks": 1}), params=params))
    body = upstream.calls[0].body
    assert [tool["function"]["name"] for tool in body["tools"]] == ["find"]
    assert body["tool_choice"] == "required"


async def test_a_server_that_cannot_stream_is_asked_for_one_piece(upstream: Upstream) -> None:
    handler = OpenAIHandler(upstream.url, "m", params={"stream": False})
    tools = [{"name": "f", "arguments": "{}"}]
    got, error = await collect(handler, call({"chunks": 2, "tool_calls": tools}))
    assert error is None
    assert got[:-1] == [Text("w0 w1 "), ToolCall("0", "{}", "f", "call_0"), Usage(8, 2, 10, 2)]
    assert "stream_options" not in upstream.calls[0].body
    await handler.close()


@pytest.mark.parametrize("shape", ERRORS)
async def test_each_shape_of_an_error_in_the_stream_is_told(
    handler: OpenAIHandler, shape: str
) -> None:
    got, error = await collect(handler, call({"error_at": 2, "error_shape": shape}))
    assert [type(delta) for delta in got] == [Text, Text]
    assert error is not None
    assert error.code == "upstream_error"
    assert ("500" if shape == "number" else SAID) in error.detail
    assert not error.retryable


@pytest.mark.parametrize("shape", ERRORS)
async def test_an_error_as_the_first_event_may_be_tried_again(
    handler: OpenAIHandler, shape: str
) -> None:
    got, error = await collect(handler, call({"error_at": 0, "error_shape": shape}))
    assert not got
    assert error is not None
    assert error.retryable


FIRST_ERRORS: dict[str, tuple[Any, str, bool]] = {
    "the request is wrong": ({"message": "no", "code": 400}, "upstream_error", False),
    "too many": ({"message": "no", "code": "rate_limit_exceeded"}, "upstream_rate_limited", True),
    "too many, by number": ({"message": "no", "code": 429}, "upstream_rate_limited", True),
    "a name only": ({"type": "overloaded_error"}, "upstream_error", True),
    "nothing": ({"x": 1}, "upstream_error", True),
}


@pytest.mark.parametrize("name", FIRST_ERRORS)
async def test_the_code_of_a_first_error_decides(handler: OpenAIHandler, name: str) -> None:
    told, code, retryable = FIRST_ERRORS[name]
    _, error = await collect(handler, call({"frames": [{"error": told}]}))
    assert error is not None
    assert (error.code, error.retryable) == (code, retryable)


BROKEN: dict[str, tuple[dict[str, Any], str, bool, str]] = {
    "a reset": ({"drop_at": 2}, "upstream_dropped", True, "in the middle"),
    "a clean end": ({"clean_eof_at": 2}, "upstream_dropped", True, "without a finish reason"),
    "a cut body": ({"clean_eof_at": 2, "framing": "length"}, "upstream_dropped", True, "closed"),
    "a platform's [DONE]": ({"done_at": 2}, "upstream_dropped", True, "said [DONE]"),
    "no finish reason": ({"finish": "", "chunks": 2}, "upstream_dropped", True, "said [DONE]"),
    "an empty reason": (
        {"frames": [chunk({"content": "a"}, "")]},
        "upstream_dropped",
        True,
        "without a finish reason",
    ),
    "the reason error": ({"finish": "error", "chunks": 2}, "upstream_error", False, "'error'"),
    "half a frame": ({"garbage_at": 2}, "upstream_garbage", False, "not JSON"),
    "a list": ({"frames": [[1]]}, "upstream_garbage", False, "Expected `object`"),
    "a wrong type": ({"frames": [{"choices": 1}]}, "upstream_garbage", False, "Expected `array"),
    "no end of a frame": (
        {"frames": ["x" * (17 << 20)]},
        "upstream_garbage",
        False,
        "more than 16777216 bytes",
    ),
    "no answer": ({"hang_up": True}, "upstream_dropped", True, "without a response"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_each_way_to_break_off_is_told(handler: OpenAIHandler, name: str) -> None:
    script, code, retryable, said = BROKEN[name]
    got, error = await collect(handler, call(script))
    assert error is not None
    assert (error.code, error.retryable) == (code, retryable)
    assert said in error.detail
    if "frames" not in script and "hang_up" not in script:
        assert [delta for delta in got if isinstance(delta, Text)] == [Text("w0 "), Text("w1 ")]


STATUSES = {
    400: ("upstream_refused", False),
    401: ("upstream_refused", False),
    403: ("upstream_refused", False),
    404: ("upstream_refused", False),
    408: ("upstream_error", True),
    409: ("upstream_error", True),
    413: ("upstream_refused", False),
    422: ("upstream_refused", False),
    429: ("upstream_rate_limited", True),
    500: ("upstream_error", True),
    502: ("upstream_error", True),
    503: ("upstream_error", True),
    529: ("upstream_error", True),
    307: ("upstream_refused", False),
}


@pytest.mark.parametrize("status", STATUSES)
async def test_the_status_decides_whether_to_try_again(
    upstream: Upstream, handler: OpenAIHandler, status: int
) -> None:
    got, error = await collect(handler, call({"status": status}))
    assert not got
    assert error is not None
    assert (error.code, error.retryable) == STATUSES[status]
    assert error.status == status
    assert str(status) in error.detail
    assert len(upstream.calls) == 1


@pytest.mark.parametrize("body", [name for name in BODIES if name != "empty"])
async def test_each_shape_of_an_error_body_becomes_one_sentence(
    handler: OpenAIHandler, body: str
) -> None:
    _, error = await collect(handler, call({"status": 502, "body": body}))
    assert error is not None
    assert SAID in error.detail
    assert len(error.detail) < 600
    assert "<" not in error.detail
    assert "{" not in error.detail


async def test_an_empty_error_body_still_makes_a_sentence(handler: OpenAIHandler) -> None:
    _, error = await collect(handler, call({"status": 502, "body": "empty"}))
    assert error is not None
    assert error.detail == "The agent's server answered with status 502."


DATE = "in ten minutes"
WAITS: dict[str, tuple[dict[str, Any], float | None]] = {
    "seconds": ({"retry_after": 3}, 3),
    "a fraction": ({"retry_after": "0.5"}, 0.5),
    "milliseconds win": ({"retry_after": 3, "retry_after_ms": 250}, 0.25),
    "a date": ({"retry_after": DATE}, 600),
    "a past date": ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
    "nonsense": ({"retry_after": "soon"}, None),
    "no number": ({"retry_after": "nan"}, None),
    "less than nothing": ({"retry_after": "-5"}, 0),
    "nothing": ({}, None),
}


@pytest.mark.parametrize("name", WAITS)
async def test_the_wait_that_a_server_asks_for_is_kept(handler: OpenAIHandler, name: str) -> None:
    script, wait_s = WAITS[name]
    if script.get("retry_after") == DATE:
        script = {"retry_after": email.utils.formatdate(time.time() + 600, usegmt=True)}
    _, error = await collect(handler, call({"status": 429, **script}))
    assert error is not None
    assert error.retry_after_s == (wait_s if wait_s is None else pytest.approx(wait_s, abs=40))
    assert wait_s is None or wait_s > 100 or error.retry_after_s == wait_s


async def test_a_server_that_is_not_there_may_be_tried_again() -> None:
    with Upstream() as upstream:
        url = upstream.url
    handler = OpenAIHandler(url, "demo", KEY)
    _, error = await collect(handler, call({}))
    assert error is not None
    assert (error.code, error.retryable) == ("upstream_unreachable", True)
    await handler.close()


async def test_a_key_that_cannot_be_sent_is_not_shown(upstream: Upstream) -> None:
    handler = OpenAIHandler(upstream.url, "demo", f"{KEY}\r\nx: y")
    _, error = await collect(handler, call({}))
    assert error is not None
    assert not error.retryable
    assert KEY not in repr(handler)
    await handler.close()


@pytest.mark.parametrize("frame", [{"error": {"message": f"bad key {KEY}"}}, {"error": f"B {KEY}"}])
async def test_a_key_that_the_server_repeats_is_not_shown(
    handler: OpenAIHandler, frame: dict[str, Any]
) -> None:
    _, error = await collect(handler, call({"frames": [frame]}))  # collect looks for the key
    assert error is not None
    assert "…" in error.detail


@pytest.mark.parametrize("continues", ["continue_final_message", "prefix", "prefill"])
async def test_a_partial_answer_is_continued_where_the_server_can(
    upstream: Upstream, continues: Any
) -> None:
    handler = OpenAIHandler(upstream.url, "demo", continues=continues)
    assert handler.can_continue
    got, error = await collect(handler, call({"chunks": 4}, partial="w0 w1 ", attempt=2))
    assert error is None
    assert got[:2] == [Text("w2 "), Text("w3 ")]
    await handler.close()


async def test_a_server_that_cannot_continue_is_asked_from_the_start(
    upstream: Upstream, handler: OpenAIHandler
) -> None:
    await collect(handler, call({"chunks": 4}, partial="w0 w1 ", attempt=2))
    assert [message["role"] for message in upstream.calls[0].body["messages"]] == ["user"]


async def test_connections_are_used_again(upstream: Upstream) -> None:
    client = HttpClient()
    handler = OpenAIHandler(upstream.url, "demo", client=client)
    for _ in range(3):
        await collect(handler, call({"chunks": 2, "tail_s": 0.05}))
        while not client.idle:  # noqa: ASYNC110 - the pool wakes nobody
            await asyncio.sleep(0)
    assert {sent.connection for sent in upstream.calls} == {1}
    await handler.close()
    assert client.idle  # it is ours to close
    await client.close()


async def test_an_answer_is_complete_although_its_connection_never_ends(
    upstream: Upstream,
) -> None:
    handler = Impatient(upstream.url, "demo")
    frames = [chunk({"content": "a"}, "stop")]
    got, error = await collect(handler, call({"frames": frames, "hold": True}))
    assert (got, error) == ([Text("a"), END], None)
    await upstream.until(lambda calls: bool(calls[0].closed_by == "client"))
    await handler.close()


async def test_an_answer_that_was_reset_behind_its_finish_reason_is_complete(
    handler: OpenAIHandler,
) -> None:
    script = {"frames": [chunk({"content": "a"}, "stop")], "framing": "length", "drop_at": 1}
    assert await collect(handler, call(script)) == ([Text("a"), END], None)


async def test_a_web_page_is_no_answer(handler: OpenAIHandler) -> None:
    script = {"raw": "<!doctype html><p>Hello", "content_type": "text/html; charset=utf-8"}
    _, error = await collect(handler, call(script))
    assert error is not None
    assert error.code == "upstream_garbage"
    assert "a web page" in error.detail
