"""Draw the outcomes: how far each figure is from its goal, and latency over throughput."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.outcome import Outcome

SHARE_MIN = 0.01
SERVERS = {"A": "tab:gray", "B": "tab:orange", "C": "tab:red", "perdure": "tab:blue"}
NAMES = {
    "A": "A: bare pass-through",
    "B": "B: FastAPI + httpx",
    "C": "C: FastAPI + openai",
    "perdure": "Perdure (durable)",
}


def draw(outcomes: list[Outcome], runs: list[dict[str, Any]], title: str, path: Path) -> None:
    """Write a picture with two halves."""
    mpl.use("Agg")
    figure = Figure(figsize=(13, 10), layout="constrained")
    bars, scatter = figure.subplots(2, 1, height_ratios=[3, 2])
    _bars(bars, [outcome for outcome in outcomes if outcome.goal_share])
    _scatter(scatter, runs)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=110)


def _bars(axes: Axes, outcomes: list[Outcome]) -> None:
    shares = [max(outcome.goal_share or 0.0, SHARE_MIN) for outcome in outcomes]
    colours = ["tab:green" if outcome.met else "tab:red" for outcome in outcomes]
    labels = [f"{outcome.figure}  {outcome.what}" for outcome in outcomes]
    axes.barh(range(len(shares)), shares, color=colours)
    axes.set_yticks(range(len(shares)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xlabel("share of the goal used up; left of the line the goal is met")


def _scatter(axes: Axes, runs: list[dict[str, Any]]) -> None:
    for server, colour in SERVERS.items():
        points = [
            (run["chunks_per_s"], run["latency"]["p99_ms"])
            for run in runs
            if run["server"] == server and run["run"].endswith("answers")
        ]
        if points:
            across, up = zip(*sorted(points), strict=True)
            axes.plot(across, up, "o", color=colour, label=NAMES[server], alpha=0.8)
    axes.set_xlabel("chunks per second delivered")
    axes.set_ylabel("added latency, p99, ms")
    axes.set_yscale("log")
    axes.grid(visible=True, alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
