"""Delivery within one process: a direct call; the admission limits bound what is under way."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class InProcessQueue:
    """`ports.Queue` that delivers before `enqueue` returns."""

    def __init__(self) -> None:
        self._deliver: Callable[[str], None] | None = None

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def enqueue(self, request_ids: Sequence[str]) -> None:
        if self._deliver is not None:
            for request_id in request_ids:
                self._deliver(request_id)

    def trouble(self) -> str | None:
        return None

    def consume(self, deliver: Callable[[str], None]) -> None:
        self._deliver = deliver
