"""The figures, each a function from the lab to lines of the table."""

from collections.abc import Callable

from bench.figures.capacity import capacity, throughput
from bench.figures.cost import cost, latency
from bench.figures.length import length
from bench.figures.many import cost as many_cost
from bench.figures.many import half, on_redis, one_engine, starts, workers
from bench.figures.many import takeover as many_takeover
from bench.figures.memory import idle_sockets, memory
from bench.figures.promptness import cancelling, promptness
from bench.figures.readers import further_reader, late_reader
from bench.figures.takeover import takeover
from bench.lab import Lab
from bench.outcome import Outcome

FIGURES: dict[str, Callable[[Lab], list[Outcome]]] = {
    "F1": cost,
    "F2": capacity,
    "F3": latency,
    "F4": throughput,
    "F5": memory,
    "F6": promptness,
    "F7": further_reader,
    "F8": late_reader,
    "F9": idle_sockets,
    "F10": takeover,
    "F11": length,
    "F12": cancelling,
}

CLUSTER: dict[str, Callable[[Lab], list[Outcome]]] = {
    "M1": starts,
    "M2": many_cost,
    "M4": workers,
    "M5": many_takeover,
    "M7": one_engine,
    "M8": on_redis,
    "M9": half,
}
"""The figures of many machines; M2 measures M3 and M6 as well."""
LINES = [f"M{number}" for number in range(1, 10)]
