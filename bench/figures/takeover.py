"""F10: how long a restart needs to take over everything that was running."""

import contextlib
import time

from bench import servers
from bench.lab import Lab
from bench.load import Load
from bench.outcome import Outcome

RUNNING = Load(1000, rate=1, chunks=120, ramp_s=2.0, warmup_s=30.0, window_s=10.0)
ALL_RUNNING_WITHIN_S = 25.0
GIVE_UP_S = 30.0


def takeover(lab: Lab) -> list[Outcome]:
    """F10: kill the server under 1,000 answers, start it again, wait for 1,000 upstream calls."""
    if lab.use_standin:
        return []
    values, note = [], ""
    for _ in range(1 if lab.quick else 2):
        seconds, taken = _crash_and_restart(lab)
        if taken == RUNNING.streams:
            values.append(seconds)
        else:
            note = f"only {taken} taken over in {GIVE_UP_S:.0f} s"
    what = f"start after a crash until all {RUNNING.streams:,} requests are taken over"
    return [Outcome("F10", what, "s", 5.0, values, note=note, sound=not note)]


def _crash_and_restart(lab: Lab) -> tuple[float, int]:
    """Return the time from the start of the new process, and how many requests it took over."""
    with servers.scratch() as folder:
        with lab.product(folder) as server, lab.start(server, RUNNING):
            _wait_for(lab, "open", RUNNING.streams, ALL_RUNNING_WITHIN_S)
            server.kill()
        lab.upstream.settle()
        before = lab.upstream.stats()["streams"]
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            stack.enter_context(lab.product(folder))
            taken = _wait_for(lab, "streams", before + RUNNING.streams, GIVE_UP_S) - before
            seconds = time.monotonic() - began
    lab.upstream.settle()
    lab.say(f"  {taken} taken over after {seconds:.2f} s")
    return seconds, taken


def _wait_for(lab: Lab, counter: str, wanted: int, timeout_s: float) -> int:
    """Poll a counter of the upstream until it is high enough or time is up; return it."""
    deadline = time.monotonic() + timeout_s
    while True:
        value: int = lab.upstream.stats()[counter]
        if value >= wanted or time.monotonic() > deadline:
            return value
        time.sleep(0.01)
