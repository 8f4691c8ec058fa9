"""Wake-ups between processes through PostgreSQL's NOTIFY, outside of every data transaction.

NOTIFY takes a lock of the whole server at commit, and each idle listener costs every notification:
so one process sends at most twenty a second, of all its topics together, and listens with one
connection. LISTEN needs a connection of its own: not through a pooler in transaction mode.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import asyncpg
import msgspec

from perdure.buses.listeners import Failing, Listeners, Outbox

CHANNEL = "perdure"
SPACING_S = 0.05
PAYLOAD_BYTES_MAX = 7_900
PING_S = 20.0
ANSWER_S = 5.0
BACKOFF_S = (0.2, 10.0)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[str]).decode


class PostgresBus:
    """`ports.Bus` over one connection that listens and sends.

    Args:
        options: what `asyncpg.connect` needs.

    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)
        self._listeners = Listeners()
        self._outbox = Outbox()
        self._state = Failing("the PostgreSQL bus")
        self._self = f"{os.getpid():x}-{random.getrandbits(48):012x}"
        self._connection: Any = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._task = asyncio.create_task(self._work(), name="bus")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def publish(self, topics: Iterable[str]) -> None:
        woken = list(topics)
        if woken:
            self._listeners.tell(woken)
            self._outbox.put(woken)

    async def publish_elsewhere(self, topics: Iterable[str]) -> None:
        woken = list(topics)
        if woken:
            self._outbox.put(woken)

    def trouble(self) -> str | None:
        return self._state.why

    def subscribe(self, listener: Callable[[Collection[str]], None]) -> None:
        self._listeners.add(listener)

    async def _work(self) -> None:
        """Keep a connection: listen on it, send on it, make a new one when it is lost."""
        pause_s = BACKOFF_S[0]
        while True:
            try:
                await self._connect()
                pause_s = BACKOFF_S[0]
                await self._serve()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                self._state.failed(error)
            finally:
                self._drop()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
            pause_s = min(BACKOFF_S[1], 2 * pause_s)

    async def _connect(self) -> None:
        self._connection = await asyncpg.connect(**self._options)
        await self._connection.add_listener(CHANNEL, self._heard)
        self._connection.add_termination_listener(lambda _: self._outbox.ring())
        self._state.worked()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _serve(self) -> None:
        """Send what waits, one notification a tick; prove now and then that the server is there."""
        while True:
            try:
                async with asyncio.timeout(PING_S):
                    topics = await self._outbox.take()
            except TimeoutError:
                await self._connection.execute("SELECT 1", timeout=ANSWER_S)
                continue
            try:
                for payload in self._payloads(topics):
                    notify = "SELECT pg_notify($1, $2)"
                    await self._connection.execute(notify, CHANNEL, payload, timeout=ANSWER_S)
                    await asyncio.sleep(SPACING_S)
            except BaseException:
                self._outbox.put(topics)  # perhaps twice; a doorbell may
                raise

    def _payloads(self, topics: list[str]) -> Iterable[str]:
        """Yield the topics as lists that fit into a notification, after the sender's name."""
        told, size = [self._self], len(self._self)
        for topic in topics:
            cost = len(_encode(topic)) + 1
            if size + cost > PAYLOAD_BYTES_MAX and len(told) > 1:
                yield _encode(told).decode()
                told, size = [self._self], len(self._self)
            if cost < PAYLOAD_BYTES_MAX // 2:
                told.append(topic)
                size += cost
        yield _encode(told).decode()

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        try:
            sender, *topics = _decode(payload)
        except (msgspec.DecodeError, ValueError):
            return  # somebody else's notification
        if sender != self._self and topics:
            self._listeners.tell(topics)
