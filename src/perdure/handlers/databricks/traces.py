"""Where the id of an agent's trace may stand in what a server sends."""

from __future__ import annotations

from typing import Any

TRACE_HEADER = "x-mlflow-return-trace-id"
"""What MLflow's AgentServer wants to see before it tells a trace's id."""


def trace_in(frame: Any) -> str | None:
    """Return the trace id that a frame or a whole answer tells, if it does.

    `databricks_request_id`, and the `id` that Model Serving puts on every event, are none.
    """
    if not isinstance(frame, dict):
        return None
    for holder in (frame, frame.get("item"), frame.get("response")):
        found = _told(holder)
        if found:
            return found
    return _name(frame.get("trace_id"))


def _told(holder: Any) -> str | None:
    if not isinstance(holder, dict):
        return None
    path: Any = holder.get("databricks_output")
    for key in ("trace", "info", "trace_id"):
        path = path.get(key) if isinstance(path, dict) else None
    metadata = holder.get("metadata")
    return _name(path) or (_name(metadata.get("trace_id")) if isinstance(metadata, dict) else None)


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
