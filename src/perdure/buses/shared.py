"""What all buses between processes share: who is told, what waits, and connections made anew."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Iterable

import msgspec

from perdure.buses.listeners import Failing, Listener, Listeners, Unsent

log = logging.getLogger("perdure.bus")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[str]).decode


class SharedBus:
    """The half of `ports.Bus` that knows no engine.

    Args:
        name: of the bus, for the log.
        lost: the errors of a connection that is gone, as happens now and then.
        pause_max_s: longest distance of two tries to connect.

    """

    def __init__(self, name: str, lost: tuple[type[Exception], ...], pause_max_s: float) -> None:
        self._name, self._lost, self._pause_max_s = name, lost, pause_max_s
        self._listeners = Listeners()
        self._unsent = Unsent()
        self._state = Failing(name)
        self._self = f"{random.getrandbits(64):016x}"
        self._tasks: list[asyncio.Task[None]] = []

    async def publish(self, topics: Iterable[str]) -> None:
        woken = list(topics)
        if woken:
            self._listeners.tell(woken)
            self._unsent.put(woken)

    async def publish_elsewhere(self, topics: Iterable[str]) -> None:
        woken = list(topics)
        if woken:
            self._unsent.put(woken)

    def trouble(self) -> str | None:
        return self._state.why

    def subscribe(self, listener: Listener) -> None:
        self._listeners.add(listener)

    def _message(self, topics: Collection[str]) -> bytes:
        """Return what is sent: the sender's name, then the topics."""
        return _encode([self._self, *topics])

    def _heard(self, message: bytes | str) -> None:
        """Wake this process, unless it was the sender or the message is not one of ours."""
        try:
            sender, *topics = _decode(message)
        except (msgspec.DecodeError, ValueError):
            return
        if sender != self._self and topics:
            self._listeners.tell(topics)

    async def _keep(self, live: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        """Run the life of a connection for ever, which calls what it is given once it works."""
        first_s = pause_s = 0.2

        def works() -> None:
            nonlocal pause_s
            pause_s = first_s
            self._state.worked()

        while True:
            try:
                await live(works)
            except self._lost as error:
                self._state.failed(error)
            except Exception as error:
                # Whatever it was (no password from `database.password_from`, for one), the next
                # try may do; readers would be late for ever, and nobody would know why.
                log.exception("%s broke", self._name)
                self._state.failed(error)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
            pause_s = min(self._pause_max_s, 2 * pause_s)
