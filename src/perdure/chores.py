"""Tasks that go on in the background until they are ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

log = logging.getLogger("perdure.chores")

AGAIN_S = 1.0
"""How long a chore that a bug has broken rests before it begins anew."""
CANCEL_AGAIN_S = 0.5


def begin(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
    """Begin a chore; where a bug breaks it, that is logged at once and the chore begins anew.

    Else the task would be gone without a word, and with it, for all who are served here, what it
    did: nobody waits for a background task, so nobody hears what it raises.
    """
    return asyncio.create_task(_insist(work, name), name=name)


async def _insist(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    while True:
        try:
            return await work()
        except Exception:
            log.exception("%s: broke, beginning anew", name)
        await asyncio.sleep(AGAIN_S)


async def all_of(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of them side by side, to the end of the last one; then raise what one has raised.

    `asyncio.gather` leaves the others behind when one raises: they would go on unseen.
    """
    outcomes = await asyncio.gather(*works, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they are gone; what they raise is theirs.

    One cancellation is not enough: the Redis library can take it for a timeout of its own.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
