"""The promise of the port `Bus`: wake-ups, soon, perhaps; never a burden for whoever rings."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from perdure.buses.inprocess import InProcessBus
from perdure.ports import Bus, Topic
from tests.world.waiting import eventually


@asynccontextmanager
async def inprocess() -> AsyncIterator[Bus]:
    yield InProcessBus()


ADAPTERS: dict[str, Callable[[], AbstractAsyncContextManager[Bus]]] = {"inprocess": inprocess}


@pytest.fixture(params=ADAPTERS)
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    async with ADAPTERS[request.param]() as made:
        yield made


class Listener:
    """Remembers what it heard, and in which thread."""

    def __init__(self, bus):
        self.heard = []
        self.threads = set()
        bus.subscribe(self._hear)

    def _hear(self, topics):
        self.heard += topics
        self.threads.add(threading.get_ident())

    async def hears(self, *topics):
        async def all_heard():
            return set(topics) <= set(self.heard)

        await eventually(all_heard, within_s=5, what=f"{topics} heard")


async def test_every_listener_hears_every_topic(bus):
    """Listeners choose for themselves; the bus knows nobody."""
    listeners = [Listener(bus) for _ in range(3)]
    await bus.publish(["a", "b"])
    await bus.publish(iter(["c"]))
    for listener in listeners:
        await listener.hears("a", "b", "c")


async def test_wake_ups_come_in_this_process_s_loop(bus):
    """Listeners touch the loop's objects without locks."""
    listener = Listener(bus)
    await bus.publish(["a"])
    await listener.hears("a")
    assert listener.threads == {threading.get_ident()}


async def test_publishing_nothing_wakes_nobody(bus):
    """An empty flush costs nothing."""
    listener = Listener(bus)
    await bus.publish([])
    await bus.publish(["mark"])
    await listener.hears("mark")
    assert listener.heard == ["mark"]


async def test_a_listener_that_breaks_harms_neither_the_publisher_nor_the_others(bus):
    """Guard: the journal rings after each commit; a reader's bug must not end it."""

    def broken(_topics):
        raise RuntimeError("bug in a listener")

    bus.subscribe(broken)
    listener = Listener(bus)
    await bus.publish(["a"])
    await bus.publish(["b"])
    await listener.hears("a", "b")


async def test_a_listener_may_subscribe_and_ring_while_it_listens(bus):
    """A wake-up may lead to another one."""
    later = []

    def first(topics):
        if "a" in topics:
            later.append(Listener(bus))
            tasks.append(asyncio.ensure_future(bus.publish(["b"])))

    tasks: list[asyncio.Task[None]] = []
    bus.subscribe(first)
    listener = Listener(bus)
    await bus.publish(["a"])
    await listener.hears("a", "b")
    await later[0].hears("b")
    await asyncio.gather(*tasks)


def test_topics_of_different_things_never_meet():
    """A person may be named like a request."""
    named = "resp_1"
    assert len({Topic.events(named), Topic.stop(named), Topic.chats(named)}) == 3
