"""The Databricks handler: every dialect, every way to fail, against a wire-exact Model Serving."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from perdure.deltas import (
    Annotation,
    Delta,
    Finish,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Trace,
    Usage,
)
from perdure.errors import UpstreamError
from perdure.handlers.databricks import Credentials, DatabricksHandler
from perdure.handlers.databricks.handler import CUT_MARGIN_S
from perdure.ports import Call
from perdure.user_tokens import UserToken
from tests.databricks import Answer, Workspace, frames, working
from tests.databricks.frames import agent_chunk, call, chunk, done, message, output, text, trace
from tests.databricks.workspace import MISSING_MESSAGES, PAT
from tests.upstream.shapes import BODIES, ERRORS, SAID

TASKS = {"responses": frames.RESPONSES, "chat_agent": frames.CHAT_AGENT, "chat": frames.CHAT}
BEGUN = {"responses": text("w0 "), "chat_agent": agent_chunk("w0 "), "chat": chunk("w0 ")}
CITATION: dict[str, object] = {"type": "url_citation", "url": "http://x", "title": "X"}
ANSWERED = [Text("w0 ", "msg_1"), Finish("stop")]
WHOLE = Answer(frames=[text("w0 "), done(message("w0 "))])


@pytest.fixture
async def workspace() -> AsyncIterator[Workspace]:
    async with working() as made:
        made.endpoints = {"agent": frames.RESPONSES}
        made.answers = [WHOLE]
        yield made


def handler(workspace: Workspace, **options: Any) -> DatabricksHandler:
    return DatabricksHandler("agent", Credentials(workspace.url, token=PAT), **options)


def asking(**more: Any) -> Call:
    ids = {"request_id": "resp_1", "chat_id": "chat_1", "user_id": "ann", "agent_id": "a"}
    said = [{"role": "user", "content": "hi"}]
    items = [{"type": "message", "role": "user", "content": "hi"}]
    return Call(**{**ids, "messages": said, "items": items, **more})


async def ask(asked: DatabricksHandler, into: list[Delta] | None = None, **more: Any) -> Any:
    """Return the deltas; `into` holds them also when the answer fails."""
    said: list[Delta] = [] if into is None else into
    try:
        async with aclosing(asked.stream(asking(**more))) as deltas:
            async for delta in deltas:
                said.append(delta)  # noqa: PERF401  # kept when it raises, too
    finally:
        await asked.close()
    return said


async def failure(asked: DatabricksHandler, **more: Any) -> UpstreamError:
    with pytest.raises(UpstreamError) as failed:
        await ask(asked, **more)
    assert PAT not in failed.value.detail
    return failed.value


# What is read. One row per shape; each is an answer that is complete.

STREAMS: dict[str, tuple[str, list[Any], list[Delta]]] = {
    "text in pieces, then the whole item again": (
        "responses",
        [text("Hel"), text("lo"), done(message("Hello"))],
        [Text("Hel", "msg_1"), Text("lo", "msg_1")],
    ),
    "an agent that does not stream": (
        "responses",
        [done(message("Hello"))],
        [Text("Hello", "msg_1")],
    ),
    "the whole item has more than its pieces": (
        "responses",
        [text("Hel"), done(message("Hello"))],
        [Text("Hel", "msg_1"), Text("lo", "msg_1")],
    ),
    "several messages are one answer": (
        "responses",
        [text("A", "m1"), done(message("A", "m1")), done(message("B", "m2"))],
        [Text("A", "m1"), Text("B", "m2")],
    ),
    "messages without any name": (
        "responses",
        [done(message("first", None)), done(message("second", None))],
        [Text("first"), Text("second")],
    ),
    "tools: calls with ids of their own, outputs with none": (
        "responses",
        [
            done(call("add", "{}", "c1", "fc_1")),
            done(output("c1", "3")),
            done(call("mul", '{"a":1}', "c2")),
            done(output("c2", "4")),
            done(message("7")),
        ],
        [
            ToolCall("fc_1", "{}", "add", "c1"),
            ToolResult("c1", "3"),
            ToolCall("function_call c2", '{"a":1}', "mul", "c2"),
            ToolResult("c2", "4"),
            Text("7", "msg_1"),
        ],
    ),
    "reasoning in pieces and whole": (
        "responses",
        [
            {"type": "response.reasoning_summary_text.delta", "item_id": "r", "delta": "hm"},
            done({"type": "reasoning", "id": "r", "summary": [{"text": "hm"}]}),
            done({"type": "reasoning", "summary": [{"type": "summary_text", "text": "so"}]}),
            done(message("Hello")),
        ],
        [Reasoning("hm", "r"), Reasoning("so"), Text("Hello", "msg_1")],
    ),
    "annotations that come with the item only": (
        "responses",
        [text("Hello"), done(message("Hello", annotations=[CITATION]))],
        [Text("Hello", "msg_1"), Annotation(CITATION)],
    ),
    "annotations that are told twice": (
        "responses",
        [
            text("Hello"),
            {
                "type": "response.output_text.annotation.added",
                "item_id": "msg_1",
                "annotation": CITATION,
            },
            done(message("Hello", annotations=[CITATION])),
        ],
        [Text("Hello", "msg_1"), Annotation(CITATION)],
    ),
    "the lifecycle events of OpenAI as well": (
        "responses",
        [
            {"type": "response.created", "response": {"id": "r"}},
            text("Hello"),
            {"type": "response.completed", "response": {"output": [message("Hello")]}},
        ],
        [Text("Hello", "msg_1")],
    ),
    "custom outputs and events that nobody knows": (
        "responses",
        [
            {"type": "agent.thinks", "custom_outputs": {"k": 1}},
            done(message("Hello"), custom_outputs={"k": 1}),
        ],
        [Text("Hello", "msg_1")],
    ),
    "the whole item differs from its pieces": (
        "responses",
        [text(" Hel"), text("lo"), done(message("Hello, you", annotations=[CITATION]))],
        [Text(" Hel", "msg_1"), Text("lo", "msg_1"), Annotation(CITATION)],
    ),
    "what follows [DONE] does not count": (
        "responses",
        [text("Hello"), done(message("Hello")), "[DONE]", text("never"), {"error": "never"}],
        [Text("Hello", "msg_1")],
    ),
    "a person's consent is given": (
        "responses",
        [
            done(
                {
                    "type": "mcp_approval_response",
                    "id": "mcpr_2",
                    "approval_request_id": "mcpr_1",
                    "approve": True,
                }
            )
        ],
        [ToolResult("mcpr_1", "approved")],
    ),
    "a person's consent is asked for": (
        "responses",
        [
            done(
                {
                    "type": "mcp_approval_request",
                    "id": "mcpr_1",
                    "name": "drop_table",
                    "arguments": "{}",
                    "server_label": "sql",
                }
            )
        ],
        [ToolCall("mcpr_1", "{}", "drop_table", "mcpr_1")],
    ),
    "a trace on the last event, beside an id that is none": (
        "responses",
        [text("Hello"), done(message("Hello"), databricks_output=trace("tr-1"))],
        [Text("Hello", "msg_1"), Trace("tr-1")],
    ),
    "a trace inside the item": (
        "responses",
        [done({**message("Hello"), "databricks_output": trace("tr-2")})],
        [Trace("tr-2"), Text("Hello", "msg_1")],
    ),
    "a trace inside response.done": (
        "responses",
        [
            text("Hello"),
            {"type": "response.done", "response": {"databricks_output": trace("tr-3")}},
        ],
        [Text("Hello", "msg_1"), Trace("tr-3")],
    ),
    "a trace inside response.completed": (
        "responses",
        [
            text("Hello"),
            {"type": "response.completed", "response": {"databricks_output": trace("tr-4")}},
        ],
        [Text("Hello", "msg_1"), Trace("tr-4")],
    ),
    "a trace in a bare frame": (
        "responses",
        [text("Hello"), done(message("Hello")), {"trace_id": "tr-5"}],
        [Text("Hello", "msg_1"), Trace("tr-5")],
    ),
    "ChatAgent: pieces by id, tools, several messages": (
        "chat_agent",
        [
            agent_chunk(
                "",
                "m1",
                tool_calls=[
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "add", "arguments": "{}"},
                    }
                ],
            ),
            agent_chunk("3", "m2", role="tool", name="add", tool_call_id="c1"),
            agent_chunk("It ", "m3"),
            agent_chunk("is 3.", "m3"),
            {
                **agent_chunk("Bye.", "m4", attachments={"k": 1}),
                "custom_outputs": {"k": 1},
                "finish_reason": "stop",
            },
        ],
        [
            ToolCall("c1", "{}", "add", "c1"),
            ToolResult("c1", "3"),
            Text("It ", "m3"),
            Text("is 3.", "m3"),
            Text("Bye.", "m4"),
        ],
    ),
    "ChatAgent: a tool's message in pieces, usage, a trace": (
        "chat_agent",
        [
            agent_chunk("1", "m2", role="tool", tool_call_id="c1"),
            agent_chunk("2", "m2", role="tool", tool_call_id="c1"),
            {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}},
            {**agent_chunk("12"), "databricks_output": trace("tr-6")},
        ],
        [Usage(1, 2, 3), Trace("tr-6"), ToolResult("c1", "12"), Text("12", "m-1")],
    ),
    "Chat Completions, with reasoning as parts": (
        "chat",
        [
            chunk([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}]),
            chunk([{"type": "text", "text": "Hello"}]),
            chunk("", "stop"),
        ],
        [Reasoning("hm"), Text("Hello")],
    ),
    "content in parts, and calls without ids": (
        "chat_agent",
        [
            {
                "delta": {
                    "role": "assistant",
                    "id": "m1",
                    "content": [{"type": "text", "text": "Hello"}],
                    "tool_calls": [{"function": {"name": name}} for name in ("add", "mul")],
                }
            },
            {"finish_reason": "stop"},
        ],
        [Text("Hello", "m1"), ToolCall("m1#0", "", "add"), ToolCall("m1#1", "", "mul")],
    ),
    "pieces without the id that the whole item has": (
        "responses",
        [
            {"type": "response.output_text.delta", "delta": "Hel"},
            {"type": "response.output_text.delta", "delta": "lo"},
            done(message("Hello")),
        ],
        [Text("Hel"), Text("lo")],
    ),
    "Chat Completions where a ChatAgent was told": (
        "chat_agent",
        [chunk("Hello"), chunk("", "stop")],
        [Text("Hello")],
    ),
}


@pytest.mark.parametrize("row", STREAMS)
async def test_every_stream_that_agents_send_is_read(workspace: Workspace, row: str) -> None:
    kind, sent, said = STREAMS[row]
    workspace.endpoints["agent"] = TASKS[kind]
    workspace.answers = [Answer(frames=sent)]
    assert await ask(handler(workspace)) == [*said, Finish("stop")]


WHOLES: dict[str, tuple[str, Any, list[Delta]]] = {
    "responses": (
        "responses",
        {
            "object": "response",
            "output": [message("Hello", None), done(message("x"))["item"]],
            "metadata": {"trace_id": "tr-7"},
        },
        [Trace("tr-7"), Text("Hello"), Text("x", "msg_1")],
    ),
    "ChatAgent": (
        "chat_agent",
        {
            "messages": [{"role": "assistant", "content": "Hello", "id": "m1"}],
            "databricks_output": trace("tr-8"),
            "usage": {"prompt_tokens": 1},
        },
        [Trace("tr-8"), Text("Hello", "m1"), Usage(1)],
    ),
    "chat": (
        "chat",
        {"choices": [{"message": {"role": "assistant", "content": "Hello"}}]},
        [Text("Hello")],
    ),
}


@pytest.mark.parametrize("row", WHOLES)
async def test_an_answer_in_one_piece_is_read_as_well(workspace: Workspace, row: str) -> None:
    kind, body, said = WHOLES[row]
    workspace.endpoints["agent"] = TASKS[kind]
    workspace.answers = [Answer(body=body)]
    assert await ask(handler(workspace)) == [*said, Finish("stop")]


WIRE: dict[str, bytes] = {
    "line feeds, and characters cut in two": b"data: %b\n\ndata: [DONE]\n\n",
    "pairs": b"data: %b\r\n\r\ndata: [DONE]\r\n\r\n",
    "carriage returns": b"data: %b\r\rdata: [DONE]\r\r",
    "no space": b"data:%b\n\ndata:[DONE]\n\n",
    "other fields and comments": (
        b": busy\n\nevent: x\nid: 7\nretry: 9\ndata: %b\n\n: on\ndata: [DONE]\n\n"
    ),
    "several lines of data": b"data: \ndata: %b\ndata:\n\ndata: [DONE]\n\n",
}


@pytest.mark.parametrize("row", WIRE)
@pytest.mark.parametrize("size", [1, 7])
async def test_the_text_comes_over_every_wire(workspace: Workspace, row: str, size: int) -> None:
    """Guards: `sse.Parser`; UTF-8 without a charset, put together from its pieces."""
    frame = json.dumps(text("café €😀"), ensure_ascii=False).encode()
    sent = WIRE[row] % frame
    workspace.answers = [Answer(frames=[sent], size=size, done=False)]
    assert await ask(handler(workspace)) == [Text("café €😀", "msg_1"), Finish("stop")]


async def test_a_frame_without_an_end_is_garbage(workspace: Workspace) -> None:
    workspace.answers = [Answer(frames=[b"data: " + b"x" * (1 << 21)], size=1 << 16)]
    error = await failure(handler(workspace))
    assert (error.code, error.retryable) == ("upstream_garbage", False)


ENDS: dict[str, tuple[str, list[Any]]] = {
    "Chat Completions by its finish reason": ("chat", [chunk("w0 "), chunk("", "stop")]),
    "a ResponsesAgent by a terminal event": (
        "responses",
        [text("w0 "), {"type": "response.completed", "response": {}}],
    ),
    "a misspelt terminal event": (
        "responses",
        [text("w0 "), {"type": "responses.completed", "response": {}}],
    ),
}


@pytest.mark.parametrize("row", ENDS)
async def test_an_answer_is_complete_without_done_by(workspace: Workspace, row: str) -> None:
    kind, sent = ENDS[row]
    workspace.endpoints["agent"] = TASKS[kind]
    workspace.answers = [Answer(frames=sent, done=False)]
    assert (await ask(handler(workspace)))[-1] == Finish("stop")


# What is sent.


async def test_each_kind_of_endpoint_is_asked_in_its_own_form(workspace: Workspace) -> None:
    context = {"conversation_id": "chat_1", "user_id": "ann"}
    asked = {}
    for kind, task in TASKS.items():
        workspace.endpoints["agent"] = task
        workspace.answers = [
            Answer(frames=[BEGUN[kind], chunk("", "stop")] if kind == "chat" else [BEGUN[kind]])
        ]
        await ask(handler(workspace, params={"temperature": 0}))
        asked[kind] = workspace.asked[-1]
        assert asked[kind].path == "/serving-endpoints/agent/invocations"
        assert asked[kind].headers["x-mlflow-return-trace-id"] == "true"
    common = {"stream": True, "temperature": 0}
    traced = {"databricks_options": {"return_trace": True}, "context": context, "custom_inputs": {}}
    said = [{"role": "user", "content": "hi"}]
    assert asked["chat"].body == {"messages": said, **common}
    assert asked["chat_agent"].body == {"messages": said, **traced, **common}
    assert asked["responses"].body == {
        "input": [{"type": "message", **said[0]}],
        **traced,
        **common,
    }


async def test_nobody_is_asked_for_a_trace_who_shall_not(workspace: Workspace) -> None:
    await ask(handler(workspace, return_trace=False))
    assert "databricks_options" not in workspace.asked[0].body
    assert "x-mlflow-return-trace-id" not in workspace.asked[0].headers


# Which dialect.


@pytest.mark.parametrize(("told_s", "times"), [(600.0, 1), (0.0, 3)])
async def test_the_endpoint_is_asked_for_its_task_once_in_a_while(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, told_s: float, times: int
) -> None:
    monkeypatch.setattr("perdure.handlers.databricks.handler.TOLD_S", told_s)
    asked = handler(workspace)
    for _ in range(3):
        async with aclosing(asked.stream(asking())) as deltas:
            assert [delta async for delta in deltas] == ANSWERED
    await asked.close()
    assert workspace.described == times


@pytest.mark.parametrize(
    ("task", "kind", "told"),
    [
        ("llm/v1/chat", "chat", True),
        ("agent/v1/chat", "chat", True),
        ("agent/v2/chat", "chat_agent", True),
        ("agent/v1/responses", "responses", True),
        ("agent/v2/responses", "responses", True),
        ("agent/v9/dreams", "responses", False),
        (None, "responses", False),
    ],
)
async def test_every_task_has_its_dialect(
    workspace: Workspace, task: str | None, kind: str, told: bool
) -> None:
    workspace.endpoints["agent"] = {"task": task}
    asked = handler(workspace)
    found = await asked.describe()
    await asked.close()
    assert (found.kind, found.told, found.needs_user) == (kind, told, False)


@pytest.mark.parametrize(
    "said",
    [
        "Missing required Chat parameter: 'messages'",
        "Model is missing inputs ['messages']",
        "Invalid request: extra inputs: ['input']",
    ],
)
async def test_without_a_task_the_refusal_tells_the_form(workspace: Workspace, said: str) -> None:
    """Guard: `endpoint.other_form`; without it the refusal is the end."""
    workspace.forbidden = True

    def by_form(body: Any) -> Answer:
        if "input" in body:
            return Answer(status=400, body={"error_code": "BAD_REQUEST", "message": said})
        return Answer(frames=[agent_chunk("w0 ")])

    workspace.answers = by_form
    asked = handler(workspace)
    for _ in range(2):  # the second time it is known
        async with aclosing(asked.stream(asking())) as deltas:
            assert [one async for one in deltas] == [Text("w0 ", "m-1"), Finish("stop")]
    await asked.close()
    assert ["input" in one.body for one in workspace.asked] == [True, False, False]


async def test_an_endpoint_that_was_changed_is_asked_in_its_new_form(workspace: Workspace) -> None:
    workspace.endpoints["agent"] = frames.CHAT_AGENT
    detail = {"detail": "Invalid parameters for ResponsesAgent: input: Field required"}
    workspace.answers = [Answer(status=400, body=detail), WHOLE]
    assert await ask(handler(workspace)) == ANSWERED


async def test_two_forms_that_are_both_refused_are_the_end(workspace: Workspace) -> None:
    workspace.forbidden = True
    workspace.answers = [Answer(status=400, body=MISSING_MESSAGES)]
    error = await failure(handler(workspace))
    assert (error.code, len(workspace.asked)) == ("upstream_refused", 2)


# Failures. An error frame fails the answer even when [DONE] follows it.


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("shape", ERRORS)
async def test_an_error_in_the_stream_fails_the_answer(
    workspace: Workspace, kind: str, shape: str
) -> None:
    workspace.endpoints["agent"] = TASKS[kind]
    workspace.answers = [Answer(frames=[BEGUN[kind], ERRORS[shape]])]
    said: list[Delta] = []
    error = await failure(handler(workspace), into=said)
    assert (error.code, error.retryable) == ("upstream_error", False)
    assert SAID in error.detail or shape == "number"
    assert [one.text for one in said if isinstance(one, Text)] == ["w0 "]


@pytest.mark.parametrize("kind", TASKS)
async def test_an_error_before_anything_was_said_may_be_retried(
    workspace: Workspace, kind: str
) -> None:
    workspace.endpoints["agent"] = TASKS[kind]
    workspace.answers = [Answer(frames=[ERRORS["text"]])]
    assert (await failure(handler(workspace))).retryable


async def test_the_trace_of_a_failed_answer_is_kept(workspace: Workspace) -> None:
    broken = {"databricks_output": {**trace("tr-9"), "error": {"message": SAID}}}
    workspace.answers = [Answer(frames=[text("w0 "), broken])]
    said: list[Delta] = []
    await failure(handler(workspace), into=said)
    assert said == [Text("w0 ", "msg_1"), Trace("tr-9")]


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("reset", [False, True])
async def test_an_end_without_its_marker_is_a_drop(
    workspace: Workspace, kind: str, *, reset: bool
) -> None:
    """Guard: `finish` of each reader; however clean the close, what is missing is missing."""
    workspace.endpoints["agent"] = TASKS[kind]
    workspace.answers = [Answer(frames=[BEGUN[kind]], done=False, reset=reset)]
    error = await failure(handler(workspace))
    assert (error.code, error.retryable) == ("upstream_dropped", True)


async def test_done_alone_is_no_end_of_a_chat_completion(workspace: Workspace) -> None:
    workspace.endpoints["agent"] = frames.CHAT
    workspace.answers = [Answer(frames=[chunk("w0 ")])]
    assert (await failure(handler(workspace))).code == "upstream_dropped"


@pytest.mark.parametrize("kind", TASKS)
async def test_a_frame_that_is_no_json_is_garbage(workspace: Workspace, kind: str) -> None:
    workspace.endpoints["agent"] = TASKS[kind]
    workspace.answers = [Answer(frames=[BEGUN[kind], '{"type": '])]
    assert (await failure(handler(workspace))).code == "upstream_garbage"


@pytest.mark.parametrize("name", [name for name in BODIES if name != "empty"])
async def test_every_body_of_an_http_error_is_told_in_its_words(
    workspace: Workspace, name: str
) -> None:
    kind, said = BODIES[name]
    body = json.loads(said) if "json" in kind else said
    workspace.answers = [Answer(status=500, body=body)]
    error = await failure(handler(workspace))
    assert SAID in error.detail
    assert len(error.detail) < 600
    assert (error.status, error.retryable) == (500, True)


@pytest.mark.parametrize(
    "status", [400, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529]
)
async def test_the_status_decides_whether_to_ask_again_and_nobody_here_does(
    workspace: Workspace, status: int
) -> None:
    """Guard: a client of our own; one that tries again beneath the runner would pay twice."""
    workspace.answers = [Answer(status=status, body={"error_code": "X", "message": SAID})]
    error = await failure(handler(workspace))
    assert (error.status, error.retryable) == (status, status not in (400, 403, 404, 413, 422))
    assert len(workspace.asked) == 1


@pytest.mark.parametrize(
    ("status", "headers", "wait_s"),
    [
        (429, {"Retry-After": "7"}, 7.0),
        (503, {"Retry-After": "2"}, 2.0),
        (429, {"retry-after-ms": "1500"}, 1.5),
        (429, {}, 1.0),
        (503, {}, 1.0),
        (500, {}, None),
    ],
)
async def test_a_busy_endpoint_says_when_to_come_back(
    workspace: Workspace, status: int, headers: dict[str, str], wait_s: float | None
) -> None:
    said = {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "Exceeded queries per second."}
    workspace.answers = [Answer(status=status, body=said, headers=headers)]
    error = await failure(handler(workspace))
    assert (error.retry_after_s, error.retryable) == (wait_s, True)
    assert "Exceeded queries per second." in error.detail


# Limits of the platform.


async def test_a_request_over_4_mb_is_told_before_it_is_sent(workspace: Workspace) -> None:
    items = [{"type": "message", "role": "user", "content": "x" * (4 * 1024 * 1024)}]
    error = await failure(handler(workspace), items=items)
    assert error.code == "request_too_large"
    assert "4 MB" in error.detail
    assert not workspace.asked


@pytest.mark.parametrize(
    "answer",
    [
        Answer(frames=[text("w0 ")], pause_s=0.3, done=False),
        Answer(frames=[text("w0 ")], pause_s=0.3),
        Answer(frames=[text("w0 ")], pause_s=0.3, reset=True),
    ],
    ids=["EOF", "a clean [DONE]", "a reset"],
)
async def test_an_answer_that_is_cut_at_the_time_limit_says_so(
    workspace: Workspace, answer: Answer
) -> None:
    """Guard: `_is_old`; nothing is gained by asking again for what takes too long."""
    workspace.answers = [answer]
    asked = handler(workspace)
    asked.request_s_max = CUT_MARGIN_S + 0.2
    error = await failure(asked)
    assert (error.code, error.retryable) == ("upstream_time_limit", False)
    assert "ends every request after" in error.detail


async def test_two_minutes_of_silence_before_the_first_byte_are_no_failure(
    workspace: Workspace,
) -> None:
    """Scaled down: the handler knows no timeout of its own; the runner's begins with 300 s."""
    workspace.answers = [Answer(frames=WHOLE.frames, silence_s=1.2)]
    assert await ask(handler(workspace)) == ANSWERED


