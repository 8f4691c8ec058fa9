"""Spans for OpenTelemetry, in the words of its conventions for generative AI.

They hold ids, times, numbers and codes; nothing that people or agents said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import context as current
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace import TraceFlags as Flags

from perdure.errors import PerdureError
from perdure.model import Request
from perdure.traceparent import UPSTREAM
from perdure.traces import Traces

Attributes = dict[str, str | int]
_IDS: ContextVar[tuple[int, int] | None] = ContextVar("perdure.spans.ids", default=None)


class _Ids(RandomIdGenerator):
    """Gives the ids that `_IDS` names, else random ones."""

    def generate_trace_id(self) -> int:
        """Return the next trace's id."""
        ids = _IDS.get()
        return ids[0] if ids else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """Return the next span's id."""
        ids = _IDS.get()
        return ids[1] if ids else super().generate_span_id()


class Spans(Traces):
    """Sends spans to where `OTEL_EXPORTER_OTLP_*` say.

    Args:
        exporter: another place to send them to.

    """

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        named = OTELResourceDetector().detect()
        own = Resource({} if SERVICE_NAME in named.attributes else {SERVICE_NAME: "perdure"})
        self._provider = TracerProvider(
            resource=Resource.create().merge(own), id_generator=_Ids(), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("perdure")

    @property
    def wanted(self) -> bool:
        """Say yes."""
        return True

    @contextmanager
    def call(self, request: Request, attempt: int) -> Iterator[None]:
        """Make the span of a call; spans that the agent's own code makes lie below it."""
        span = self._tracer.start_span(
            f"chat {request.agent_id}",
            context=_below(self._of(request)),
            kind=SpanKind.CLIENT,
            attributes=_about(request, "chat") | {"perdure.attempt": attempt},
        )
        upstream = UPSTREAM.set(_header(span.get_span_context()))
        token = current.attach(trace.set_span_in_context(span))
        try:
            yield
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR))
            code = error.code if isinstance(error, PerdureError) else type(error).__name__
            span.set_attribute("error.type", code)
            raise
        finally:
            current.detach(token)
            UPSTREAM.reset(upstream)
            span.end()

    def ended(self, request: Request) -> None:
        """Make the span of a request, from its question to its end."""
        own, caller = self._of(request), _caller(request)
        token = _IDS.set((own.trace_id, own.span_id))
        try:
            span = self._tracer.start_span(
                f"invoke_agent {request.agent_id}",
                context=_below(caller) if caller else current.Context(),
                kind=SpanKind.SERVER if caller else SpanKind.INTERNAL,
                attributes=_about(request, "invoke_agent") | _outcome(request),
                start_time=_nanoseconds(request.created_at),
            )
        finally:
            _IDS.reset(token)
        if request.error is not None:
            span.set_status(Status(StatusCode.ERROR, request.error.code))
        span.end(_nanoseconds(request.completed_at or request.created_at))

    def close(self) -> None:
        """Send what was not sent yet; may take seconds."""
        self._provider.shutdown()

    def _of(self, request: Request) -> SpanContext:
        """Return the context of a request's own span, the same in every process."""
        digest = hashlib.sha256(request.id.encode()).digest()
        span_id = int.from_bytes(digest[:8], "big")
        caller = _caller(request)
        if caller is not None:
            return SpanContext(
                caller.trace_id, span_id, is_remote=True, trace_flags=caller.trace_flags
            )
        trace_id = int.from_bytes(digest[8:24], "big")
        verdict = self._provider.sampler.should_sample(None, trace_id, "")
        sampled = verdict.decision is Decision.RECORD_AND_SAMPLE
        flags = Flags(Flags.SAMPLED if sampled else Flags.DEFAULT)
        return SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)


def _caller(request: Request) -> SpanContext | None:
    if request.traceparent is None:
        return None
    _, trace_id, span_id, flags = request.traceparent.split("-")
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=Flags(int(flags, 16))
    )


def _below(parent: SpanContext) -> current.Context:
    return trace.set_span_in_context(NonRecordingSpan(parent), current.Context())


def _header(span: SpanContext) -> str:
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"


def _about(request: Request, operation: str) -> Attributes:
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "perdure",
        "gen_ai.agent.id": request.agent_id,
        "gen_ai.agent.name": request.agent_id,
        "gen_ai.conversation.id": request.chat_id,
        "gen_ai.response.id": request.id,
    }


def _outcome(request: Request) -> Attributes:
    told: Attributes = {
        "perdure.status": request.status.value,
        "perdure.attempts": request.attempt,
        "perdure.crashes": request.crashes,
    }
    for key in ("input_tokens", "output_tokens"):
        if isinstance(count := (request.usage or {}).get(key), int):
            told[f"gen_ai.usage.{key}"] = count
    if request.error is not None:
        told["error.type"] = request.error.code
    return told


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
