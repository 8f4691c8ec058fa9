"""Who waits for changes of a person's chats in this process, and how they are woken.

One listener on the bus for all sockets. Wake-ups may be lost, so each person's revision is looked
at every few seconds for all their sockets together: an idle socket costs no query of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from starlette.requests import HTTPConnection

from perdure import chores
from perdure.core import Core
from perdure.errors import PerdureError
from perdure.ports import Topic
from perdure.routers.given import core_of

TICK_S = 0.5
HEAL_TICKS = 8
"""A lost wake-up shows after so many ticks at the latest; draining after one."""


class Doorbells:
    """Bells by topic; a bell is set when its topic is woken, or when the server drains."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._bells: dict[str, set[asyncio.Event]] = {}
        self._users: dict[str, str] = {}
        self._revisions: dict[str, int] = {}
        self._healing: asyncio.Task[None] | None = None
        core.bus.subscribe(self._ring)

    @contextmanager
    def of(self, user_id: str) -> Iterator[asyncio.Event]:
        """Lend a bell that rings when one of the person's chats changed."""
        topic = Topic.chats(user_id)
        bell = asyncio.Event()
        self._bells.setdefault(topic, set()).add(bell)
        self._users[topic] = user_id
        if self._healing is None or self._healing.done():
            self._healing = chores.begin(self._heal, "doorbells")
        try:
            yield bell
        finally:
            self._bells[topic].discard(bell)
            if not self._bells[topic]:
                del self._bells[topic], self._users[topic]
                self._revisions.pop(user_id, None)

    def _ring(self, topics: Collection[str]) -> None:
        for topic in topics:
            for bell in self._bells.get(topic, ()):
                bell.set()

    async def _heal(self) -> None:
        """Look for what the bus did not tell, as long as anybody waits."""
        ticks = 0
        while self._bells:
            await asyncio.sleep(TICK_S)
            ticks += 1
            if self.core.draining:
                self._ring(list(self._bells))
            elif ticks % HEAL_TICKS == 0:
                await self._look()

    async def _look(self) -> None:
        for topic, user_id in list(self._users.items()):
            try:
                revision = await self.core.store.revision(user_id)
            except PerdureError:
                return  # the store is away; the next look will tell
            if self._revisions.get(user_id) != revision and topic in self._bells:
                self._revisions[user_id] = revision
                self._ring([topic])


def doorbells_of(connection: HTTPConnection) -> Doorbells:
    """Return the process's doorbells, made with the first socket."""
    state = connection.app.state
    core = core_of(connection)
    found: Doorbells | None = getattr(state, "doorbells", None)
    if found is None or found.core is not core:
        found = state.doorbells = Doorbells(core)
    return found
