"""The processes under test: fake upstream, baselines and product, each on a free port."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from bench.build import BUILD, FOLDER, Programs

ROOT = FOLDER.parent
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 8.0
CALL_TIMEOUT_S = 40.0
LOG_BYTES_SHOWN = 3000
MANY = "10000"
LIMITS = ("RUNNING_MAX", "RUNNING_PER_USER_MAX", "QUEUED_MAX", "QUEUED_PER_USER_MAX")
BASELINES = {"A": "passthrough", "B": "httpx_proxy", "C": "openai_proxy"}
Kind = Literal["proxy", "background"]


class Server:
    """A process that listens on a loopback port."""

    def __init__(self, name: str, kind: Kind, process: subprocess.Popen[str], port: int) -> None:
        """Take over a started process."""
        self.name = name
        self.kind: Kind = kind
        self.port = port
        self._process = process

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Make one call and return its JSON; None for an empty reply.

        Raises:
            RuntimeError: the reply says that it failed.

        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=CALL_TIMEOUT_S)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            data = reply.read()
        finally:
            connection.close()
        if reply.status >= http.client.BAD_REQUEST:
            raise RuntimeError(f"{method} {path}: {reply.status} {data[:300]!r}")
        return json.loads(data) if data else None

    def pss_kib(self) -> float:
        """Return the memory of the process, shared pages counted in part."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1])
        return 0.0

    def kill(self) -> None:
        """End it without warning, as a crash would."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)

    def stop(self) -> None:
        """End it politely, then without."""
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()


class Upstream(Server):
    """The fake upstream, with its counters."""

    @property
    def url(self) -> str:
        """What an OpenAI client takes as base address."""
        return f"http://127.0.0.1:{self.port}/v1"

    def stats(self) -> Any:
        """Return its counters."""
        return self.call("GET", "/stats")

    def settle(self, timeout_s: float = 15.0) -> None:
        """Wait until no stream is open, so that one measurement does not load the next."""
        deadline = time.monotonic() + timeout_s
        while self.stats()["open"] and time.monotonic() < deadline:
            time.sleep(0.05)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder on the same disk as the repository (a commit must cost what it costs there)."""
    BUILD.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="data-", dir=BUILD))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def upstream(programs: Programs, *, exact: bool = False) -> Iterator[Upstream]:
    """Run the fake upstream."""
    port = free_port()
    command = [str(programs.fakeup), "--port", str(port), *(["--exact"] if exact else [])]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, text=True)
    server = Upstream("upstream", "proxy", process, port)
    try:
        wait_until_ready(server, "/stats", None)
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def baseline(letter: str, source: Upstream) -> Iterator[Server]:
    """Run a baseline by its letter."""
    app = f"bench.baselines.{BASELINES[letter]}:app"
    with _uvicorn(letter, "proxy", app, {"BENCH_UPSTREAM": source.url}) as server:
        yield server


@contextlib.contextmanager
def standin(source: Upstream) -> Iterator[Server]:
    """Run the stand-in for the product, which checks the benchmark itself."""
    environment = {"BENCH_UPSTREAM": source.url}
    with _uvicorn("stand-in", "background", "bench.standin:app", environment) as server:
        yield server


@contextlib.contextmanager
def product(source: Upstream, folder: Path) -> Iterator[Server]:
    """Run the product on a data folder."""
    port = free_port()
    limits = {f"PERDURE_LIMITS__{name}": MANY for name in LIMITS}
    command = [sys.executable, "-m", "perdure", "serve", "--port", str(port)]
    command += ["--data-dir", str(folder), "--upstream", source.url, "--model", "fake-r50-c500"]
    environment = limits | {"PERDURE_LOG_LEVEL": "warning"}
    with started("perdure", "background", command, environment, port, folder) as server:
        wait_until_ready(server, "/readyz", folder / "server.log")
        try:
            yield server
        finally:
            server.kill()  # a drain would only cost time: nobody needs these answers


@contextlib.contextmanager
def _uvicorn(name: str, kind: Kind, app: str, environment: dict[str, str]) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--loop", "uvloop"]
    command += ["--http", "httptools", "--no-access-log", "--log-level", "warning"]
    command += ["--backlog", "4096", "--timeout-graceful-shutdown", "1"]
    with (
        scratch() as folder,
        started(name, kind, command, environment, port, folder) as server,
    ):
        wait_until_ready(server, None, folder / "server.log")
        yield server


@contextlib.contextmanager
def started(
    name: str, kind: Kind, command: list[str], environment: dict[str, str], port: int, folder: Path
) -> Iterator[Server]:
    """Run a process in a folder, with its words in `server.log`."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PERDURE_")}
    environment = inherited | {"PYTHONPATH": str(ROOT)} | environment
    with (folder / "server.log").open("a") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, text=True
        )
    server = Server(name, kind, process, port)
    try:
        yield server
    finally:
        server.stop()


def wait_until_ready(server: Server, path: str | None, log: Path | None) -> None:
    """Wait for an answer on `path`, or for an open port."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server._process.poll() is None:
        with contextlib.suppress(OSError, RuntimeError, http.client.HTTPException):
            if path:
                server.call("GET", path)
            else:
                socket.create_connection(("127.0.0.1", server.port), 1).close()
            return
        time.sleep(0.02)
    said = log.read_text()[-LOG_BYTES_SHOWN:] if log and log.exists() else ""
    raise RuntimeError(f"{server.name} did not start:\n{said}")
