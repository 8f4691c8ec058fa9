"""Show the outcomes: a table for the terminal, one in Markdown, and a line of JSON to keep."""

import datetime as dt
import json
import platform
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import fields
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.build import FOLDER
from bench.lab import Lab
from bench.outcome import NOISY_CORES, Outcome

RESULTS = FOLDER / "results"
COLUMNS = ("figure", "what", "goal", "measured", "baseline", "ratio", "met")
MET = {True: "yes", False: "NO", None: "not measured"}
FIELDS = [field.name for field in fields(Outcome)]
STYLES = {True: "green", False: "bold red", None: "yellow"}


def number(value: float) -> str:
    """Return a number with as many digits as say something."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def cells(outcome: Outcome) -> tuple[str, ...]:
    """Return one row of the table."""
    sign = "≤" if outcome.sense == "at most" else "≥"
    measured = "-" if outcome.measured is None else f"{number(outcome.measured)} {outcome.unit}"
    if len(outcome.values) > 1:
        measured += f" [{number(min(outcome.values))} … {number(max(outcome.values))}]"
    if outcome.note:
        measured += f" ({outcome.note})"
    return (
        outcome.figure,
        outcome.what,
        f"{sign} {number(outcome.goal)} {outcome.unit}".strip(),
        measured.strip(),
        outcome.baseline,
        "" if outcome.ratio is None else f"{number(outcome.ratio)} x",
        MET[outcome.met] + _remark(outcome),
    )


def _remark(outcome: Outcome) -> str:
    return ("" if outcome.sound else ": loss, errors or behind") + (
        " (noisy)" if outcome.noisy else ""
    )


def show(outcomes: list[Outcome], console: Console, shape: str) -> None:
    """Print the table and what it needs to be read."""
    table = Table(title=f"Perdure, {shape}")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in {"goal", "ratio"} else "left")
    for outcome in outcomes:
        *rest, met = cells(outcome)
        table.add_row(*rest, f"[{STYLES[outcome.met]}]{met}[/]")
    console.print(table)
    console.print(summary(outcomes))


def summary(outcomes: list[Outcome]) -> str:
    """Count what was met."""
    met = sum(outcome.met is True for outcome in outcomes)
    noisy = sum(outcome.noisy for outcome in outcomes)
    text = f"{met} of {len(outcomes)} lines met."
    if noisy:
        text += (
            f" {noisy} noisy: others took more than {NOISY_CORES} of a core;"
            " ratios still hold, times may be too long."
        )
    return text


def machine() -> dict[str, Any]:
    """Say on what was measured, without names or paths."""
    models = {
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    cores = sum(
        line.startswith("processor") for line in Path("/proc/cpuinfo").read_text().splitlines()
    )
    return {
        "cpu": ", ".join(sorted(models)) or platform.machine(),
        "cores": cores,
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
    }


def revision() -> str:
    """Return the commit that was measured, or nothing outside a repository."""
    command = ["git", "-C", str(FOLDER), "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=10)
    except OSError:
        return ""
    return done.stdout.strip()


def keep(outcomes: list[Outcome], lab: Lab, mode: str) -> str:
    """Append one line of JSON; return a title for the tables."""
    RESULTS.mkdir(exist_ok=True)
    when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    on = machine()
    record = {
        "when": when,
        "mode": mode,
        "revision": revision(),
        "machine": on,
        "outcomes": [_plain(outcome) for outcome in outcomes],
        "runs": lab.runs,
    }
    with (RESULTS / "runs.jsonl").open("a") as file:
        file.write(json.dumps(record, separators=(",", ":")) + "\n")
    return f"{on['cpu']}, {on['cores']} cores, Python {on['python']}; {mode}, {when}"


def markdown(outcomes: list[Outcome], title: str) -> Iterator[str]:
    """Yield the lines of the Markdown table."""
    yield f"{title}. {summary(outcomes)}"
    yield ""
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|" + " --- |" * len(COLUMNS)
    for outcome in outcomes:
        yield f"| {' | '.join(cells(outcome))} |"


def gathered(mode: str, figures: Collection[str]) -> Iterator[Outcome]:
    """Yield the lines that were measured last of each figure, among what is kept of a mode."""
    newest: dict[str, list[dict[str, Any]]] = {}
    for line in (RESULTS / "runs.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["mode"] == mode:
            told = sorted(record["outcomes"], key=itemgetter("figure"))
            newest |= {name: [*lines] for name, lines in groupby(told, itemgetter("figure"))}
    for figure in figures:
        for outcome in newest.get(figure, ()):
            yield Outcome(**{name: outcome[name] for name in FIELDS if name in outcome})


def _plain(outcome: Outcome) -> dict[str, Any]:
    return {
        "figure": outcome.figure,
        "what": outcome.what,
        "unit": outcome.unit,
        "sense": outcome.sense,
        "goal": outcome.goal,
        "measured": outcome.measured,
        "values": outcome.values,
        "baseline": outcome.baseline,
        "ratio": outcome.ratio,
        "noise": round(outcome.noise, 3),
        "note": outcome.note,
        "sound": outcome.sound,
        "met": outcome.met,
    }
