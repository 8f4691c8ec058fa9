"""M1 to M9: what many machines add: the way to a worker, the shared store, another process."""

import time
from typing import Any

from bench.cluster import Cluster, cluster
from bench.lab import Lab
from bench.load import Load, Result
from bench.outcome import Outcome, median, percentile

STREAMS = 200
ASKED = Load(50, ramp_s=10.0, warmup_s=0.0, window_s=12.0, chunks=50)
BEGUN_S = 4.0
"""Over which the answers of M2 begin: each start and end is a few transactions that sync."""
FULL_WORKER = 500
FULL_BEGUN_S = 10.0
"""Over which they begin: each start costs some 20 ms of CPU in all processes and engines."""
SLOTS = 20
ROUNDS = 4
ONE_S = 2.0
"""Length of one answer in M4."""
TAKEN = 20
MS = 1000.0
Runs = list[tuple[Result, list[Result], float]]
"""Of each round: the baseline, the servers of the cluster, and the transactions of the database."""


def starts(lab: Lab) -> list[Outcome]:
    """M1: from the admission of a question to the claim of its worker, by the database's clock."""
    with cluster(lab.upstream) as many:
        results, seen = _watched(lab, many)
    waits = [MS * wait for wait in seen.values()]
    sound = all(result.good for result in results) and len(waits) > ASKED.streams * 0.9
    noise = max(result.noise for result in results)
    note = f"{len(waits)} answers, 5 a second"
    what = "enqueue to the first line of the run"
    return [
        Outcome("M1", f"{what}, {name}", "ms", goal, values, noise=noise, note=note, sound=sound)
        for name, goal, values in (
            ("p50", 8.0, [percentile(waits, 0.5)]),
            ("p99", 30.0, [percentile(waits, 0.99)]),
        )
    ]


def _watched(lab: Lab, many: Cluster) -> tuple[list[Result], dict[str, float]]:
    """Ask, and note for each answer under way when it was admitted and when it was claimed."""
    sql = (
        "SELECT id, started_at - dispatched_at FROM request"
        " WHERE status = 'streaming' AND attempt = 1 AND dispatched_at IS NOT NULL"
    )
    seen: dict[str, float] = {}
    server = many.apis[0]
    with lab.start(server, many.part(ASKED, ASKED.streams, server)) as running:
        until = time.monotonic() + ASKED.ramp_s + 1.0
        while time.monotonic() < until:
            seen.update(many.rows(sql))
            time.sleep(0.4)
        results = [lab.record("questions", server, running)]
    lab.upstream.settle()
    return results, seen


def cost(lab: Lab) -> list[Outcome]:
    """M2, M3, M6: added latency, CPU and commits at 200 answers, beside the practical limit."""
    runs = _runs(lab, "redis")
    return [*_latency("M2", runs), _cpu("M3", runs), _commit_line(runs)]


