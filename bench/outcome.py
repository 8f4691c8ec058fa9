"""What a figure is: a goal, the values that were measured, and whether the goal was met."""

import statistics
from dataclasses import dataclass
from typing import Literal

NOISY_CORES = 0.25
"""Above this share of a core taken by others a value says little by itself; ratios still do."""


@dataclass(frozen=True)
class Outcome:
    """One line of the table: the median of the values against a goal."""

    figure: str
    what: str
    unit: str
    goal: float
    values: list[float]
    sense: Literal["at most", "at least"] = "at most"
    baseline: str = ""
    ratio: float | None = None
    noise: float = 0.0
    note: str = ""
    sound: bool = True
    """Whether every run behind it delivered everything, once, in order and in time."""

    @property
    def measured(self) -> float | None:
        """The median; None if nothing could be measured (the load client says -1 then)."""
        values = [value for value in self.values if value >= 0]
        return statistics.median(values) if values else None

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached; None if nothing could be measured."""
        if self.measured is None:
            return None
        if not self.sound:
            return False
        if self.sense == "at most":
            return self.measured <= self.goal
        return self.measured >= self.goal

    @property
    def goal_share(self) -> float | None:
        """Measured over goal, turned so that less than 1 is better than asked."""
        if not self.measured:
            return None
        return self.measured / self.goal if self.sense == "at most" else self.goal / self.measured

    @property
    def noisy(self) -> bool:
        """Whether others used the machine while this was measured."""
        return self.noise > NOISY_CORES


def median(values: list[float]) -> float:
    """Return the median, or -1 of nothing."""
    return statistics.median(values) if values else -1.0


def percentile(values: list[float], share: float) -> float:
    """Return the smallest value that at least `share` of all do not exceed; -1 of nothing."""
    if not values:
        return -1.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
