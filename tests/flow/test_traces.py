"""Traces: a real collector gets a span for each request and each call, under the caller's trace."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from perdure.traceparent import valid
from tests.world.server import environment
from tests.world.waiting import eventually
from tests.world.world import World

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
NAMED = f"00-{TRACE}-{PARENT}-01"


class Collector:
    """An OTLP endpoint over HTTP, which keeps all spans it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()
        keep = self._keep

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                keep(self.path, self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _keep(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.services |= {
                one.value.string_value
                for one in resource.resource.attributes
                if one.key == "service.name"
            }
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def of(self, request_id: str) -> list[Any]:
        """Return the spans of a request, by their start."""
        found = [span for span in self.spans if told(span)["gen_ai.response.id"] == request_id]
        return sorted(found, key=lambda span: span.start_time_unix_nano)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def told(span: Any) -> dict[str, Any]:
    """Return a span's attributes."""
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


async def spans_of(collector: Collector, request_id: str, count: int) -> list[Any]:
    async def there() -> list[Any]:
        found = collector.of(request_id)
        return found if len(found) >= count else []

    found = await eventually(there, within_s=20, what=f"{count} spans of {request_id}")
    assert len(found) == count
    return found


async def test_a_request_s_spans_reach_a_collector_under_the_caller_s_trace(
    tmp_path, rng, collector, monkeypatch
):
    """POST with `traceparent`; a try that fails, a kill, an answer: all below one span."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    async with World(tmp_path, rng) as world:
        world.api.http.headers["traceparent"] = NAMED
        script = {"name": "traced", "chunks": 20, "rate": 20, "fail_times": 1, "status": 503}
        request_id = await world.ask(script)
        await world.called("traced", count=2)
        await world.server.kill9()
        await world.server.start()
        await world.judge_complete()
        spans = await spans_of(collector, request_id, 3)
        whole = next(span for span in spans if span.name.startswith("invoke_agent"))
        calls = [span for span in spans if span is not whole]
        assert {span.trace_id.hex() for span in spans} == {TRACE}
        assert whole.parent_span_id.hex() == PARENT
        assert {call.parent_span_id for call in calls} == {whole.span_id}
        assert [told(call).get("error.type") for call in calls] == ["upstream_error", None]
        assert told(calls[1])["perdure.attempt"] == 2
        assert told(whole)["gen_ai.operation.name"] == "invoke_agent"
        assert told(whole)["gen_ai.conversation.id"] == world.accepted[request_id]["chat_id"]
        assert told(whole)["perdure.status"] == "completed"
        assert told(whole)["gen_ai.usage.output_tokens"] > 0
        assert collector.services == {"perdure"}
        sent = [call.headers["traceparent"] for call in world.calls("traced")]
        assert all(header.startswith(f"00-{TRACE}-") for header in sent)
        assert sent[-1].split("-")[2] == calls[1].span_id.hex()


async def test_requests_that_are_cancelled_or_removed_have_their_span_and_a_trace_of_their_own(
    tmp_path, rng, collector, monkeypatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/v1/traces")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    async with World(tmp_path, rng) as world:
        await _cancelled(world, collector)
        await _removed(world, collector)


async def _cancelled(world, collector):
    request_id = await world.ask({"name": "stop", "chunks": 500, "rate": 20})
    await world.called("stop")
    await world.api.cancel(request_id)
    await world.api.cancel(request_id)
    call, whole = await spans_of(collector, request_id, 2)
    if call.name.startswith("invoke_agent"):
        call, whole = whole, call
    assert told(whole)["perdure.status"] == "cancelled"
    assert call.parent_span_id == whole.span_id
    assert not whole.parent_span_id
    assert call.trace_id == whole.trace_id


async def _removed(world, collector):
    """Guard: `Acceptance._tell_of_ends`; nothing of them is left that could be read afterwards."""
    collector.spans.clear()
    made = [await world.ask({"name": f"gone {n}", "chunks": 900, "rate": 20}) for n in range(2)]
    ended = await world.ask({"name": "ended", "chunks": 1})
    chat_id = world.accepted[made[1]]["chat_id"]
    withdrawn = await world.ask({"name": "withdrawn", "chunks": 1}, chat_id=chat_id)
    message_id = world.accepted[withdrawn]["user_message_id"]
    for n in range(2):
        await world.called(f"gone {n}")
    await world.api.ended(ended)
    for path in (f"requests/{ended}", f"requests/{made[0]}", f"messages/{message_id}"):
        assert (await world.api.http.delete(f"/api/{path}")).status_code == 204, path
    assert (await world.api.http.delete(f"/api/chats/{chat_id}")).status_code == 204

    async def there():
        found = [span for span in collector.spans if span.name.startswith("invoke_agent")]
        return found if len(found) >= 4 else []

    found = await eventually(there, within_s=20, what="the spans of four requests")
    ends = sorted(told(span)["perdure.status"] for span in found)
    assert ends == ["cancelled", "cancelled", "cancelled", "completed"]


async def test_without_opentelemetry_the_caller_s_trace_is_passed_on_as_it_is(tmp_path, rng):
    """Guard: the row keeps it, so that it survives a restart."""
    async with World(tmp_path, rng) as world:
        await world.ask({"name": "none", "chunks": 2})
        world.api.http.headers["traceparent"] = NAMED
        await world.ask({"name": "named", "chunks": 40, "rate": 20})
        await world.called("named")
        await world.server.kill9()
        await world.server.start()
        await world.judge_complete()
        assert [call.headers.get("traceparent") for call in world.calls("none")] == [None]
        sent = [call.headers.get("traceparent") for call in world.calls("named")]
        assert sent == [NAMED, NAMED]


def test_nothing_of_opentelemetry_is_imported_when_nobody_asks_for_it():
    """But for its bare interface, which FastAPI looks for by itself."""
    code = (
        "import sys; from perdure.app import create_app; from perdure.settings import Settings;"
        " create_app(settings=Settings());"
        " heavy = ('opentelemetry.sdk', 'opentelemetry.exporter', 'perdure.spans');"
        " sys.exit(any(name.startswith(heavy) for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (NAMED, NAMED),
        (f" {NAMED.upper()} ", NAMED),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-brings", NAMED),
        (f"{NAMED}-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        ("nonsense\r\nx: y", None),
        (None, None),
    ],
)
def test_only_what_is_a_traceparent_is_kept(given, kept):
    """Source: W3C Trace Context, versioning of traceparent."""
    assert valid(given) == kept
