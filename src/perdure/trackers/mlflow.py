"""MLflow's tracking server, or Databricks', or a plain database file: traces and assessments.

MLflow's library blocks, so it works in a few threads of its own; nobody waits for one that hangs.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from perdure.errors import NotFound, PerdureError, Unavailable
from perdure.model import Feedback
from perdure.tracker import Span, Trace

T = TypeVar("T")

THREADS = 4
SPANS_MAX = 500
CONTENT_CHARACTERS_MAX = 20_000
MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "ENDPOINT_NOT_FOUND"})
NANOSECONDS = 1e6


class MlflowTracker:
    """Reads traces and logs verdicts.

    Args:
        tracking_uri: `databricks`, `http://…`, or what else MLflow knows (`sqlite:///…`).
        timeout_s: how long one call may take.

    """

    def __init__(self, tracking_uri: str, timeout_s: float) -> None:
        self._uri = tracking_uri
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mlflow")
        self._client: Any = None

    async def trace(self, trace_id: str) -> Trace:
        """Return a trace; see `ports.Tracker`."""
        return await self._call(lambda client: self._read(client, trace_id))

    async def tell(self, verdict: Feedback, author: str) -> None:
        """Log a verdict, or change the one that its author gave before under the same name."""
        await self._call(lambda client: _assess(client, verdict, author))

    async def close(self) -> None:
        """Let go of the threads; one that hangs ends with the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _read(self, client: Any, trace_id: str) -> Trace:
        found = client.get_trace(trace_id)
        return trace_of(found, self._link(found))

    async def _call(self, work: Callable[[Any], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await loop.run_in_executor(self._threads, self._work, work)
        except TimeoutError:
            detail = f"The tracking server did not answer within {self._timeout_s:g} s."
            raise Unavailable(detail, code="tracker_unavailable") from None

    def _work(self, work: Callable[[Any], T]) -> T:
        """Do it in a thread; MLflow's errors become ours."""
        try:
            if self._client is None:
                self._client = _connect(self._uri, self._timeout_s)
            return work(self._client)
        except Exception as error:  # noqa: BLE001  # MLflow lets those of all its stores through
            raise _ours(error) from None

    def _link(self, trace: Any) -> str | None:
        """Return the address of the trace's page, where the tracking server has pages."""
        experiment = trace.info.experiment_id
        if not experiment:
            return None
        place = f"experiments/{experiment}/traces?selectedEvaluationId={quote(trace.info.trace_id)}"
        if self._uri.startswith(("http://", "https://")):
            return f"{self._uri.rstrip('/')}/#/{place}"
        host = os.environ.get("DATABRICKS_HOST", "").rstrip("/")
        if self._uri.startswith("databricks") and host:
            return f"{host if '://' in host else f'https://{host}'}/ml/{place}"
        return None


def trace_of(trace: Any, link: str | None = None) -> Trace:
    """Return MLflow's trace as ours: spans in the order of their start, contents cut."""
    spans = sorted(trace.data.spans, key=lambda span: span.start_time_ns or 0)
    began_ns = spans[0].start_time_ns if spans else 0
    return Trace(
        trace_id=trace.info.trace_id,
        state=str(getattr(trace.info.state, "value", trace.info.state)),
        started_at=trace.info.request_time / 1000,
        duration_ms=trace.info.execution_duration,
        spans=[_span(span, began_ns) for span in spans[:SPANS_MAX]],
        spans_left_out=max(0, len(spans) - SPANS_MAX),
        link=link,
    )


def _span(span: Any, began_ns: int) -> Span:
    ended_ns = span.end_time_ns
    status = str(getattr(span.status.status_code, "value", span.status.status_code))
    return Span(
        id=span.span_id,
        parent_id=span.parent_id,
        name=span.name,
        kind=str(span.span_type or ""),
        status=status,
        offset_ms=(span.start_time_ns - began_ns) / NANOSECONDS,
        duration_ms=(ended_ns - span.start_time_ns) / NANOSECONDS if ended_ns else None,
        inputs=_shown(span.inputs),
        outputs=_shown(span.outputs),
        error=span.status.description or _raised(span) if status == "ERROR" else None,
    )


def _raised(span: Any) -> str | None:
    for event in span.events or ():
        said = (event.attributes or {}).get("exception.message")
        if said:
            return str(said)[:CONTENT_CHARACTERS_MAX]
    return None


def _shown(value: Any) -> str | None:
    if value is None:
        return None
    text = msgspec.json.format(msgspec.json.encode(value, enc_hook=str)).decode()
    if len(text) > CONTENT_CHARACTERS_MAX:
        text = text[:CONTENT_CHARACTERS_MAX] + "…"
    return text


def _assess(client: Any, verdict: Feedback, author: str) -> None:
    from mlflow.entities import AssessmentSource  # noqa: PLC0415  # it comes with an extra
    from mlflow.entities import Feedback as Assessed  # noqa: PLC0415

    given = Assessed(
        name=verdict.name,
        value=verdict.value,
        rationale=verdict.rationale,
        source=AssessmentSource(source_type="HUMAN", source_id=author),
        metadata={"perdure_request_id": verdict.request_id, "given_at": _moment(verdict)},
    )
    info = client.get_trace_info(verdict.trace_id)
    for before in _given_before(info, verdict.name, author):
        client.update_assessment(verdict.trace_id, before, given)
        return
    client.log_assessment(verdict.trace_id, given)


def _given_before(info: Any, name: str, author: str) -> Iterator[str]:
    for one in info.assessments or ():
        told = (one.name, one.source.source_type, one.source.source_id)
        if told == (name, "HUMAN", author) and one.feedback is not None:
            yield one.assessment_id


def _moment(verdict: Feedback) -> str:
    return dt.datetime.fromtimestamp(verdict.created_at, dt.UTC).isoformat()


def _connect(uri: str, timeout_s: float) -> Any:
    """Return MLflow's client of traces; what it reads from the environment is given before."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(int(timeout_s)))
    from mlflow.tracing.client import TracingClient  # noqa: PLC0415  # it comes with an extra

    return TracingClient(uri)


def _ours(error: Exception) -> PerdureError:
    if getattr(error, "error_code", "") in MISSING:
        detail = "The tracking server does not know this trace (yet)."
        return NotFound(detail, code="trace_not_found")
    detail = f"The tracking server cannot be asked now: {type(error).__name__}."
    return Unavailable(detail, code="tracker_unavailable")
