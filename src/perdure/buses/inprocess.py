"""Wake-ups within one process: a direct call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable

log = logging.getLogger("perdure.bus")


class InProcessBus:
    """`ports.Bus` whose listeners are called before `publish` returns."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Collection[str]], None]] = []

    async def publish(self, topics: Iterable[str]) -> None:
        woken = list(topics)
        if not woken:
            return
        for listener in list(self._listeners):
            try:
                listener(woken)
            except Exception:
                # Whoever rings has just committed and must go on, whatever a reader's bug does.
                log.exception("a listener broke")

    def subscribe(self, listener: Callable[[Collection[str]], None]) -> None:
        self._listeners.append(listener)
