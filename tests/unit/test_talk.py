"""What agents are told of a chat, in both dialects, and what is left out."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.handlers.wishes import chat_fields
from perdure.model import Message
from perdure.routers.ui_messages import ui_message
from perdure.talk import as_items, as_messages, flaw, wrapped

CALL = {"type": "function_call", "call_id": "c", "name": "find", "arguments": "{}", "id": "fc"}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "rain", "id": "fco"}


def message(role: Any, text: str = "", **more: Any) -> Message:
    return Message(id="m", chat_id="c", parent_id=None, role=role, text=text, created_at=0, **more)


def said(*items: dict[str, Any], text: str = "") -> Message:
    return message("assistant", text, output=list(items))


def given(item: dict[str, Any]) -> Message:
    role = "tool" if item["type"].endswith("output") else "assistant"
    return message(role, parts=wrapped(item))


def test_plain_talk_is_told_as_it_is_without_empty_answers():
    talk = [message("user", "Hi"), message("assistant", "Hello"), message("assistant")]
    assert as_messages(talk) == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ]
    assert as_items(talk) == [
        {"type": "message", "role": "user", "content": "Hi"},
        {"type": "message", "role": "assistant", "content": "Hello"},
    ]


def test_instructions_come_first():
    assert as_messages([message("user", "Hi")], "Be kind.")[0] == {
        "role": "system",
        "content": "Be kind.",
    }


def test_calls_are_told_with_the_outputs_that_the_client_sent():
    two = {**CALL, "call_id": "d"}
    talk = [said(CALL, two), given(OUTPUT), given({**OUTPUT, "call_id": "d"})]
    call, first, second = as_messages(talk)
    assert [one["id"] for one in call["tool_calls"]] == ["c", "d"]
    assert call["content"] is None
    assert first == {"role": "tool", "tool_call_id": "c", "content": "rain"}
    assert second["tool_call_id"] == "d"


def test_calls_that_stand_alone_in_the_input_become_one_message():
    talk = [
        given(CALL),
        given({**CALL, "call_id": "d"}),
        given(OUTPUT),
        given({**OUTPUT, "call_id": "d"}),
    ]
    assert len(as_messages(talk)[0]["tool_calls"]) == 2


def test_calls_without_outputs_are_left_out():
    """Guard: servers answer 400 to a call that nobody answered."""
    assert as_messages([said(CALL), message("user", "never mind")]) == [
        {"role": "user", "content": "never mind"}
    ]
    assert as_items([said(CALL)]) == []


def test_what_an_agent_did_with_its_own_tools_is_told_to_responses_servers_only():
    talk = [said(CALL, OUTPUT, text="It rains.")]
    assert as_messages(talk) == [{"role": "assistant", "content": "It rains."}]
    assert [item["type"] for item in as_items(talk)] == ["function_call", "function_call_output"]
    assert "id" not in as_items(talk)[0]


IMAGE = {"type": "input_image", "image_url": "data:x", "detail": "low"}
CHAT_IMAGE = {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}}
FILE = {"type": "input_file", "filename": "a", "file_data": "data:y"}
CHAT_FILE = {"type": "file", "file": {"filename": "a", "file_data": "data:y"}}
FLAWED = [
    {"type": "image_url"},
    {"type": "image_url", "image_url": {}},
    {"type": "image_url", "image_url": {"url": 5}},
    {"type": "input_image"},
    {"type": "input_image", "image_url": {"url": "data:x"}},
    {"type": "file"},
    {"type": "text"},
    {"type": "item"},
]


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"type": "input_text", "text": "x"}, {"type": "text", "text": "x"}),
        (IMAGE, CHAT_IMAGE),
        (FILE, CHAT_FILE),
        (CHAT_IMAGE, CHAT_IMAGE),
        ({"type": "input_audio", "n": 1}, {"type": "input_audio", "n": 1}),
    ],
)
def test_parts_are_told_in_the_words_of_chat_completions(part, told):
    (one,) = as_messages([message("user", parts=[part])])
    assert one["content"] == [told]


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"type": "text", "text": "x"}, {"type": "input_text", "text": "x"}),
        (IMAGE, IMAGE),
        (CHAT_IMAGE, {**IMAGE, "detail": "auto"}),
        (CHAT_FILE, FILE),
    ],
)
def test_parts_are_told_in_the_words_of_open_responses(part, told):
    (one,) = as_items([message("user", parts=[part])])
    assert one["content"] == [told]


@pytest.mark.parametrize("part", FLAWED)
def test_a_part_that_no_server_takes_is_told_to_none(part):
    """Guard: `flaw`; one that was stored would fail every later question of its chat."""
    assert flaw(part)
    line = [message("user", "x", parts=[{"type": "text", "text": "x"}, part])]
    assert as_messages(line)[0]["content"] == [{"type": "text", "text": "x"}]
    assert as_items(line)[0]["content"] == [{"type": "input_text", "text": "x"}]
    alone = [message("user", "x", parts=[part])]
    assert as_messages(alone) == [{"role": "user", "content": "x"}]
    assert as_items(alone)[0]["content"] == "x"
    shown = ui_message(line, {})["parts"]
    assert [one.get("text") or one["url"] for one in shown] in (["x"], ["x", ""])


def test_a_phase_is_kept_and_sent_back():
    item = {"type": "message", "role": "assistant", "content": [], "phase": "commentary", "id": "m"}
    assert as_items([given(item)])[0]["phase"] == "commentary"


def test_parameters_are_told_in_the_words_of_chat_completions():
    schema = {"type": "json_schema", "name": "n", "schema": {}}
    fields = chat_fields(
        {
            "tools": [
                {"type": "function", "name": "find", "strict": None},
                {"type": "web_search"},
            ],
            "tool_choice": {"type": "function", "name": "find"},
            "max_output_tokens": 5,
            "reasoning": {"effort": "low"},
            "text": {"format": schema},
            "temperature": 0,
            "background": True,
        }
    )
    assert fields == {
        "tools": [{"type": "function", "function": {"name": "find"}}],
        "tool_choice": {"type": "function", "function": {"name": "find"}},
        "max_tokens": 5,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        "temperature": 0,
    }
    assert chat_fields({"parallel_tool_calls": True, "text": {"format": {"type": "text"}}}) == {}
