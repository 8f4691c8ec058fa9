"""Whoever breaks a cluster while people use it: seeded, several faults at a time, all mended."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable

from tests import databases
from tests.world.cluster import Cluster, WorkerProcess
from tests.world.server import Server

START_TRIES = 12
SPACING_S = (0.5, 2.5)
BROKEN_MAX = 3
DOWN_S = (0.2, 3.0)
FROZEN_S = (0.3, 7.0)
"""Up to well beyond a lease."""


class Nemesis:
    """Breaks processes and servers of a cluster by its dice.

    A few at a time of processes, broker and database have one fault each, and one of the servers
    stays whole, as in a deployment that deserves the name: else a slow machine would only see
    starts. Everything that was broken is mended before `reign` returns.

    Args:
        world: what is broken.
        rng: decides what, when and for how long.

    """

    def __init__(self, world: Cluster, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self._broken: set[str] = set()
        self._mending: set[asyncio.Task[None]] = set()
        self._began = time.monotonic()
        self.deeds: list[str] = []

    async def reign(self, seconds: float) -> None:
        """Break things for so long, then wait until all is mended."""
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                self._strike()
                await asyncio.sleep(self._rng.uniform(*SPACING_S))
            await asyncio.gather(*self._mending)
        finally:
            for task in self._mending:
                task.cancel()

    def story(self) -> str:
        """Return what was done, for a failure's report."""
        return "\n".join(self.deeds)

    def _strike(self) -> None:
        """Begin a fault at something that is whole, if that is not too much."""
        victims: list[Server | WorkerProcess] = [*self._world.workers, *self._world.workers]
        if not any(server.name in self._broken for server in self._world.servers):
            victims += self._world.servers
        deeds: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            *((victim.name, self._fault_of(victim)) for victim in victims),
            ("broker", self._broker),
            ("database", self._database),
        ]
        name, deed = self._rng.choice(deeds)
        if name in self._broken or len(self._broken) >= BROKEN_MAX:
            return
        self._broken.add(name)
        task = asyncio.create_task(self._break(name, deed), name=f"nemesis of {name}")
        self._mending.add(task)

    async def _break(self, name: str, deed: Callable[[], Awaitable[None]]) -> None:
        await deed()
        self._broken.discard(name)

    def _fault_of(self, victim: Server | WorkerProcess) -> Callable[[], Awaitable[None]]:
        faults = (self._kill, self._kill, self._freeze, self._drain)
        fault = self._rng.choice(faults)
        return lambda: fault(victim)

    async def _kill(self, victim: Server | WorkerProcess) -> None:
        self._tell(f"kill -9 of {victim.name}")
        await victim.kill9()
        await self._pause(DOWN_S)
        await self._start(victim)

    async def _freeze(self, victim: Server | WorkerProcess) -> None:
        seconds = self._rng.uniform(*FROZEN_S)
        self._tell(f"{victim.name} frozen for {seconds:.1f} s")
        victim.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        victim.signal(signal.SIGCONT)
        self._tell(f"{victim.name} goes on")

    async def _drain(self, victim: Server | WorkerProcess) -> None:
        self._tell(f"SIGTERM to {victim.name}")
        seconds = await victim.stop(within_s=60)
        self._tell(f"{victim.name} left within {seconds:.1f} s")
        await self._start(victim)

    async def _broker(self) -> None:
        self._tell("kill -9 of the broker")
        await self._world.lose_broker()
        await self._pause(DOWN_S)
        await self._world.empty_broker()
        self._tell("an empty broker")

    async def _database(self) -> None:
        fault = self._rng.choice(("cut", "kill", "stop"))
        self._tell(f"the database: {fault}")
        if fault == "cut":
            await databases.cut_off(self._world.url)
            return
        await self._world.lose_database(kill=fault == "kill")
        await self._pause(DOWN_S)
        await self._world.start_database()
        self._tell("the database is back")

    async def _start(self, victim: Server | WorkerProcess) -> None:
        """Start a process as a supervisor does: again, when it ends while starting."""
        for _ in range(START_TRIES):
            try:
                await victim.start(within_s=180)
            except AssertionError as ended:
                if victim.running:
                    raise
                self._tell(f"{victim.name} did not start: {str(ended).splitlines()[-1][:120]}")
                await asyncio.sleep(1)
            else:
                self._tell(f"{victim.name} is back")
                return
        detail = f"{victim.name} does not start any more"
        raise AssertionError(detail)

    async def _pause(self, span: tuple[float, float]) -> None:
        await asyncio.sleep(self._rng.uniform(*span))

    def _tell(self, deed: str) -> None:
        self.deeds.append(f"{time.monotonic() - self._began:7.2f} s  {deed}")
