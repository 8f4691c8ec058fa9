"""Wake-ups between processes through Redis or Valkey: published, and kept nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from redis import asyncio as redis
from redis.exceptions import RedisError

from perdure import chores
from perdure.buses.shared import SharedBus

SPACING_S = 0.01
ANSWER_S = 5.0
CONNECT_S = 3.0
PING_S = 10.0
PAUSE_MAX_S = 5.0
LOST = (RedisError, OSError, TimeoutError)


class RedisBus(SharedBus):
    """`ports.Bus` over Redis pub/sub: one connection listens, one sends.

    Args:
        url: `redis://…`, `rediss://…` or `valkey://…`.
        prefix: keeps deployments on one server apart.

    """

    def __init__(self, url: str, prefix: str = "perdure") -> None:
        super().__init__("the Redis bus", LOST, PAUSE_MAX_S)
        self._url = url.replace("valkey", "redis", 1) if url.startswith("valkey") else url
        self._channel = f"{prefix}:bus"

    async def open(self) -> None:
        self._tasks = [
            asyncio.create_task(self._keep(self._over(self._send)), name="bus, sending"),
            asyncio.create_task(self._keep(self._over(self._listen)), name="bus, listening"),
        ]

    async def close(self) -> None:
        """Stop both halves."""
        await chores.end(self._tasks)
        self._tasks = []

    def _over(
        self, work: Callable[[Any, Callable[[], None]], Awaitable[None]]
    ) -> Callable[[Callable[[], None]], Awaitable[None]]:
        """Return the life of a connection that does a half of the work."""

        async def live(works: Callable[[], None]) -> None:
            client = redis.Redis.from_url(
                self._url,
                socket_timeout=ANSWER_S,
                socket_connect_timeout=CONNECT_S,
                socket_keepalive=True,
                single_connection_client=True,
            )
            try:
                await client.ping()
                await work(client, works)
            finally:
                await _leave(client)

        return live

    async def _send(self, client: Any, works: Callable[[], None]) -> None:
        """Send what waits; only a publication proves that this connection may publish."""
        while True:
            topics = await self._unsent.take()
            try:
                await client.publish(self._channel, self._message(topics))
            except BaseException:
                self._unsent.put(topics)  # perhaps twice; a doorbell may
                raise
            works()
            await asyncio.sleep(SPACING_S)

    async def _listen(self, client: Any, works: Callable[[], None]) -> None:
        """Hear what others publish; a silent connection is asked whether it still lives."""
        pubsub = client.pubsub()
        try:
            await pubsub.subscribe(self._channel)
            if await pubsub.get_message(timeout=ANSWER_S) is None:
                detail = f"no answer to SUBSCRIBE within {ANSWER_S:g} s"
                raise TimeoutError(detail)
            works()
            asked = False
            while True:
                message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=PING_S)
                if message is not None:
                    asked = False
                    self._heard(message["data"])
                elif asked:
                    detail = f"no answer within {PING_S:g} s"
                    raise TimeoutError(detail)
                else:
                    asked = True
                    await pubsub.ping()
        finally:
            await _leave(pubsub)


async def _leave(connection: Any) -> None:
    """Close what may be broken already."""
    try:
        await connection.aclose()
    except LOST as error:
        del error
