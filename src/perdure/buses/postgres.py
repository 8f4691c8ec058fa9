"""Wake-ups between processes through PostgreSQL's NOTIFY, outside of every data transaction.

NOTIFY takes a lock of the whole server at commit, and each idle listener costs every notification:
so one process sends at most twenty a second, of all its topics together, and listens with one
connection. LISTEN needs a connection of its own: not through a pooler in transaction mode.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import asyncpg

from perdure.buses.shared import SharedBus

CHANNEL = "perdure"
SPACING_S = 0.05
PAYLOAD_BYTES_MAX = 7_900
PING_S = 20.0
ANSWER_S = 5.0
PAUSE_MAX_S = 10.0
LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


class PostgresBus(SharedBus):
    """`ports.Bus` over one connection that listens and sends.

    Args:
        options: what `asyncpg.connect` needs.

    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__("the PostgreSQL bus", LOST, PAUSE_MAX_S)
        self._options = dict(options)

    async def open(self) -> None:
        self._tasks = [asyncio.create_task(self._keep(self._live), name="bus")]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _live(self, works: Callable[[], None]) -> None:
        """Listen and send on one connection until it is lost."""
        connection = await asyncpg.connect(**self._options)
        try:
            await connection.add_listener(CHANNEL, lambda *heard: self._heard(heard[-1]))
            connection.add_termination_listener(lambda _: self._unsent.ring())
            works()
            await self._serve(connection)
        finally:
            connection.terminate()

    async def _serve(self, connection: Any) -> None:
        """Send what waits, one notification a tick; prove now and then that the server is there."""
        while True:
            try:
                async with asyncio.timeout(PING_S):
                    topics = await self._unsent.take()
            except TimeoutError:
                await connection.execute("SELECT 1", timeout=ANSWER_S)
                continue
            try:
                for payload in self._payloads(topics):
                    notify = "SELECT pg_notify($1, $2)"
                    await connection.execute(notify, CHANNEL, payload, timeout=ANSWER_S)
                    await asyncio.sleep(SPACING_S)
            except BaseException:
                self._unsent.put(topics)  # perhaps twice; a doorbell may
                raise

    def _payloads(self, topics: list[str]) -> Iterable[str]:
        """Yield the topics as messages that fit into a notification."""
        told: list[str] = []
        size = empty = len(self._message([]))
        for topic in topics:
            cost = len(self._message([topic])) - empty
            if size + cost > PAYLOAD_BYTES_MAX and told:
                yield self._message(told).decode()
                told, size = [], empty
            if cost < PAYLOAD_BYTES_MAX // 2:
                told.append(topic)
                size += cost
        yield self._message(told).decode()
