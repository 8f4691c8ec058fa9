"""F2 and F4: how much one process carries without loss, alone and beside the plain proxies."""

from collections.abc import Iterable

from bench.lab import Lab
from bench.load import Result, steady
from bench.outcome import Outcome, median
from bench.servers import Server

LATE_MS = 300.0

STEPS = {
    "B": (40, 60, 80, 110, 140, 170, 210, 250, 300, 350, 400),
    "C": (15, 25, 35, 45, 55, 70, 90),
    "product": (1005, 1205, 1405, 1605, 1805),
    "product, slow machine": (255, 305, 355, 405, 455),
}
QUICK_STEPS = {
    "B": (140, 180, 220),
    "C": (45, 60, 75),
    "product": (),
    "product, slow machine": (255, 355),
}
GOALS = {505: (25_000.0, 60.0), 915: (45_000.0, 300.0)}


def throughput(lab: Lab) -> list[Outcome]:
    """F4: chunks per second without loss, under a bound on the latency."""
    lines = []
    for streams, results in _product_runs(lab).items():
        goal, late_ms = GOALS[streams]
        values = [result.chunks_per_s if result.good else 0.0 for result in results]
        p99 = median([result.latency.p99_ms for result in results])
        noise = median([result.noise for result in results])
        plain = None if lab.quick else _plain(lab, streams)
        lines += [
            Outcome(
                "F4",
                f"throughput without loss, {streams} answers",
                "chunks/s",
                goal,
                values,
                sense="at least",
                baseline=f"A {plain.chunks_per_s:,.0f}/s" if plain else "",
                ratio=median(values) / plain.chunks_per_s if plain else None,
                noise=noise,
            ),
            Outcome(
                "F4",
                f"its p99 of added latency, {streams} answers",
                "ms",
                late_ms,
                [p99],
                baseline=f"A {plain.latency.p99_ms:.0f} ms" if plain else "",
                ratio=p99 / plain.latency.p99_ms if plain else None,
                noise=noise,
            ),
        ]
    return lines


def capacity(lab: Lab) -> list[Outcome]:
    """F2: highest carried load, ratio to the plain proxies."""
    _product_runs(lab)
    ours: Result = lab.memo["capacity"]
    lines = []
    for letter, name, goal in (("B", "FastAPI + httpx", 4.0), ("C", "FastAPI + openai", 10.0)):
        with lab.baseline(letter) as server:
            theirs = _climb(lab, server, _steps(lab, letter))
        lines.append(
            Outcome(
                "F2",
                f"capacity, ratio to {name}",
                "x",
                goal,
                [ours.carried_per_s / theirs.carried_per_s],
                sense="at least",
                baseline=f"{letter} {theirs.carried_per_s:,.0f}/s",
                ratio=ours.carried_per_s / theirs.carried_per_s,
                noise=max(ours.noise, theirs.noise),
                sound=_carried(ours) and _carried(theirs),
                note=f"{ours.carried_per_s:,.0f}/s",
            )
        )
    return lines


def _plain(lab: Lab, streams: int) -> Result:
    with lab.baseline("A") as server:
        return lab.load(f"{streams} answers", server, steady(streams, lab.window_s))


def _steps(lab: Lab, name: str) -> tuple[int, ...]:
    return QUICK_STEPS[name] if lab.quick else STEPS[name]


def _carried(result: Result) -> bool:
    return result.good and result.latency.p99_ms <= LATE_MS and result.kept_up


def _climb(lab: Lab, server: Server, steps: Iterable[int]) -> Result:
    """Raise the load until it is not carried; return the last step that was, or else the first.

    A step that fails is tried once more, so that a neighbour's burst does not end the climb; a
    quick run has no time for that.
    """
    best: Result | None = None
    for streams in steps:
        load = steady(streams, lab.window_s)
        result = lab.load(f"{streams} answers", server, load)
        if not _carried(result) and not lab.quick:
            result = lab.load(f"{streams} answers", server, load)
        if not _carried(result):
            return best or result
        best = result
    if best is None:
        raise ValueError("a climb needs steps")
    return best


def _product_runs(lab: Lab) -> dict[int, list[Result]]:
    if "throughput" not in lab.memo:
        with lab.product() as server:
            lab.memo["throughput"] = {
                streams: [
                    lab.load(f"{streams} answers", server, steady(streams, lab.window_s))
                    for _ in range(lab.rounds)
                ]
                for streams in GOALS
            }
            lab.memo["capacity"] = _product_climb(lab, server, lab.memo["throughput"])
    runs: dict[int, list[Result]] = lab.memo["throughput"]
    return runs


def _product_climb(lab: Lab, server: Server, runs: dict[int, list[Result]]) -> Result:
    """Return the best carried run: among the given ones, beyond them, or else below them."""
    carried = [each for results in runs.values() for each in results if _carried(each)]
    if not carried:
        return _climb(lab, server, _steps(lab, "product, slow machine"))
    more = _steps(lab, "product")
    if more and _carried(runs[915][-1]):
        carried.append(_climb(lab, server, more))
    return max(carried, key=lambda result: result.carried_per_s)
