"""Agents in Python that harm the worker they run in; named in a test's settings."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

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
