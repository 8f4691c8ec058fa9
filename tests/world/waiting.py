"""Waiting for facts: a test never sleeps for a time, it waits until something is so, or fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


MINUTE_S = 60
ROOM_S = 8


async def room_in_a_minute() -> None:
    """Return where the clock's minute goes on for a while: at its turn rates let one more in."""
    left_s = MINUTE_S - time.time() % MINUTE_S
    if left_s < ROOM_S:
        await asyncio.sleep(left_s)  # why: the windows of the limiter are minutes of this clock


async def eventually(
    fact: Callable[[], Awaitable[T | None]],
    *,
    within_s: float,
    what: str,
    every_s: float = 0.02,
) -> T:
    """Ask for a fact until it is truthy, and return it.

    Args:
        fact: asked again and again.
        within_s: seconds after which the test fails.
        what: the fact in words, for the failure.
        every_s: seconds between two looks.

    """
    deadline = time.monotonic() + within_s
    while True:
        found = await fact()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what} (last look: {found!r})")
        await asyncio.sleep(every_s)
