"""Wake-ups between processes through Redis or Valkey: published, and kept nowhere."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterable
from typing import Any

import msgspec
from redis import asyncio as redis
from redis.exceptions import RedisError

from perdure import chores
from perdure.buses.listeners import Failing, Listeners, Outbox

SPACING_S = 0.01
ANSWER_S = 5.0
CONNECT_S = 3.0
PING_S = 10.0
BACKOFF_S = (0.2, 5.0)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[str]).decode


class RedisBus:
    """`ports.Bus` over Redis pub/sub: one connection listens, one sends.

    Args:
        url: `redis://…`, `rediss://…` or `valkey://…`.
        prefix: keeps deployments on one server apart.

    """

    def __init__(self, url: str, prefix: str = "perdure") -> None:
        self._url = url.replace("valkey", "redis", 1) if url.startswith("valkey") else url
        self._channel = f"{prefix}:bus"
        self._listeners = Listeners()
        self._outbox = Outbox()
        self._state = Failing("the Redis bus")
        self._self = f"{random.getrandbits(64):016x}"
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        self._tasks = [
            asyncio.create_task(self._keep(self._send), name="bus, sending"),
            asyncio.create_task(self._keep(self._listen), name="bus, listening"),
        ]

    async def close(self) -> None:
        """Stop both halves."""
        await chores.end(self._tasks)
        self._tasks = []

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

    async def _keep(self, work: Callable[[Any], Any]) -> None:
        """Do a half of the work for ever, over new connections when one is lost."""
        pause_s = BACKOFF_S[0]
        while True:
            client = redis.Redis.from_url(
                self._url,
                socket_timeout=ANSWER_S,
                socket_connect_timeout=CONNECT_S,
                socket_keepalive=True,
                single_connection_client=True,
            )
            try:
                await client.ping()
                self._state.worked()
                pause_s = BACKOFF_S[0]
                await work(client)
            except (RedisError, OSError, TimeoutError) as error:
                self._state.failed(error)
            finally:
                await _leave(client)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
            pause_s = min(BACKOFF_S[1], 2 * pause_s)

    async def _send(self, client: Any) -> None:
        while True:
            topics = await self._outbox.take()
            try:
                await client.publish(self._channel, _encode([self._self, *topics]))
            except BaseException:
                self._outbox.put(topics)  # perhaps twice; a doorbell may
                raise
            await asyncio.sleep(SPACING_S)

    async def _listen(self, client: Any) -> None:
        """Hear what others publish; a silent connection is asked whether it still lives."""
        pubsub = client.pubsub()
        try:
            await pubsub.subscribe(self._channel)
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

    def _heard(self, data: bytes) -> None:
        try:
            sender, *topics = _decode(data)
        except (msgspec.DecodeError, ValueError):
            return  # somebody else's message
        if sender != self._self and topics:
            self._listeners.tell(topics)


async def _leave(connection: Any) -> None:
    """Close what may be broken already."""
    try:
        await connection.aclose()
    except (RedisError, OSError, TimeoutError) as error:
        del error
