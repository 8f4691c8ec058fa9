"""A real `perdure serve` process: started on a folder, killed, paused, drained, restarted."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.world.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """Return the environment without settings of Perdure: an unknown one would stop the start."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


class Process:
    """A child process with its output in files; ends only what it started."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.starts = 0
        self.child: subprocess.Popen[bytes] | None = None

    def spawn(self, command: list[str], **more: str) -> None:
        self.starts += 1
        path = self.folder / f"{self.name}-{self.starts}.log"
        with path.open("wb") as output:
            self.child = subprocess.Popen(
                command, cwd=ROOT, env=environment(**more), stdout=output, stderr=output
            )

    @property
    def pid(self) -> int:
        assert self.child is not None, "not started"
        return self.child.pid

    @property
    def running(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, number)

    async def gone(self, within_s: float) -> float:
        """Wait for the exit and return the seconds it took."""
        assert self.child is not None, "not started"
        begun = time.monotonic()
        await asyncio.to_thread(self.child.wait, within_s)
        return time.monotonic() - begun

    def end(self) -> None:
        """Make sure that nothing is left behind."""
        if self.child is None:
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        self.child.wait(10)

    def story(self, characters: int = 4000) -> str:
        """Return the end of the output of every start, for a failure's report."""
        starts = range(max(1, self.starts - 3), self.starts + 1)
        paths = [self.folder / f"{self.name}-{start}.log" for start in starts]
        return "\n".join(f"--- {path.name}\n{_tail(path, characters)}" for path in paths)


def _tail(path: Path, characters: int) -> str:
    return path.read_text("utf-8", "replace")[-characters:]


class Server(Process):
    """One data directory and port; `start` again after a kill is the restart."""

    def __init__(
        self, folder: Path, config: str, *, sabotage: str = "", name: str = "server"
    ) -> None:
        super().__init__(folder, name)
        self.port = free_port()
        self.data = folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.config = folder / "perdure.toml"
        self.config.write_text(config, "utf-8")
        self.sabotage = sabotage
        self.command = ["-m", "perdure"]
        if sabotage:
            self.command = ["-m", "tests.world.sabotage", sabotage]
        self.ready_at = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, *, within_s: float = 30) -> Server:
        """Start and wait until `/readyz` says 200; `ready_at` is that instant (monotonic)."""
        self.launch()
        async with httpx.AsyncClient(timeout=2) as client:
            await eventually(
                lambda: self._ready(client), within_s=within_s, what="the server is ready"
            )
        self.ready_at = time.monotonic()
        return self

    def launch(self) -> None:
        """Start without waiting for anything."""
        self.spawn([sys.executable, *self.command, "serve", *self._options()])

    def _options(self) -> list[str]:
        options = ["--port", str(self.port), "--data-dir", str(self.data)]
        return [*options, "--config", str(self.config)]

    async def _ready(self, client: httpx.AsyncClient) -> bool:
        assert self.running, f"the server ended while starting:\n{self.story()}"
        try:
            return (await client.get(f"{self.url}/readyz")).status_code == 200
        except httpx.HTTPError:
            return False

    async def kill9(self) -> None:
        self.signal(signal.SIGKILL)
        await self.gone(10)

    async def stop(self, *, within_s: float = 30) -> float:
        """Send SIGTERM and return the seconds until the exit."""
        self.signal(signal.SIGTERM)
        return await self.gone(within_s)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def memory_bytes(self) -> int:
        """Return the resident memory of the process (Linux)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