def half(lab: Lab) -> list[Outcome]:
    """M9: the same with half of the answers, where the cores are not full."""
    runs = _runs(lab, "redis", streams=STREAMS // 2)
    return [*_latency("M9", runs, streams=STREAMS // 2), _cpu("M9", runs, streams=STREAMS // 2)]


def one_engine(lab: Lab) -> list[Outcome]:
    """M7: the same without Redis between the processes: PostgreSQL is store and bus."""
    runs = _runs(lab, "postgres")
    return [*_latency("M7", runs, ", NOTIFY"), _cpu("M7", runs, ", NOTIFY")]


def on_redis(lab: Lab) -> list[Outcome]:
    """M8: the same with Redis as store and bus, each write synced."""
    runs = _runs(lab, "redis", store="redis")
    return [*_latency("M8", runs, ", Redis store"), _cpu("M8", runs, ", Redis store")]


def _runs(lab: Lab, bus: str, *, store: str = "postgres", streams: int = STREAMS) -> Runs:
    """Run the baseline and a cluster in turn; count the transactions of PostgreSQL."""
    load = Load(streams, ramp_s=BEGUN_S, warmup_s=2 * BEGUN_S, window_s=lab.window_s)
    runs: Runs = []
    count = _commits if store == "postgres" else _nothing
    with lab.baseline("A") as plain, cluster(lab.upstream, bus=bus, store=store) as many:
        for _ in range(lab.rounds):
            limit = lab.load(f"{streams} answers", plain, load)
            before = count(many)
            ours = many.load(lab, f"{streams} answers, {store} and {bus}", load)
            runs.append((limit, ours, count(many) - before))
    return runs


def _latency(figure: str, runs: Runs, how: str = "", streams: int = STREAMS) -> list[Outcome]:
    lines = []
    for name, goal in (("p50", 25.0), ("p99", 120.0)):
        values = [max(getattr(r.latency, f"{name}_ms") for r in ours) for _, ours, _ in runs]
        plain = median([getattr(limit.latency, f"{name}_ms") for limit, *_ in runs])
        lines.append(
            Outcome(
                figure,
                f"added latency at {streams} answers, {name}{how}",
                "ms",
                goal,
                values,
                baseline=f"A {plain:.2f} ms",
                ratio=median(values) / plain,
                noise=_noise(runs),
                sound=_sound(runs),
            )
        )
    return lines


def _cpu(figure: str, runs: Runs, how: str = "", streams: int = STREAMS) -> Outcome:
    ours = [_us_per_chunk(results) for _, results, _ in runs]
    plain = [limit.sut_us_per_chunk for limit, *_ in runs]
    ratios = [mine / theirs for mine, theirs in zip(ours, plain, strict=True)]
    return Outcome(
        figure,
        f"CPU per chunk of all processes at {streams} answers, ratio to A{how}",
        "x",
        2.5,
        ratios,
        baseline=f"A {median(plain):.1f} µs",
        ratio=median(ratios),
        noise=_noise(runs),
        note=f"{median(ours):.1f} µs",
        sound=_sound(runs),
    )


def _us_per_chunk(results: list[Result]) -> float:
    """Each client counted the CPU of all processes, and the chunks of its own server."""
    cpu = median([result.sut_cpu_s / result.window_s for result in results])
    return 1e6 * cpu / max(1.0, sum(result.chunks_per_s for result in results))


def _commit_line(runs: Runs) -> Outcome:
    values = [
        commits / max(1, sum(result.delivered for result in results))
        for _, results, commits in runs
    ]
    what = f"transactions of the database per chunk at {STREAMS} answers, starts and ends included"
    return Outcome("M6", what, "", 0.15, values, noise=_noise(runs), sound=_sound(runs))


def _commits(many: Cluster) -> float:
    """Return how many transactions there have been; processes tell it up to a second late."""
    time.sleep(1.2)
    sql = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    return float(many.rows(sql)[0][0])


def _nothing(_: Cluster) -> float:
    return 0.0


def _noise(runs: Runs) -> float:
    return median([result.noise for limit, ours, _ in runs for result in (limit, *ours)])


def _sound(runs: Runs) -> bool:
    return all(result.kept_up for limit, ours, _ in runs for result in (limit, *ours))


def workers(lab: Lab) -> list[Outcome]:
    """M4: how much one worker takes at once, and what a second one brings."""
    one, two = _spread(lab, 1), _spread(lab, 2)
    what = f"time for {ROUNDS * SLOTS} answers with {SLOTS} slots a worker: one worker to two"
    note = f"{one[0]:.1f} s, {two[0]:.1f} s; wait in the queue {one[1]:.1f} s, {two[1]:.1f} s"
    lines = [Outcome("M4", what, "x", 1.6, [one[0] / two[0]], sense="at least", note=note)]
    load = Load(FULL_WORKER, rate=4, ramp_s=FULL_BEGUN_S, warmup_s=2 * FULL_BEGUN_S, window_s=3.0)
    with cluster(lab.upstream, workers=1) as many:
        results = many.load(lab, f"{FULL_WORKER} answers on one worker", load)
        spread = many.rows("SELECT count(DISTINCT worker_id) FROM request")
    live = [float(sum(result.live for result in results))]
    what = f"answers at once on one worker, {load.rate} chunks/s each"
    sound = all(result.kept_up for result in results) and spread == [(1,)]
    noise = max(result.noise for result in results)
    lines.append(
        Outcome("M4", what, "", FULL_WORKER, live, sense="at least", noise=noise, sound=sound)
    )
    return lines


def _spread(lab: Lab, count: int) -> tuple[float, float]:
    """Ask for more than the slots hold; return the time to the last end, and the mean wait."""
    streams, chunks = ROUNDS * SLOTS, int(ONE_S * 25)
    load = Load(streams, rate=25, ramp_s=0.2, warmup_s=0.0, window_s=2.0, chunks=chunks)
    with cluster(lab.upstream, workers=count, slots=SLOTS) as many:
        many.load(lab, f"{streams} answers, {count} workers", load)
        sql = (
            "SELECT max(completed_at) - min(created_at), avg(started_at - created_at)"
            " FROM request WHERE status = 'completed'"
        )
        ((whole, wait),) = many.rows(sql)
    return float(whole), float(wait)


def takeover(lab: Lab) -> list[Outcome]:
    """M5: kill a worker under its answers; until the last of them is answered by another."""
    settings: dict[str, Any] = {"lease_s": "6", "reap_s": "1"} if lab.quick else {}
    lease_s = 6.0 if lab.quick else 30.0
    load = Load(2 * TAKEN, rate=2, chunks=150, ramp_s=0.5, warmup_s=60.0, window_s=1.0)
    with (
        cluster(lab.upstream, **settings) as many,
        lab.start(many.apis[0], many.part(load, load.streams, many.apis[0])),
    ):
        streaming = "SELECT count(*) FROM request WHERE status = 'streaming'"
        ready = many.wait_for(streaming, load.streams, 20.0)
        many.workers[0].kill()
        killed = time.monotonic()
        lost = (
            "SELECT count(*) FROM request WHERE status = 'streaming' AND worker_id <> "
            "(SELECT worker_id FROM request WHERE attempt = 2 LIMIT 1)"
        )
        begun = "SELECT least(count(*), 1) FROM request WHERE attempt = 2"
        again = many.wait_for(begun, 1, lease_s + 15)
        all_again = many.wait_for(lost, 0, 15.0)
        seconds = time.monotonic() - killed
    lab.upstream.settle()
    what = f"kill -9 of a worker until its answers run again, lease {lease_s:.0f} s"
    sound = ready and again and all_again
    return [Outcome("M5", what, "s", lease_s + 5, [seconds], sound=sound)]
