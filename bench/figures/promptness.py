"""F6 and F12: how soon a question is accepted, asked upstream, seen again, and stopped."""

import time

from bench.lab import Lab
from bench.load import Load, Result, steady
from bench.outcome import Outcome, percentile
from bench.servers import Server

STEADY = 260
ASKED = Load(100, ramp_s=4.0, warmup_s=0.0, window_s=5.0, chunks=75, reattach=1)
QUICK_ASKED = Load(60, ramp_s=2.4, warmup_s=0.0, window_s=3.0, chunks=75, reattach=1)
HEAVY = 505
CANCELLED = Load(100, ramp_s=5.0, warmup_s=0.0, window_s=5.5, chunks=250, cancel_at=15)
QUICK_CANCELLED = Load(50, ramp_s=2.0, warmup_s=0.0, window_s=2.5, chunks=250, cancel_at=15)
REST_S = 1.5
"""How long the steady load goes on when the other one has ended."""
NS_PER_MS = 1e6


def promptness(lab: Lab) -> list[Outcome]:
    """F6: POST to 202, to the upstream, and re-attach, while some 300 answers run."""
    load = QUICK_ASKED if lab.quick else ASKED
    with lab.product() as server:
        results = [_beside(lab, server, STEADY, load, "questions") for _ in range(lab.rounds)]
    noise = max(result.noise for result in results)
    figures = (
        ("POST to 202 (committed), p50", 5.0, [each.create.p50_ms for each in results]),
        ("POST to 202 (committed), p99", 25.0, [each.create.p99_ms for each in results]),
        ("POST to the upstream request, p50", 8.0, [each.wire.p50_ms for each in results]),
        ("re-attach to first byte, p50", 5.0, [each.resume.p50_ms for each in results]),
    )
    sound = all(result.good for result in results)
    return [
        Outcome("F6", what, "ms", goal, values, noise=noise, sound=sound)
        for what, goal, values in figures
    ]


def cancelling(lab: Lab) -> list[Outcome]:
    """F12: from the POST of the cancel to the closed upstream."""
    load = QUICK_CANCELLED if lab.quick else CANCELLED
    with lab.product() as server:
        with lab.start(server, load) as running:
            idle = lab.record("cancels, idle", server, running)
        idle_ms = _closed_after_ms(lab, idle)
        lab.upstream.settle()
        busy = _beside(lab, server, HEAVY, load, "cancels")
        busy_ms = _closed_after_ms(lab, busy)
    return [
        _cancel_line(f"idle ({len(idle_ms)} cancels)", 100.0, idle_ms, idle),
        _cancel_line(f"beside {HEAVY} answers ({len(busy_ms)} cancels)", 1000.0, busy_ms, busy),
    ]


def _cancel_line(where: str, goal_ms: float, values_ms: list[float], result: Result) -> Outcome:
    what = f"cancel to upstream closed, p99, {where}"
    p99 = [percentile(values_ms, 0.99)] if values_ms else []
    note = f"p50 {percentile(values_ms, 0.5):.1f} ms" if values_ms else result.first_error
    sound = len(values_ms) == result.created and result.good
    return Outcome("F12", what, "ms", goal_ms, p99, noise=result.noise, note=note, sound=sound)


def _beside(lab: Lab, server: Server, streams: int, load: Load, name: str) -> Result:
    """Run a load in the middle of a steady one."""
    background = steady(streams, load.window_s + REST_S)
    with lab.start(server, background) as steadily:
        time.sleep(background.warmup_s)
        with lab.start(server, load) as running:
            result = lab.record(f"{name} beside {streams} answers", server, running)
        lab.record(f"{streams} answers beside {name}", server, steadily)
    lab.upstream.settle()
    return result


def _closed_after_ms(lab: Lab, result: Result) -> list[float]:
    """Join the times of the cancels with the times at which the upstream saw its streams closed."""
    time.sleep(0.5)
    closed = dict(lab.upstream.stats()["closed_early"])
    return [
        (closed[stream] - asked_ns) / NS_PER_MS
        for stream, asked_ns in result.cancels
        if stream in closed
    ]
