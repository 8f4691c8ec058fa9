"""What all figures share: the upstream, the ways to start servers, and a record of every run."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bench import servers
from bench.build import Programs
from bench.load import Load, Result, Running, product_body, proxy_body
from bench.outcome import NOISY_CORES
from bench.quiet import Patience
from bench.servers import Server, Upstream

REPEATS_MAX = 12
"""How many runs of one benchmark may be repeated because others used the machine."""


@dataclass
class Lab:
    """One benchmark: its size, its upstream, what it measured so far."""

    programs: Programs
    upstream: Upstream
    quick: bool = False
    use_standin: bool = False
    say: Callable[[str], None] = print
    runs: list[dict[str, Any]] = field(default_factory=list)
    memo: dict[str, Any] = field(default_factory=dict)
    repeats_left: int = REPEATS_MAX
    patience: Patience = field(default_factory=lambda: Patience(0))

    @property
    def rounds(self) -> int:
        """Over how many interleaved runs a median is taken."""
        return 1 if self.quick else 3

    @property
    def window_s(self) -> float:
        """How long a run is measured."""
        return 1.5 if self.quick else 3.0

    def baseline(self, letter: str) -> contextlib.AbstractContextManager[Server]:
        """Run a baseline."""
        return servers.baseline(letter, self.upstream)

    @contextlib.contextmanager
    def product(self, folder: Path | None = None) -> Iterator[Server]:
        """Run the product on a fresh data folder, or on the given one."""
        with contextlib.ExitStack() as stack:
            if self.use_standin:
                yield stack.enter_context(servers.standin(self.upstream))
                return
            data = folder or stack.enter_context(servers.scratch())
            yield stack.enter_context(servers.product(self.upstream, data))

    def start(self, server: Server, load: Load, bodies: list[str] | None = None) -> Running:
        """Start a load; the caller waits for its result."""
        background = server.kind == "background"
        path = "/api/invoke_endpoint" if background else "/v1/chat/completions"
        flags = ["--mode", server.kind, "--port", str(server.port), "--path", path]
        for body in bodies or [product_body(load) if background else proxy_body(load)]:
            flags += ["--body", body]
        return self._running(server, flags, load)

    def start_readers(self, server: Server, path: str, load: Load) -> Running:
        """Start readers of one path, without questions."""
        flags = ["--mode", "get", "--port", str(server.port), "--stream-path", path]
        return self._running(server, flags, load)

    def _running(self, server: Server, flags: list[str], load: Load) -> Running:
        flags += ["--pid", str(server.pid), "--helper", str(self.upstream.pid), *load.flags()]
        return Running(self.programs, flags, load)

    def load(self, label: str, server: Server, load: Load) -> Result:
        """Run a load to its end and record it; once more if others were at work meanwhile."""
        result = self._load_once(label, server, load)
        if result.noise > NOISY_CORES and self.repeats_left and not self.quick:
            self.repeats_left -= 1
            again = self._load_once(f"{label}, again", server, load)
            result = min(result, again, key=lambda each: each.noise)
        return result

    def _load_once(self, label: str, server: Server, load: Load) -> Result:
        self.patience.wait()
        with self.start(server, load) as running:
            result = self.record(label, server, running)
        self.upstream.settle()
        return result

    def record(self, label: str, server: Server, running: Running) -> Result:
        """Wait for a result and keep it."""
        result = running.result()
        kept = msgspec.to_builtins(result)
        del kept["cancels"]
        self.runs.append({"run": label, "server": server.name, **kept})
        trouble = "" if result.good else f"  TROUBLE: {result.first_error or 'unfinished'}"
        self.say(
            f"  {server.name:8} {label}: {result.chunks_per_s:,.0f} chunks/s,"
            f" {result.sut_us_per_chunk:.1f} µs, p50 {result.latency.p50_ms:.2f}"
            f" p99 {result.latency.p99_ms:.1f} ms, others {result.noise:.2f} cores{trouble}"
        )
        return result
