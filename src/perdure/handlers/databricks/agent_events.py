"""The stream of a ResponsesAgent, as Model Serving and MLflow's AgentServer send it. Pure.

Events like those of the Responses API, but usually without a last one: `[DONE]` is the end, and an
end without it is a drop.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perdure.deltas import Finish, Plain, Trace
from perdure.handlers import failures
from perdure.handlers.agent_log import AgentLog
from perdure.handlers.databricks.traces import trace_in
from perdure.handlers.forms import frame_of

DONE = b"[DONE]"


class AgentEvents:
    """Reads one answer.

    Attributes:
        ended: the end came; nothing after it counts.
        whole: no text has begun without having been said to be done.

    """

    def __init__(self, *secrets: str) -> None:
        self.ended = False
        self.whole = True
        self._log = AgentLog(*secrets)
        self._trace_id: str | None = None

    @property
    def flows(self) -> bool:
        """Whether more of the answer is to come."""
        return not self.ended and self._log.finish is None

    def read(self, data: bytes) -> Iterator[Plain]:
        """Yield what a frame says. Raises `UpstreamError` for failures and garbage."""
        if self.ended or data[:6] == DONE:
            self.ended = True
            return
        frame = frame_of(data)
        yield from self._trace(frame)
        yield from self._log.read_event(frame)
        kind = frame.get("type") if isinstance(frame, dict) else None
        if kind == "response.output_text.delta":
            self.whole = False
        elif kind == "response.output_item.done" or self._log.finish is not None:
            self.whole = True

    def read_whole(self, answer: Any) -> Iterator[Plain]:
        """Yield what an answer says that came in one piece."""
        if not isinstance(answer, dict):
            raise failures.garbage("an answer that is no object.")
        yield from self._trace(answer)
        yield from self._log.read_whole(answer)
        self.ended = True

    def rest(self) -> Iterator[Plain]:
        """Yield what waited for the end: nothing."""
        return iter(())

    def finish(self) -> Finish:
        """Return the last delta. Raises `UpstreamError` if the end did not come."""
        if self._log.finish is not None:
            return self._log.finish
        if not self.ended:
            raise failures.dropped("the stream ended without [DONE].")
        return Finish("stop")

    def _trace(self, frame: Any) -> Iterator[Plain]:
        trace_id = trace_in(frame)
        if trace_id and trace_id != self._trace_id:
            self._trace_id = trace_id
            yield Trace(trace_id)
