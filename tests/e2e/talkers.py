"""Agents in Python that the page's conversation is tried with."""

from __future__ import annotations

from collections.abc import AsyncIterator

from perdure import deltas
from perdure.deltas import Delta


async def thinker(messages: list[dict[str, object]]) -> AsyncIterator[Delta | str]:
    """Reason, call a tool, answer with a source."""
    del messages
    yield deltas.Reasoning("I look it up.")
    yield deltas.ToolCall("c", arguments='{"city": "Bern"}', name="weather", call_id="c")
    yield deltas.ToolResult("c", "12 degrees")
    yield "It is **12 degrees** in Bern."
    yield deltas.Annotation(
        {"type": "url_citation", "url": "https://a.example/bern", "title": "Weather in Bern"}
    )
    yield deltas.Trace("tr-5f0e4b8a")
