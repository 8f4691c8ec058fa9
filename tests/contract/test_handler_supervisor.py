"""The Supervisor API: asked once in the background, looked at until it has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure.deltas import Finish, Text, ToolCall, ToolResult, Trace
from perdure.errors import UpstreamError
from perdure.handlers.databricks import Credentials, SupervisorHandler
from tests.databricks import Workspace, working
from tests.databricks.polled import ask, crashed, plain
from tests.databricks.workspace import JSON, PAT

ITEMS = (
    {"type": "message", "role": "user", "content": "Hello?"},
    {"type": "message", "role": "assistant", "content": "Yes."},
    {"type": "message", "role": "user", "content": "How many?"},
)
TALK: JSON = {"items": ITEMS, "messages": ()}
# Given other ids and parts than it was sent with.
COPY = [
    {**item, "id": f"in_{n}", "content": [{"type": "input_text", "text": item["content"]}]}
    for n, item in enumerate(ITEMS)
]
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "count", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "1"}


def message(text: str, status: str = "completed") -> JSON:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": "m1", "role": "assistant", "status": status} | {
        "content": content
    }


@pytest.fixture
async def workspace() -> AsyncIterator[Workspace]:
    async with working() as made:
        made.responses = [
            {"status": "in_progress", "output": COPY},
            {"status": "in_progress", "output": [*COPY, CALL, message("On", "in_progress")]},
            {"status": "completed", "output": [*COPY, CALL, RESULT, message("One.")]}
            | {"metadata": {"trace_id": "tr-1"}},
        ]
        yield made


def supervisor(workspace: Workspace, **options: Any) -> SupervisorHandler:
    return SupervisorHandler("m", Credentials(workspace.url, token=PAT), poll_s=0.01, **options)


async def test_whole_items_are_told_and_the_copy_of_the_input_is_not(workspace: Workspace) -> None:
    """Guards: `beyond`, and what is not finished waits: its text may change."""
    tools = [{"type": "genie", "genie": {"id": "g"}}]
    given = {"temperature": 0.5, "store": True}
    deltas = await ask(supervisor(workspace, params={"tools": tools}), params=given, **TALK)
    assert plain(deltas) == [
        ToolCall("fc_1", "{}", "count", "c1"),
        Trace("tr-1"),
        ToolResult("c1", "1"),
        Text("One.", "m1"),
    ]
    assert deltas[-1] == Finish("stop")
    (asked,) = workspace.asked
    assert asked.body == {
        "model": "m",
        "input": list(ITEMS),
        "tools": tools,
        "temperature": 0.5,
        "background": True,
        "stream": False,
    }


async def test_a_crash_of_ours_asks_nothing_twice_and_tells_nothing_twice(
    workspace: Workspace,
) -> None:
    """Guard: `call.upstream`; without it the run would be asked, and paid for, again."""
    workspace.responses.insert(2, {"http": 503})
    handlers = supervisor(workspace), supervisor(workspace)
    said = await crashed(workspace, *handlers, **TALK)
    assert [one.text for one in said if isinstance(one, Text)] == ["One."]
    assert len([one for one in said if isinstance(one, ToolCall)]) == 1


async def test_a_failed_run_is_told_in_its_words(workspace: Workspace) -> None:
    error = {"code": "server_error", "message": "The tool is gone."}
    workspace.responses = [{"status": "failed", "output": COPY, "error": error}]
    with pytest.raises(UpstreamError, match=r"The tool is gone\."):
        await ask(supervisor(workspace), **TALK)


async def test_a_run_that_is_not_known_any_more_is_not_asked_for_again(
    workspace: Workspace,
) -> None:
    with pytest.raises(UpstreamError) as failed:
        await ask(supervisor(workspace), upstream={"id": "resp_other"}, **TALK)
    assert (failed.value.code, failed.value.retryable) == ("upstream_forgot", False)


async def test_stopping_ends_the_run_and_never_raises(workspace: Workspace) -> None:
    handler = supervisor(workspace)
    await handler.stop({"id": "resp_s"})
    assert workspace.stopped == ["resp_s"]
    workspace.taken = {PAT}
    await handler.stop({"id": "resp_s"})
    await handler.close()
