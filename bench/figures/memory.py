"""F5 and F9: what an answer and an idle reader hold in memory, and whether idle ones disturb."""

import time

from bench.lab import Lab
from bench.load import Load, Result, steady
from bench.outcome import Outcome
from bench.servers import Server

SILENT = "fake-r1-c2-t600000"
"""An answer whose first chunk comes after ten minutes: its readers are idle."""

WARM_UP = Load(20, rate=100, warmup_s=0.3, window_s=0.5, ramp_s=0.2)
SHORT = Load(200, warmup_s=2.0, window_s=1.0)
LONG = Load(200, rate=20, size=2000, warmup_s=5.4, window_s=0.8)
"""Each answer has grown beyond 200 kB when its window ends."""

IDLE_READERS = 1000
IDLE_SOCKETS = 5000
IDLE_RAMP_S = 12.0
"""Opening a stream costs a millisecond or two: all shall be open, and idle, when it is measured."""
ACTIVE = steady(100, 1.5)
UNAFFECTED_RATIO = 2.0
UNAFFECTED_FLOOR_MS = 5.0


def memory(lab: Lab) -> list[Outcome]:
    """F5: memory per running answer with a reader, and per idle reader."""
    lines = []
    kinds = (("short answers", SHORT), ("200 kB answers", LONG))
    for name, load in kinds[1:] if lab.quick else kinds:
        with lab.product() as server:
            lab.load("warm-up", server, WARM_UP)
            before = server.pss_kib()
            result = lab.load(f"memory, {name}", server, load)
        each = (result.pss_kib - before) / load.streams
        what = f"memory per running answer, {name}"
        lines.append(Outcome("F5", what, "KiB", 250.0, [each], sound=result.good))
    with lab.product() as server:
        lab.load("warm-up", server, WARM_UP)
        each = _hold(lab, server, IDLE_READERS, 1.0, None)[0]
    lines.append(Outcome("F5", "memory per idle reader", "KiB", 32.0, [each]))
    return lines


def idle_sockets(lab: Lab) -> list[Outcome]:
    """F9: 5,000 idle live sockets, and new answers beside them."""
    with lab.product() as server:
        lab.load("warm-up", server, WARM_UP)
        alone = lab.load("without idle sockets", server, ACTIVE)
        each, live, beside = _hold(lab, server, IDLE_SOCKETS, IDLE_RAMP_S, ACTIVE)
    lines = [
        Outcome("F9", "idle live sockets held", "", IDLE_SOCKETS, [float(live)], sense="at least"),
        Outcome("F9", "memory per idle live socket", "KiB", 32.0, [each]),
    ]
    if beside:
        lines += [
            _unaffected("added latency p99", alone.latency.p99_ms, beside.latency.p99_ms, beside),
            _unaffected("POST to 202, p50", alone.create.p50_ms, beside.create.p50_ms, beside),
        ]
    return lines


def _unaffected(what: str, alone_ms: float, beside_ms: float, result: Result) -> Outcome:
    """Compare with the same load on an empty server; differences below the floor are noise."""
    goal = max(UNAFFECTED_RATIO * alone_ms, UNAFFECTED_FLOOR_MS)
    return Outcome(
        "F9",
        f"{what} beside them (at most {UNAFFECTED_RATIO:.0f} x alone)",
        "ms",
        goal,
        [beside_ms],
        baseline=f"alone {alone_ms:.2f} ms",
        ratio=beside_ms / alone_ms if alone_ms > 0 else None,
        noise=result.noise,
        sound=result.good,
    )


def _hold(
    lab: Lab, server: Server, readers: int, ramp_s: float, active: Load | None
) -> tuple[float, int, Result | None]:
    """Open idle readers of one silent answer; return KiB each, the living, the load beside."""
    request_id = server.call("POST", "/api/invoke_endpoint", {"message": SILENT})["request_id"]
    time.sleep(0.3)
    before = server.pss_kib()
    stay_s = active.warmup_s + active.window_s + 2.0 if active else 0.5
    load = Load(
        readers,
        ramp_s=ramp_s,
        warmup_s=ramp_s + 1.0,
        window_s=stay_s,
        chunks=0,
        stop_after_window=True,
    )
    path = f"/api/requests/{request_id}/stream"
    beside: Result | None = None
    with lab.start_readers(server, path, load) as holding:
        time.sleep(load.warmup_s)
        after = server.pss_kib()
        if active:
            with lab.start(server, active) as running:
                beside = lab.record(f"beside {readers} idle sockets", server, running)
        held = lab.record(f"{readers} idle sockets", server, holding)
    server.call("POST", f"/api/requests/{request_id}/cancel")
    return (after - before) / max(held.live, 1), held.live, beside