async def test_closing_the_answer_closes_the_call(workspace: Workspace) -> None:
    workspace.answers = [Answer(frames=[text("w0 ")], hold=True)]
    asked = handler(workspace)
    deltas = asked.stream(asking())
    assert await anext(deltas) == Text("w0 ", "msg_1")
    await deltas.aclose()
    await workspace.until(lambda: workspace.asked[0].closed)
    await asked.close()


async def test_behind_a_complete_answer_nobody_waits_for_long(workspace: Workspace) -> None:
    completed = {"type": "response.completed", "response": {}}
    workspace.answers = [Answer(frames=[text("w0 "), completed], hold=True)]
    asked = handler(workspace)
    asked.tail_wait_s = 0.1
    assert await ask(asked) == ANSWERED


# On whose behalf.

ANN = UserToken("the-own-token-of-ann")
WANTING: dict[str, dict[str, Any]] = {
    "scopes": {
        "task": "agent/v1/responses",
        "auth_policy": {"user_auth_policy": {"api_scopes": ["sql"]}},
    },
    "a supervisor": {
        "task": "agent/v1/responses",
        "tile_endpoint_metadata": {"problem_type": "MULTI_AGENT_SUPERVISOR"},
    },
}


@pytest.mark.parametrize("why", WANTING)
async def test_an_endpoint_that_wants_the_persons_rights_gets_them(
    workspace: Workspace, why: str
) -> None:
    workspace.endpoints["agent"] = WANTING[why]
    workspace.user_tokens = {ANN.reveal()}
    assert await ask(handler(workspace), user_token=ANN) == ANSWERED
    assert workspace.asked[0].token == ANN.reveal()


