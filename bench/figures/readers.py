"""F7 and F8: what a further reader of the same answer costs, and how fast a late one catches up."""

import time

from bench.lab import Lab
from bench.load import Load, Result, steady
from bench.outcome import Outcome, median
from bench.servers import Server

ANSWERS = 150
FEW, MANY = 1, 3
LONG_CHUNKS = 10_000
LATE_READERS = Load(9, ramp_s=2.7, warmup_s=0.0, window_s=2.7, chunks=LONG_CHUNKS)
FINISH_TIMEOUT_S = 30.0


def further_reader(lab: Lab) -> list[Outcome]:
    """F7: CPU per delivery of the second and third reader."""
    values, noise, sound = [], [], True
    with lab.product() as server:
        for _ in range(lab.rounds):
            one, three = (_with_viewers(lab, server, viewers) for viewers in (FEW, MANY))
            noise.append(max(one.noise, three.noise))
            sound = sound and one.kept_up and three.kept_up
            values.append(_extra_us(one, three))
    what = f"a further reader, CPU per delivery ({ANSWERS} answers, {FEW} and {MANY} readers)"
    values = [value for value in values if value > 0]
    return [Outcome("F7", what, "µs", 12.0, values, noise=median(noise), sound=sound)]


def late_reader(lab: Lab) -> list[Outcome]:
    """F8: events per second to a reader of a finished answer, from connect to its last event."""
    with lab.product() as server:
        word = f"fake-r0-c{LONG_CHUNKS}-s250"
        request_id = server.call("POST", "/api/invoke_endpoint", {"message": word})["request_id"]
        wait_until_done(server, request_id)
        path = f"/api/requests/{request_id}/stream"
        with lab.start_readers(server, path, LATE_READERS) as running:
            result = lab.record("late readers", server, running)
    rate = LONG_CHUNKS / (result.whole.p50_ms / 1000) if result.good else 0.0
    what = f"late reader of a finished answer of {LONG_CHUNKS:,} chunks"
    line = Outcome("F8", what, "events/s", 200_000.0, [rate], sense="at least", noise=result.noise)
    return [line]


def wait_until_done(server: Server, request_id: str) -> None:
    """Wait until a request is over.

    Raises:
        TimeoutError: it is not, after half a minute.

    """
    deadline = time.monotonic() + FINISH_TIMEOUT_S
    while time.monotonic() < deadline:
        status = server.call("GET", f"/api/requests/{request_id}/status")["status"]
        if status not in {"queued", "streaming"}:
            return
        time.sleep(0.05)
    raise TimeoutError(f"{request_id} is still under way")


def _with_viewers(lab: Lab, server: Server, viewers: int) -> Result:
    load = steady(ANSWERS, lab.window_s, viewers)
    return lab.load(f"{ANSWERS} answers, {viewers} readers each", server, load)


def _extra_us(one: Result, three: Result) -> float:
    """Divide the further CPU by the further deliveries, both per second."""
    cpu = three.sut_cpu_share - one.sut_cpu_share
    deliveries = three.chunks_per_s - one.chunks_per_s
    return 1e6 * cpu / deliveries if deliveries > 0 else -1.0
