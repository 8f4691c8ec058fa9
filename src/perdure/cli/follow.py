"""Following one request to its end over as many connections as it takes."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import aclosing, suppress

import msgspec

from perdure.cli.answer import Answer
from perdure.cli.remote import Lost, Remote
from perdure.cli.screens import Screen
from perdure.errors import Gone, Unavailable

BACKOFF_FIRST_S = 0.25
BACKOFF_MAX_S = 8.0
QUEUE_POLL_S = 2.0


class Follower:
    """Shows a request's events from the answer's cursor on; re-attaches when a connection is lost.

    Args:
        remote: the server.
        answer: what has been seen so far; its cursor is where to go on.
        screen: where it is shown.
        wait_s: how long to keep trying while the server cannot be reached, in seconds.

    """

    def __init__(self, remote: Remote, answer: Answer, screen: Screen, wait_s: float) -> None:
        self._remote = remote
        self._answer = answer
        self._screen = screen
        self._wait_s = wait_s

    async def run(self) -> None:
        """Return when the answer has ended; raises `Unavailable` when the server stays away."""
        watching = asyncio.create_task(self._watch_queue())
        try:
            await self._attach_until_ended()
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _attach_until_ended(self) -> None:
        failures, heard = 0, time.monotonic()
        while True:
            before = self._answer.cursor
            try:
                if await self._read_stream():
                    return
                failures, heard = 0, time.monotonic()  # a window ended in order: go on at once
            except Lost:
                if self._answer.cursor > before:
                    failures, heard = 0, time.monotonic()
                if failures == 0:
                    self._screen.note("Connection lost; the answer goes on. Trying again …")
                if time.monotonic() - heard >= self._wait_s:
                    raise Unavailable(self._gave_up()) from None
            failures += 1
            await asyncio.sleep(backoff_s(failures))

    async def _read_stream(self) -> bool:
        """Show one connection's events; return whether the answer has ended."""
        request_id, pruned = self._answer.request_id, False
        try:
            async with aclosing(self._remote.events(request_id, self._answer.cursor)) as events:
                async for raw in events:
                    self._answer.apply(msgspec.json.decode(raw))
                    self._screen.event(raw, self._answer)
                    if self._answer.ended:
                        return True
        except Gone:
            self._screen.note("Its events are pruned; this is the final answer.")
            pruned = True
        state = await self._remote.request(request_id)
        if state["status"] in ("completed", "failed", "cancelled"):
            self._answer.settle(state, pruned=pruned)
        return self._answer.ended

    async def _watch_queue(self) -> None:
        """Show the place in the queue until the first attempt begins; its errors do not matter."""
        while self._answer.status == "queued":
            with suppress(Exception):
                state = await self._remote.request(self._answer.request_id)
                if self._answer.status == state["status"] == "queued":
                    self._screen.waiting(state.get("queue_position"))
            await asyncio.sleep(QUEUE_POLL_S)

    def _gave_up(self) -> str:
        request_id, cursor = self._answer.request_id, self._answer.cursor
        return (
            f"{self._remote.url} could not be reached for {self._wait_s:g} s. The request is kept; "
            f"see the rest with: perdure attach {request_id} --after {cursor}"
        )


def backoff_s(failures: int) -> float:
    """Return how long to wait before the next try: doubling, capped, with half of it random."""
    full = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 10))
    return full * random.uniform(0.5, 1.0)  # noqa: S311  # spread, not secrecy
