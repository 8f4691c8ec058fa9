"""Who listens to a bus in this process, and what waits to be told to the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable

log = logging.getLogger("perdure.bus")

Listener = Callable[[Collection[str]], None]

WAITING_MAX = 20_000
"""Topics kept while the bus is dead; readers look again by themselves, so more would be a waste."""


class Listeners:
    """Calls whoever subscribed; a listener that breaks harms nobody else."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def add(self, listener: Listener) -> None:
        """Call `listener` from now on."""
        self._listeners.append(listener)

    def tell(self, topics: Collection[str]) -> None:
        """Call all listeners in this thread."""
        for listener in list(self._listeners):
            try:
                listener(topics)
            except Exception:
                # Whoever rings has just committed and must go on, whatever a reader's bug does.
                log.exception("a listener broke")


class Unsent:
    """Topics that wait to be sent, each once, however often it rang meanwhile."""

    def __init__(self) -> None:
        self._waiting: dict[str, None] = {}
        self._rung = asyncio.Event()

    def put(self, topics: Iterable[str]) -> None:
        """Add topics; the oldest ones go when too many wait."""
        self._waiting |= dict.fromkeys(topics)
        while len(self._waiting) > WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
        if self._waiting:
            self._rung.set()

    def ring(self) -> None:
        """Let `take` return, whether there is something or not."""
        self._rung.set()

    async def take(self) -> list[str]:
        """Wait for topics or a ring and take all that are there."""
        await self._rung.wait()
        self._rung.clear()
        taken, self._waiting = [*self._waiting], {}
        return taken


class Failing:
    """Says once that something fails and once that it works again, not at every try."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._failing = False
        self.why: str | None = None

    def failed(self, error: BaseException) -> None:
        """Note a failure."""
        if not self._failing:
            log.warning("%s fails, readers look by themselves meanwhile: %s", self._what, error)
        self._failing = True
        self.why = f"{self._what} fails: {error}"

    def worked(self) -> None:
        """Note a success."""
        if self._failing:
            log.warning("%s works again", self._what)
        self._failing = False
        self.why = None
