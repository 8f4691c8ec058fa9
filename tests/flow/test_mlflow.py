"""A real MLflow agent and a real tracking store: streams, tools, failures, traces, verdicts.

One pair of servers for all tests of a run, since they start slowly.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.async_api import async_playwright

from perdure.errors import NotFound, Unavailable
from perdure.handlers.databricks import Credentials, DatabricksHandler
from perdure.ports import Agent
from perdure.sections import Mlflow
from perdure.trackers import mlflow as tracking
from perdure.trackers.mlflow import MlflowTracker
from tests.databricks.mlflow_servers import Servers, running
from tests.early import START_S
from tests.flow.serving import Served, serving
from tests.world.server import free_port
from tests.world.waiting import eventually

pytestmark = pytest.mark.timeout(2 * START_S)


@pytest.fixture(scope="module")
def mlflow() -> Servers:
    return running()


@pytest.fixture
async def served(mlflow: Servers, tmp_path: Any) -> AsyncIterator[Served]:
    """Serve the agent to Ann; the tracker is the real one."""
    handler = DatabricksHandler("demo", Credentials(mlflow.agent, token="any"))
    tracked = Mlflow(tracking_uri=mlflow.tracking)
    agents = {"agent": Agent(id="agent", handler=handler)}
    async with serving(tmp_path, user="ann", agents=agents, mlflow=tracked) as made:
        yield made


async def ask(served: Served, **knobs: Any) -> dict[str, Any]:
    """Ask and wait for the end; return the request."""
    accepted = await served.ask(json.dumps(knobs), "agent")
    await served.ended(accepted["request_id"])
    return await served.get(f"/api/requests/{accepted['request_id']}")


async def trace_of(served: Served, request: dict[str, Any]) -> dict[str, Any]:
    """Return the trace; agents hand it in a moment after their answer."""

    async def there() -> dict[str, Any] | None:
        response = await served.http.get(f"/api/requests/{request['id']}/trace")
        assert response.status_code in (200, 404, 503), response.text
        return dict(response.json()) if response.status_code == 200 else None

    return await eventually(there, within_s=30, what="the trace is in the store")


async def test_it_streams_calls_its_tool_and_leaves_a_trace_that_is_shown(served: Served) -> None:
    request = await ask(served, words=5)
    assert request["final_response"] == "w0 w1 w2 w3 w4 "
    assert request["trace_id"].startswith("tr-")
    _, answer = (await served.get(f"/api/chats/{request['chat_id']}/messages"))["messages"]
    kinds = [item["type"] for item in answer["output"]]
    assert kinds == ["function_call", "function_call_output", "message"]
    trace = await trace_of(served, request)
    root, tool = trace["spans"]
    assert (trace["trace_id"], trace["state"]) == (request["trace_id"], "OK")
    assert (root["parent_id"], tool["parent_id"]) == (None, root["id"])
    assert (tool["name"], tool["kind"], tool["outputs"]) == ("count", "TOOL", "2")
    assert "words" in tool["inputs"]
    assert root["duration_ms"] >= tool["duration_ms"] >= 0
    assert trace["link"].endswith(request["trace_id"])


async def test_a_failure_in_the_middle_keeps_what_was_said_and_the_trace(served: Served) -> None:
    request = await ask(served, fail_at=3)
    assert (request["status"], request["error"]["code"]) == ("failed", "upstream_error")
    assert "the agent exploded" in request["error"]["message"]
    assert request["partial_response"] == "w0 w1 w2 "


async def test_a_stop_reaches_the_agent(served: Served, mlflow: Servers) -> None:
    """Guard: cancelling closes the call; an agent that is not told goes on and costs."""
    accepted = await served.ask(json.dumps({"words": 2001, "pause_s": 0.05}), "agent")
    await served.shown_some(accepted["request_id"])
    stopped = await served.http.post(f"/api/requests/{accepted['request_id']}/cancel")
    assert stopped.json()["status"] == "cancelled"

    async def told() -> bool:
        return "of 2001 words" in (mlflow.folder / "agent.txt").read_text()

    await eventually(told, within_s=20, what="the agent was told to stop")


async def test_a_verdict_lands_in_the_tracking_store_under_the_real_name(
    served: Served, mlflow: Servers
) -> None:
    """Guard: `core.verdicts.tell`; a second thought changes the first instead of joining it."""
    request = await ask(served, words=2)
    await trace_of(served, request)
    for value, why in ((False, "Wrong."), (True, "Right after all.")):
        body = {"trace_id": request["trace_id"], "name": "user_feedback", "value": value}
        headers = {"X-Forwarded-Email": "ann@example.org"}
        given = await served.http.post(
            "/api/log_assessment", json={**body, "rationale": why}, headers=headers
        )
        assert given.status_code == 201, given.text
    tracker = MlflowTracker(mlflow.tracking, 20)

    async def told() -> Any:
        info = await tracker._call(lambda client: client.get_trace_info(request["trace_id"]))
        found = [one for one in info.assessments if one.rationale == "Right after all."]
        return (info.assessments, found) if found else None

    every, (assessment,) = await eventually(told, within_s=30, what="the verdict is in the store")
    await tracker.close()
    assert len(every) == 1
    assert (assessment.name, assessment.value) == ("user_feedback", True)
    assert (assessment.source.source_type, assessment.source.source_id) == (
        "HUMAN",
        "ann@example.org",
    )


async def test_a_trace_is_shown_to_its_person_only(served: Served) -> None:
    request = await ask(served, words=1)
    mallory = served.other("mallory")
    refused = await mallory.http.get(f"/api/requests/{request['id']}/trace")
    await mallory.http.aclose()
    assert (refused.status_code, refused.json()["code"]) == (404, "request_not_found")
    own = await served.asked_and_ended()
    none = await served.http.get(f"/api/requests/{own['request_id']}/trace")
    assert (none.status_code, none.json()["code"]) == (404, "no_trace")


async def test_a_trace_that_is_not_there_and_a_server_that_is_away_are_told(
    mlflow: Servers,
) -> None:
    tracker = MlflowTracker(mlflow.tracking, 20)
    with pytest.raises(NotFound) as unknown:
        await tracker.trace("tr-00000000000000000000000000000000")
    assert unknown.value.code == "trace_not_found"
    await tracker.close()
    away = MlflowTracker(f"http://127.0.0.1:{free_port()}", 5)
    with pytest.raises(Unavailable) as gone:
        await away.trace("tr-1")
    assert gone.value.code == "tracker_unavailable"
    await away.close()


async def test_the_event_loop_goes_on_while_mlflow_blocks(mlflow: Servers) -> None:
    """Guard: the threads of the tracker."""
    tracker = MlflowTracker(mlflow.tracking, 20)
    asked = asyncio.create_task(tracker.trace("tr-00000000000000000000000000000000"))
    ticks = 0
    while not asked.done():
        await asyncio.sleep(0)
        ticks += 1
    with pytest.raises(NotFound):
        asked.result()
    assert ticks > 10
    await tracker.close()


async def test_a_tracker_that_cannot_connect_is_one_that_is_away(monkeypatch) -> None:
    """Guard: `_connect` within the try of `_work`; else the verdict would wait for ever."""

    def connect(uri: str, timeout_s: float) -> Any:
        raise ImportError(uri)

    monkeypatch.setattr(tracking, "_connect", connect)
    tracker = MlflowTracker("sqlite:///m.db", 5)
    with pytest.raises(Unavailable, match="ImportError"):
        await tracker.trace("tr-1")
    await tracker.close()


async def test_a_trace_is_read_in_the_thread_that_fetched_it(monkeypatch) -> None:
    """Guard: `_read`; a large trace would stop the event loop for seconds."""
    threads: list[threading.Thread] = []

    class Info(SimpleNamespace):
        @property
        def trace_id(self) -> str:
            threads.append(threading.current_thread())
            return "tr-1"

    info = Info(state="OK", request_time=1, execution_duration=1, experiment_id="0")
    found = SimpleNamespace(info=info, data=SimpleNamespace(spans=[]))
    client = SimpleNamespace(get_trace=lambda _: found)
    monkeypatch.setattr(tracking, "_connect", lambda *_: client)
    tracker = MlflowTracker("http://localhost", 5)
    assert (await tracker.trace("tr-1")).trace_id == "tr-1"
    await tracker.close()
    assert threads
    assert threading.main_thread() not in threads


async def test_the_page_shows_the_steps_and_takes_a_verdict(
    served: Served, mlflow: Servers, browser_path: str
) -> None:
    """Guard: `Steps` of the details panel; what a person sees is what is in the tracking store."""
    request = await ask(served, words=3)
    await trace_of(served, request)
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_path, args=flags)
        page = await browser.new_page(extra_http_headers=served.headers)
        await page.goto(f"{served.url}/c/{request['chat_id']}")
        await page.get_by_role("button", name="Good answer").click()
        await page.get_by_role("button", name="Details").click()
        panel = page.get_by_role("dialog", name="Details")
        await panel.get_by_text(request["trace_id"]).wait_for()
        await panel.get_by_role("button", name="Show the agent's steps").click()
        steps = panel.get_by_label("Steps of the agent")
        await steps.get_by_text("count", exact=True).click()
        await steps.get_by_text("Output", exact=True).last.wait_for()
        link = steps.get_by_role("link", name="Open in MLflow")
        assert request["trace_id"] in (await link.get_attribute("href") or "")
        await browser.close()
    tracker = MlflowTracker(mlflow.tracking, 20)

    async def told() -> list[Any]:
        info = await tracker._call(lambda client: client.get_trace_info(request["trace_id"]))
        return [(one.name, one.value, one.source.source_id) for one in info.assessments]

    found = await eventually(told, within_s=30, what="the verdict is in the store")
    assert found == [("thumbs", True, "ann")]
    await tracker.close()
