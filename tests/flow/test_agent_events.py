"""The origin's dialect: the agent's own events between `chat.created` and `stream.completed`."""

from __future__ import annotations

import json

import pytest

from tests.flow.serving import serving


@pytest.fixture
async def served(tmp_path):
    async with serving(tmp_path) as running:
        yield running


async def told(served, **body):
    path = "/api/invoke_endpoint?dialect=agent-events"
    answer = await served.http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    frames = [frame for frame in answer.text.split("\n\n") if frame.startswith("data: ")]
    assert [frame for frame in frames if frame == "data: [DONE]"] == frames[-1:]
    return answer, [json.loads(frame.removeprefix("data: ")) for frame in frames[:-1]]


async def test_the_agents_events_come_between_the_chat_and_the_end(served):
    answer, events = await told(served, message="hello", agent_id="echo")
    chat = {"type": "chat.created", "chat_id": answer.headers["perdure-chat-id"]}
    assert events[0] == chat
    types = [event["type"] for event in events[1:-1]]
    assert "response.output_text.delta" in types
    assert types[-1] == "response.output_item.done"
    assert not [name for name in types if name in ("response.created", "response.completed")]
    assert events[-1] == {
        "type": "stream.completed",
        "trace_id": None,
        "trace_summary": None,
        "is_error": False,
    }
    _, again = await told(served, message="more", agent_id="echo", chat_id=chat["chat_id"])
    assert again[0]["type"] != "chat.created"


async def test_a_failure_is_told_before_the_end(served):
    _, events = await told(served, message="hello", agent_id="broken")
    error, completed = events[-2:]
    assert (error["type"], error["error"]) == ("error", "agent_error")
    assert error["message"]
    assert completed["is_error"]


async def test_a_refusal_has_the_same_shape(served):
    path = "/api/invoke_endpoint?dialect=agent-events"
    answer = await served.http.post(path, json={"message": "x", "agent_id": "none"})
    assert answer.status_code == 400
    told = answer.json()
    assert (told["type"], told["error"]) == ("error", "unknown_agent")
    assert told["message"]
