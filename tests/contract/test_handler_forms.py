"""In which form a server answers with status 200, whatever its content type says: every dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perdure.deltas import Delta, Text
from perdure.errors import UpstreamError
from perdure.handlers.anthropic import AnthropicHandler
from perdure.handlers.forms import frame_of
from perdure.handlers.openai import OpenAIHandler
from perdure.handlers.responses import ResponsesHandler
from perdure.http import below
from perdure.ports import Call
from tests.upstream import Upstream

HANDLERS: dict[str, Any] = {
    "chat": OpenAIHandler,
    "responses": ResponsesHandler,
    "anthropic": AnthropicHandler,
}
_SAID = [{"type": "output_text", "text": "Hello"}]
WHOLE: dict[str, Any] = {
    "chat": {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]},
    "responses": {"status": "completed", "output": [{"type": "message", "content": _SAID}]},
    "anthropic": {"content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn"},
}
EVENTS: dict[str, list[Any]] = {
    "chat": [{"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]}],
    "responses": [{"type": "response.completed", "response": WHOLE["responses"]}],
    "anthropic": [
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "Hello"},
        },
        {"type": "message_stop"},
    ],
}
KINDS = ("application/json", "application/problem+json", "text/event-stream", "text/plain")


async def ask(dialect: str, script: dict[str, Any]) -> list[Delta]:
    """Ask a server that plays a script; it is asked once."""
    with Upstream() as upstream:
        handler = HANDLERS[dialect](upstream.url, json.dumps(script))
        call = Call("r", "c", "u", "a", [{"role": "user", "content": "Hi"}], items=[])
        try:
            return [delta async for delta in handler.stream(call)]
        finally:
            await handler.close()


async def refused(dialect: str, script: dict[str, Any]) -> UpstreamError:
    with pytest.raises(UpstreamError) as raised:
        await ask(dialect, script)
    return raised.value


def said(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, Text))


@pytest.mark.parametrize("dialect", HANDLERS)
@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_in_one_piece_is_taken_under_any_content_type(dialect, kind):
    """Guard: `is_whole`; by its content type alone it would be a drop, and asked for again."""
    script = {"raw": " \n" + json.dumps(WHOLE[dialect], indent=1), "content_type": kind}
    assert said(await ask(dialect, script)) == "Hello"


@pytest.mark.parametrize("dialect", HANDLERS)
@pytest.mark.parametrize("kind", [*KINDS, "text/html"])
async def test_events_are_read_under_any_content_type(dialect, kind):
    script = {"frames": EVENTS[dialect], "content_type": kind}
    assert said(await ask(dialect, script)) == "Hello"


@pytest.mark.parametrize("dialect", HANDLERS)
@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_in_one_piece_is_told_in_its_own_words(dialect, kind):
    error = {"error": {"message": "The quota is spent.", "code": "402"}}
    told = await refused(dialect, {"raw": json.dumps(error), "content_type": kind})
    assert "The quota is spent." in told.detail
    assert not told.retryable


@pytest.mark.parametrize("dialect", HANDLERS)
async def test_an_object_without_an_answer_is_no_empty_answer(dialect):
    told = await refused(dialect, {"raw": '{"detail": "x"}', "content_type": "application/json"})
    assert (told.code, told.retryable) == ("upstream_garbage", False)


@pytest.mark.parametrize("dialect", HANDLERS)
@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("<!doctype html><p>Hi", "text/html", "a web page"),
        ("<html>Hi</html>", "text/event-stream", "a web page"),
        ("Nobody is here.", "text/plain", "Nobody is here."),
    ],
)
async def test_a_page_and_a_text_are_told_and_not_asked_for_again(dialect, body, kind, words):
    told = await refused(dialect, {"raw": body, "content_type": kind})
    assert words in told.detail
    assert (told.code, told.retryable) == ("upstream_garbage", False)


def test_half_a_character_does_not_end_an_answer():
    assert frame_of(b'{"a": ["x\\ud83d"]}') == {"a": ["x\ufffd"]}


@pytest.mark.parametrize("data", [b"{", b"\xff", b'{"a":' + b"[" * 100_000])
def test_what_is_no_json_is_garbage(data):
    with pytest.raises(UpstreamError) as raised:
        frame_of(data)
    assert raised.value.code == "upstream_garbage"


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://a/v1", "http://a/v1/messages"),
        ("http://a/v1/", "http://a/v1/messages"),
        ("http://a/v1/messages", "http://a/v1/messages"),
        ("http://a/v1?api-version=1", "http://a/v1/messages?api-version=1"),
        ("http://a/v1/messages?k=/x", "http://a/v1/messages?k=/x"),
    ],
)
def test_a_base_url_may_end_in_a_query(base, url):
    assert below(base, "/messages") == url
