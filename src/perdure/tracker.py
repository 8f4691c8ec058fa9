"""The tracker: what agents themselves record of their answers, and where that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from perdure.model import Feedback


class Span(msgspec.Struct, kw_only=True, frozen=True):
    """A step of a trace; `inputs` and `outputs` are JSON text, perhaps cut; times in ms."""

    id: str
    parent_id: str | None
    name: str
    kind: str
    status: str
    offset_ms: float
    duration_ms: float | None
    inputs: str | None
    outputs: str | None
    error: str | None


class Trace(msgspec.Struct, kw_only=True, frozen=True):
    """An agent's own record of an answer; `spans_left_out` counts those over the limit."""

    trace_id: str
    state: str
    started_at: float
    duration_ms: int | None
    spans: Sequence[Span]
    spans_left_out: int = 0
    link: str | None = None


class Tracker(Protocol):
    """Where agents keep the traces of their answers; nothing that matters waits for it."""

    async def trace(self, trace_id: str) -> Trace:
        """Return one; raises `NotFound` (`trace_not_found`), `Unavailable`."""

    async def tell(self, verdict: Feedback, author: str) -> None:
        """Put a verdict beside its trace; a later one of the same author and name replaces it."""

    async def close(self) -> None:
        """Let go of connections."""
