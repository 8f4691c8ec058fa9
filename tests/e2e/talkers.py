"""Agents that the page's conversation is tried with; each shows one thing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from perdure import deltas
from perdure.deltas import Delta

PART = (
    "### Part {n}\n\n"
    + "Some **words** of prose with `code` and more words to fill a line. " * 6
    + "\n\n- one\n- two [link](https://a.example)\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n"
    "```python\ndef f(x):\n    return x + {n}\n```\n\n"
)
PARTS = 220
CHUNKS_PER_S = 200
CHUNKS = 1000

HOSTILE = (
    "<img src=x onerror=\"document.title='hacked'\">\n\n"
    '<script>document.title="hacked"</script>\n\n'
    "[click](javascript:document.title='hacked') ![pixel](https://a.example/pixel.png)\n\nDone."
)


class Gate:
    """Lets the long talk go on when the page has shown its first part."""

    opened: asyncio.Event | None = None

    @classmethod
    def event(cls) -> asyncio.Event:
        """Return the event, made in the server's loop."""
        cls.opened = cls.opened or asyncio.Event()
        return cls.opened


async def go(messages: list[dict[str, object]]) -> str:
    """Let the other one go on."""
    del messages
    Gate.event().set()
    return "Gone on."


async def long(messages: list[dict[str, object]]) -> AsyncIterator[str]:
    """Say 130 kB at once, then, once told to, go on at 200 pieces a second."""
    del messages
    for n in range(PARTS):
        yield PART.replace("{n}", str(n))
    yield "The long part is over.\n\n"
    await Gate.event().wait()
    Gate.event().clear()
    text = PART * 12
    begun = time.monotonic()
    for n in range(CHUNKS):
        yield text[5 * n : 5 * n + 5]
        await asyncio.sleep(max(0.0, begun + n / CHUNKS_PER_S - time.monotonic()))


async def hostile(messages: list[dict[str, object]]) -> AsyncIterator[str]:
    """Say what a page must not believe."""
    del messages
    yield HOSTILE


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
