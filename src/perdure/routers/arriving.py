"""What arrives of a call: its body, within a size and a time, and the end of its caller's right."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from perdure.routers.identity import WATCH
from perdure.settings import Settings

Watch = Callable[[], Awaitable[Any]]


def arriving(scope: Scope, receive: Receive, settings: Settings) -> Receive:
    """Return `receive` that ends too large and too slow bodies, and streams that may not go on.

    FastAPI lets one kind of exception out of its reading of a body: the one that is raised here.
    """
    limits = settings.limits
    seen, whole, until = 0, False, 0.0

    async def arrived() -> Message:
        nonlocal seen, whole, until
        if whole:
            return await _left(receive, scope.get(WATCH))
        loop = asyncio.get_running_loop()
        until = until or loop.time() + limits.body_timeout_s
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            detail = f"The body did not arrive within {limits.body_timeout_s:g} s."
            raise HTTPException(408, detail) from None
        seen += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if seen > limits.body_bytes_max:
            raise HTTPException(413, too_large(settings))
        return message

    return arrived


def too_large(settings: Settings) -> str:
    """Return what is told of a body over the limit."""
    return f"The body is larger than limits.body_bytes_max = {settings.limits.body_bytes_max}."


async def _left(receive: Receive, watch: Watch | None) -> Message:
    """Return when the caller goes away, or when its credential ends, which counts as that."""
    if watch is None:
        return await receive()
    going, ending = asyncio.ensure_future(receive()), asyncio.ensure_future(watch())
    try:
        await asyncio.wait({going, ending}, return_when=asyncio.FIRST_COMPLETED)
        return going.result() if going.done() else {"type": "http.disconnect"}
    finally:
        going.cancel()
        ending.cancel()
