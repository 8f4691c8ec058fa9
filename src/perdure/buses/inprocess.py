"""Wake-ups within one process: a direct call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable


class InProcessBus:
    """`ports.Bus` whose listeners are called before `publish` returns."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Collection[str]], None]] = []

    async def publish(self, topics: Iterable[str]) -> None:
        woken = list(topics)
        if woken:
            for listener in self._listeners:
                listener(woken)

    def subscribe(self, listener: Callable[[Collection[str]], None]) -> None:
        self._listeners.append(listener)
