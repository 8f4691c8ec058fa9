"""F1 and F3: what a chunk costs, and how late it comes, beside the practical limit (baseline A)."""

from bench.lab import Lab
from bench.load import Result, steady
from bench.outcome import Outcome, median
from bench.servers import Server

STREAMS = (100, 300)
GOALS = {100: 2.0, 300: 1.25}
Pair = tuple[Result, Result]


def cost(lab: Lab) -> list[Outcome]:
    """F1: CPU per chunk, ratio to A."""
    return [_cost_at(streams, pairs) for streams, pairs in _pairs(lab).items()]


def latency(lab: Lab) -> list[Outcome]:
    """F3: added latency at 300 answers."""
    pairs = _pairs(lab)[300]
    noise = _noise(pairs)
    ours, theirs = [p for _, p in pairs], [a for a, _ in pairs]
    lines = []
    for name, goal, ms in (
        ("p50", 4.0, lambda result: result.latency.p50_ms),
        ("p99", 15.0, lambda result: result.latency.p99_ms),
    ):
        values = [ms(result) for result in ours]
        plain = median([ms(result) for result in theirs])
        what = f"added latency at 300 answers, {name}"
        base, ratio = f"A {plain:.2f} ms", median(values) / plain
        lines.append(
            Outcome(
                "F3",
                what,
                "ms",
                goal,
                values,
                baseline=base,
                ratio=ratio,
                noise=noise,
                sound=all(result.kept_up for result in ours),
            )
        )
    return lines


def _cost_at(streams: int, pairs: list[Pair]) -> Outcome:
    ratios = [ours.sut_us_per_chunk / plain.sut_us_per_chunk for plain, ours in pairs]
    plain = median([result.sut_us_per_chunk for result, _ in pairs])
    ours = median([result.sut_us_per_chunk for _, result in pairs])
    return Outcome(
        "F1",
        f"CPU per chunk at {streams} answers, ratio to A",
        "x",
        GOALS[streams],
        ratios,
        baseline=f"A {plain:.1f} µs",
        ratio=median(ratios),
        noise=_noise(pairs),
        note=f"{ours:.1f} µs",
        sound=all(result.kept_up for pair in pairs for result in pair),
    )


def _noise(pairs: list[Pair]) -> float:
    return median([result.noise for pair in pairs for result in pair])


def _pairs(lab: Lab) -> dict[int, list[Pair]]:
    """Measure A and the product in turn, so that both see the same neighbours."""
    if "pairs" not in lab.memo:
        with lab.baseline("A") as plain, lab.product() as ours:
            lab.memo["pairs"] = {
                streams: [_pair(lab, plain, ours, streams) for _ in range(lab.rounds)]
                for streams in STREAMS
            }
    pairs: dict[int, list[Pair]] = lab.memo["pairs"]
    return pairs


def _pair(lab: Lab, plain: Server, ours: Server, streams: int) -> Pair:
    load = steady(streams, lab.window_s)
    return lab.load(f"{streams} answers", plain, load), lab.load(f"{streams} answers", ours, load)
