"""Wake-ups within one process: a direct call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from perdure.buses.listeners import Listeners


class InProcessBus:
    """`ports.Bus` whose listeners are called before `publish` returns."""

    def __init__(self) -> None:
        self._listeners = Listeners()

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def publish(self, topics: Iterable[str]) -> None:
        woken = list(topics)
        if woken:
            self._listeners.tell(woken)

    async def publish_elsewhere(self, topics: Iterable[str]) -> None:
        pass

    def trouble(self) -> str | None:
        return None

    def subscribe(self, listener: Callable[[Collection[str]], None]) -> None:
        self._listeners.add(listener)
