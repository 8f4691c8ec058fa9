"""The measured part of `docs/capacity.md`, made of the last results: `python -m bench.page`."""

import re
from collections.abc import Iterator

from bench.build import FOLDER

LATEST = FOLDER / "results" / "latest.md"
PAGE = FOLDER.parent / "docs" / "capacity.md"
BEGIN, END = "<!-- begin: python -m bench.page -->", "<!-- end -->"
CHUNKS_PER_S, CHUNKS, ANSWER_S = 50, 400, 20
"""Of one answer: chunks a second and in all; how long it takes at 20 a second."""
ROWS = (
    ("CPU for each chunk, 100 answers at once", "F1", "CPU per chunk at 100"),
    ("CPU for each chunk, 300 answers at once", "F1", "CPU per chunk at 300"),
    (
        "the same beside a plain FastAPI and httpx proxy that stores nothing",
        "F2",
        "capacity, ratio",
    ),
    ("added delay of half of the chunks, 300 answers", "F3", "added latency at 300 answers, p50"),
    (
        "added delay of all but one in a hundred, 300 answers",
        "F3",
        "added latency at 300 answers, p99",
    ),
    ("chunks without loss, 505 answers", "F4", "throughput without loss, 505"),
    ("their delay, all but one in a hundred", "F4", "its p99 of added latency, 505"),
    ("chunks without loss, 915 answers", "F4", "throughput without loss, 915"),
    ("their delay, all but one in a hundred", "F4", "its p99 of added latency, 915"),
    ("memory for each running answer", "F5", "memory per running answer, short"),
    ("memory for each running answer of 200 kB", "F5", "memory per running answer, 200 kB"),
    ("memory for each idle reader", "F5", "memory per idle reader"),
    ("question to 202, half of them", "F6", "POST to 202 (committed), p50"),
    ("events to a late reader", "F8", "late reader"),
    ("idle sockets held", "F9", "idle live sockets held"),
    ("from a crash to 1,000 answers taken up again", "F10", "start after a crash"),
    (
        "work for a chunk of a long answer in a long chat, beside a short one",
        "F11",
        "work per chunk",
    ),
)
"""What the page says, and by which figure and which beginning of its text it is found."""


def block(latest: str) -> str:
    """Return the page's measured part."""
    found = [cells for cells in map(_cells, latest.splitlines()) if len(cells) > 3]
    title = latest.split(";", 1)[0]
    lines = [f"On {title}, server, agents and clients together:", ""]
    lines += ["| what | measured | figure |", "|---|---|---|"]
    for about, figure, what in ROWS:
        lines.append(f"| {about} | {_measured(_row(found, figure, what))} | {figure} |")
    return "\n".join([*lines, "", *_reckoned(found)])


def _reckoned(found: list[list[str]]) -> Iterator[str]:
    """Yield what follows from the figures; each number in it is one of them or made of them."""
    at_once, more = [
        _hundreds(_number(_row(found, "F4", f"throughput without loss, {n}")) / CHUNKS_PER_S)
        for n in (505, 915)
    ]
    cpu_us = _number(_row(found, "F1", "CPU per chunk at 300"))
    hours = 1e6 * CHUNKS * cpu_us / 1e6 / 3600
    yield (
        f"Reckoned from it, for agents that say {CHUNKS_PER_S} chunks a second: one core carries"
        f" {at_once:,} answers *at the same time*, {more:,} with more delay. People read and think"
        f" in between: if one in ten of those who have the page open waits for an answer, that is"
        f" {10 * at_once:,} to {10 * more:,} people at once. Answers of {ANSWER_S} s, {at_once:,}"
        f" at once, are {at_once / ANSWER_S:.0f} a second,"
        f" {at_once * 3600 / ANSWER_S:,.0f} an hour."
        f" A million answers of {CHUNKS} chunks take {hours:.1f} core-hours."
    )


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _row(found: list[list[str]], figure: str, what: str) -> str:
    """Return what was measured for a figure."""
    (cell,) = [one[3] for one in found if one[0] == figure and one[1].startswith(what)][:1]
    return cell


def _measured(cell: str) -> str:
    """Return a cell as a person reads it: a ratio by what it is made of, no spread."""
    inside = re.search(r"\(([^)]*µs)\)", cell)
    return inside[1] if inside else re.split(r" [\[(]", cell)[0].replace(" x", " times")


def _number(cell: str) -> float:
    return float(re.sub(r"[^\d.]", "", _measured(cell)))


def _hundreds(value: float) -> int:
    return int(value // 100) * 100


def refresh() -> None:
    """Write the measured part anew."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    made = block(LATEST.read_text("utf-8"))
    PAGE.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    refresh()