async def test_without_such_a_wish_the_application_asks(workspace: Workspace) -> None:
    assert await ask(handler(workspace), user_token=ANN) == ANSWERED
    assert workspace.asked[0].token == PAT


async def test_the_settings_win_over_the_endpoints_wish(workspace: Workspace) -> None:
    workspace.endpoints["agent"] = WANTING["scopes"]
    workspace.user_tokens = {ANN.reveal()}
    assert await ask(handler(workspace, on_behalf_of="never"), user_token=ANN) == ANSWERED
    workspace.endpoints["agent"] = frames.RESPONSES
    await ask(handler(workspace, on_behalf_of="always"), user_token=ANN)
    assert [one.token for one in workspace.asked] == [PAT, ANN.reveal()]


async def test_without_the_persons_token_nobody_is_asked(workspace: Workspace) -> None:
    """Guard: `_token`; the application's own rights are never used instead."""
    workspace.endpoints["agent"] = WANTING["scopes"]
    for option in ("auto", "always"):
        error = await failure(handler(workspace, on_behalf_of=option))
        assert (error.code, error.retryable) == ("auth_required", False)
    assert not workspace.asked


async def test_a_sign_in_that_is_over_asks_for_a_new_one(workspace: Workspace) -> None:
    error = await failure(handler(workspace, on_behalf_of="always"), user_token=ANN)
    assert error.code == "auth_required"
    assert ANN.reveal() not in error.detail


async def test_many_at_once_ask_beside_each_other(workspace: Workspace) -> None:
    asked = handler(workspace)

    async def one() -> list[Delta]:
        async with aclosing(asked.stream(asking())) as deltas:
            return [delta async for delta in deltas]

    assert await asyncio.gather(*(one() for _ in range(20))) == [ANSWERED] * 20
    await asked.close()
