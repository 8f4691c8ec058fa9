"""Wait, within a budget, until others leave the machine alone."""

import os
import time
from pathlib import Path

SAMPLE_S = 0.4
QUIET_CORES = 0.2
WAIT_MAX_S = 8.0
STAT_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def busy_cores(sample_s: float = SAMPLE_S) -> float:
    """Return how many cores are busy now, stolen time included."""
    before = _busy_ticks()
    time.sleep(sample_s)
    return (_busy_ticks() - before) / os.sysconf("SC_CLK_TCK") / sample_s


class Patience:
    """A budget of waiting for one whole benchmark."""

    def __init__(self, budget_s: float) -> None:
        """Start with everything left."""
        self.left_s = budget_s

    def wait(self) -> None:
        """Return when the machine is quiet, after some seconds, or when the budget is spent."""
        until = max(0.0, self.left_s - WAIT_MAX_S)
        while self.left_s > until and busy_cores() > QUIET_CORES:
            self.left_s -= SAMPLE_S


def _busy_ticks() -> int:
    values = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    ticks = dict(zip(STAT_FIELDS, values, strict=True))
    return sum(values) - ticks["idle"] - ticks["iowait"]
