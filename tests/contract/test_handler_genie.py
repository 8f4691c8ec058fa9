"""Genie: asked once, looked at until it has answered, and found again after a crash of ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure.deltas import Finish, Reasoning, Text, ToolCall, ToolResult
from perdure.errors import UpstreamError
from perdure.handlers.databricks import Credentials, GenieHandler
from perdure.user_tokens import UserToken
from tests.databricks import Workspace, working
from tests.databricks.polled import ask, crashed, plain
from tests.databricks.workspace import PAT

QUERY = {"query": "SELECT 1", "title": "One", "description": "Counts to one."}
DONE = {
    "status": "COMPLETED",
    "attachments": [
        {"attachment_id": "a-1", "query": QUERY},
        {"attachment_id": "a-2", "text": {"content": "It is one."}},
    ],
}
ROWS = {
    "manifest": {"schema": {"columns": [{"name": "n", "type_name": "INT"}]}},
    "result": {"data_array": [["1"]]},
}
ASKED = [{"role": "user", "content": "How many?"}]
ARGUMENTS = json.dumps({"query": "SELECT 1", "description": "Counts to one."})


@pytest.fixture
async def workspace() -> AsyncIterator[Workspace]:
    async with working() as made:
        made.messages = [{"status": "ASKING_AI"}, {"status": "EXECUTING_QUERY"}, DONE]
        made.rows = ROWS
        yield made


def genie(workspace: Workspace, **options: Any) -> GenieHandler:
    return GenieHandler("sp-1", Credentials(workspace.url, token=PAT), poll_s=0.01, **options)


async def test_the_steps_the_query_its_rows_and_the_text_are_told(workspace: Workspace) -> None:
    deltas = await ask(genie(workspace), messages=ASKED)
    said = plain(deltas)
    assert [one for one in said if isinstance(one, Reasoning)] == [
        Reasoning("Thinking.\n"),
        Reasoning("Running the query.\n"),
    ]
    (asked,) = [one for one in said if isinstance(one, ToolCall)]
    assert (asked.name, asked.call_id) == ("One", "a-1")
    assert json.loads(asked.arguments) == json.loads(ARGUMENTS)
    assert ToolResult("a-1", '{"columns":["n"],"rows":[["1"]]}') in said
    assert Text("It is one.", "a-2") in said
    assert deltas[-1] == Finish("stop")


async def test_a_crash_of_ours_asks_genie_nothing_twice(workspace: Workspace) -> None:
    """Guard: `call.upstream`; without it the question would be asked, and paid for, again."""
    workspace.messages.insert(1, {"http": 500})
    said = await crashed(workspace, genie(workspace), genie(workspace), messages=ASKED)
    assert said.count(Reasoning("Thinking.\n")) == 1
    assert [one.text for one in said if isinstance(one, Text)] == ["It is one."]


async def test_a_failure_is_told_in_genies_words(workspace: Workspace) -> None:
    workspace.messages = [{"status": "FAILED", "error": {"error": "No warehouse.", "type": "X"}}]
    with pytest.raises(UpstreamError, match="No warehouse"):
        await ask(genie(workspace), messages=ASKED)


async def test_what_was_said_before_in_the_chat_comes_with_the_question(
    workspace: Workspace,
) -> None:
    messages = [
        {"role": "user", "content": "How many?"},
        {"role": "assistant", "content": "One."},
        {"role": "user", "content": "And twice that?"},
    ]
    await ask(genie(workspace), messages=messages)
    (asked,) = workspace.asked
    assert asked.body["content"].endswith("The question now: And twice that?")
    assert "assistant: One." in asked.body["content"]


async def test_genie_may_be_asked_with_the_persons_own_rights(workspace: Workspace) -> None:
    workspace.user_tokens = {"of-ann"}
    await ask(
        genie(workspace, on_behalf_of_user=True), messages=ASKED, user_token=UserToken("of-ann")
    )
    assert workspace.asked[0].token == "of-ann"
    with pytest.raises(UpstreamError) as failed:
        await ask(genie(workspace, on_behalf_of_user=True), messages=ASKED)
    assert failed.value.code == "auth_required"
