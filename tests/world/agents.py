"""Agents in Python, named in a test's settings: they harm their worker, or use a page's tools."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

from perdure.deltas import Delta, ToolCall, ToolResult

LAST_WORDS = "these are the last words "


async def poison(messages: list[Any], context: object) -> AsyncIterator[str]:
    """Say something, wait until it is surely stored, and take the worker down."""
    yield LAST_WORDS
    await asyncio.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
    yield "never said"


async def stuck(messages: list[Any], context: object) -> AsyncIterator[str]:
    """Say something, then hold up the whole event loop."""
    yield LAST_WORDS
    await asyncio.sleep(0.5)
    time.sleep(600)  # noqa: ASYNC251  # the fault
    yield "never said"


async def of_a_page(messages: list[Any], context: Any) -> AsyncIterator[str | Delta]:
    """Use a tool of one's own and one of the page's, and tell what came of that."""
    if messages[-1]["role"] == "tool":
        yield f"It is {messages[-1]['content']}."
        return
    yield ToolCall("own", "{}", "look", f"own_{context.request_id}")
    yield ToolResult(f"own_{context.request_id}", "seen")
    yield ToolCall("page", '{"x": 1}', "where", f"call_{context.request_id}")
