"""What goes out about an agent's trace."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import msgspec
from pydantic import BaseModel, Field

from perdure import tracker
from perdure.routers.shapes import AT, TRACE_ID, example, since


class Span(BaseModel):
    """One step that the agent recorded."""

    model_config = example(
        id="9c1b2d3e4f506172",
        parent_id=None,
        name="answer",
        kind="AGENT",
        status="OK",
        offset_ms=0.0,
        duration_ms=812.5,
        inputs='{"question": "Why?"}',
        outputs='"Because."',
        error=None,
    )

    id: str
    parent_id: str | None
    name: str
    kind: str = Field(description="`AGENT`, `TOOL`, `CHAT_MODEL` …, as the agent says.")
    status: str = Field(description="`OK`, `ERROR`, `UNSET`.")
    offset_ms: float = Field(description="Its start, after that of the first one.")
    duration_ms: float | None
    inputs: str | None = Field(description="JSON text, perhaps cut.")
    outputs: str | None = Field(description="JSON text, perhaps cut.")
    error: str | None


class Trace(BaseModel):
    """The agent's own record of an answer."""

    model_config = example(
        trace_id=TRACE_ID,
        state="OK",
        started_at=AT,
        duration_ms=812,
        spans=[],
        spans_left_out=0,
        link=None,
    )

    trace_id: str
    state: str
    started_at: datetime
    duration_ms: int | None
    spans: list[Span]
    spans_left_out: int = Field(description="Spans over the number that is shown.")
    link: str | None = Field(description="Its page at the tracking server.")

    @classmethod
    def of(cls, trace: tracker.Trace) -> Self:
        """Show a trace."""
        fields = msgspec.structs.asdict(trace)
        fields["spans"] = [Span(**msgspec.structs.asdict(span)) for span in trace.spans]
        fields["started_at"] = since(trace.started_at)
        return cls(**fields)
