"""What a reader gets of the rows in which a log lies; the same for all adapters on servers."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate


def cut(segments: Iterable[tuple[int, bytes]], after: int, bytes_max: int) -> list[bytes]:
    """Return the events after the cursor, about `bytes_max` bytes of them, never none.

    `segments`: each the number of its first event and its events, one a line.
    """
    events: list[bytes] = []
    for first, data in segments:
        events.extend(data.split(b"\n")[max(0, after + 1 - first) :])
    sizes = accumulate(map(len, events))
    fitting = sum(size < bytes_max for size in sizes)
    return events[: fitting + 1]
