"""One run of the load client: what to ask for, and what came of it."""

import json
import subprocess
from dataclasses import dataclass, field
from typing import Self

import msgspec

from bench.build import Programs

SLACK_S = 15.0
STARTED_PER_S = 100
"""How fast a steady load is begun: what starts cost is a figure of its own, F6."""
SETTLED_S = 1.5
"""From the last start of a steady load to the begin of its window."""
KEPT_UP = 0.97
"""A server kept up when this share of what was offered came through in the window."""


class Times(msgspec.Struct, frozen=True):
    """A distribution in milliseconds; -1 where nothing was counted."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Result(msgspec.Struct, frozen=True):
    """What the load client saw; the fields are explained in README.md."""

    latency: Times
    create: Times
    first_chunk: Times
    wire: Times
    resume: Times
    whole: Times
    window_s: float
    chunks_per_s: float
    sut_cpu_s: float
    sut_cpu_share: float
    sut_us_per_chunk: float
    other_cpu_share: float
    steal_share: float
    pss_kib: float
    pss_kib_before: float
    cancels: list[tuple[int, int]]
    window_delivered: int
    delivered: int
    events: int
    completed: int
    created: int
    reattached: int
    live: int
    gaps: int
    duplicates: int
    mixed: int
    short: int
    errors: int
    refused: int
    unfinished: int
    first_error: str
    good: bool
    offered: float = 0.0
    """Chunks per second that the upstream had to give."""

    @property
    def noise(self) -> float:
        """What others took of the machine during the window, in cores."""
        return self.other_cpu_share + self.steal_share

    @property
    def kept_up(self) -> bool:
        """Whether the server delivered what was offered, without loss."""
        return self.good and self.chunks_per_s >= KEPT_UP * self.offered

    @property
    def carried_per_s(self) -> float:
        """Chunks per second, without what was made up for that had come before the window."""
        return min(self.chunks_per_s, self.offered)


@dataclass(frozen=True)
class Load:
    """N answers at once, each `rate` chunks/s of `size` bytes, with `viewers` readers."""

    streams: int
    rate: int = 50
    size: int = 250
    viewers: int = 1
    ramp_s: float = 1.0
    warmup_s: float = 1.5
    window_s: float = 3.0
    chunks: int | None = None
    reattach: int = 0
    cancel_at: int | None = None
    stop_after_window: bool = False
    more: list[str] = field(default_factory=list)

    @property
    def chunks_each(self) -> int:
        """Chunks of one answer: enough for the first one to outlive the window."""
        if self.chunks is not None:
            return self.chunks
        return int(self.rate * (self.warmup_s + self.window_s + 0.3))

    @property
    def lasts_s(self) -> float:
        """From the first start to the end of the last answer, or of the window."""
        return max(self.warmup_s + self.window_s, self.ramp_s + self.chunks_each / self.rate)

    @property
    def word(self) -> str:
        """The word that tells the upstream what to do."""
        return f"fake-r{self.rate}-c{self.chunks_each}-s{self.size}"

    @property
    def offered(self) -> float:
        """Chunks per second that the upstream has to give, over all readers."""
        return float(self.streams * self.rate * self.viewers)

    def flags(self) -> list[str]:
        """Return the flags of the load client that do not depend on the server."""
        flags = [
            *("--streams", str(self.streams), "--viewers", str(self.viewers)),
            *("--ramp-ms", str(int(self.ramp_s * 1000)), "--chunks", str(self.chunks_each)),
            *("--warmup", str(self.warmup_s), "--window", str(self.window_s)),
            *("--timeout", str(self.lasts_s + SLACK_S)),
            *("--reattach", str(self.reattach)),
        ]
        if self.cancel_at is not None:
            flags += ["--cancel-at", str(self.cancel_at)]
        if self.stop_after_window:
            flags.append("--stop-after-window")
        return flags + self.more


def steady(streams: int, window_s: float, viewers: int = 1) -> Load:
    """Return N answers at once as they go on when all have begun and nothing of that is left."""
    ramp_s = streams / STARTED_PER_S
    before_s = ramp_s + SETTLED_S
    return Load(streams, viewers=viewers, ramp_s=ramp_s, warmup_s=before_s, window_s=window_s)


class Running:
    """A load client at work."""

    def __init__(self, programs: Programs, flags: list[str], load: Load) -> None:
        """Start it."""
        self._timeout_s = load.lasts_s + 2 * SLACK_S
        self._offered = load.offered
        self._process = subprocess.Popen(
            [str(programs.loadgen), *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def result(self) -> Result:
        """Wait for its report.

        Raises:
            RuntimeError: it said nothing that can be read.

        """
        try:
            out, error = self._process.communicate(timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, error = self._process.communicate()
        if not out.strip():
            raise RuntimeError(f"the load client gave no report: {error.strip()}")
        result = msgspec.json.decode(out, type=Result, strict=False)
        return msgspec.structs.replace(result, offered=self._offered)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def proxy_body(load: Load) -> str:
    """Return the request of a chat completion."""
    message = {"role": "user", "content": "Tell me."}
    return json.dumps({"model": load.word, "stream": True, "messages": [message]})


def product_body(load: Load) -> str:
    """Return the request of the product; the upstream finds its word in the message."""
    return json.dumps({"message": load.word})
