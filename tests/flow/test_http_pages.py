"""The pages for people: they load nothing from anywhere, and tell what is running."""

import re

import pytest

from perdure.settings import Ui
from tests.flow.serving import serving
from tests.world import figures


@pytest.fixture
async def server(tmp_path):
    async with serving(tmp_path, ui=Ui(enabled=False)) as served:
        yield served


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_needs_no_network_and_runs_no_script(server, path):
    page = await server.http.get(path)
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text
    assert re.findall(r'(?:src|href)="(?!#|[\w.]+")[^"]*"', page.text) == [], "only beside itself"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


async def test_home_tells_what_is_running_and_where_to_read_on(server):
    await server.ask("hi", "steered")
    page = (await server.http.get("/")).text
    assert all(f"<code>{agent}</code>" in page for agent in ("echo", "steered", "broken"))
    assert 'href="docs"' in page


async def test_docs_show_every_operation_and_every_schema(server):
    document = (await server.http.get("/openapi.json")).json()
    page = (await server.http.get("/docs")).text
    names = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    for name in [*names, *document["components"]["schemas"]]:
        assert f'id="{name}"' in page


async def test_agents_and_config_tell_what_a_client_needs(server):
    agents = await server.get("/api/agents")
    assert [agent["id"] for agent in agents["agents"]] == ["echo", "steered", "broken"]
    assert agents["default_agent_id"] == "echo"
    config = await server.get("/api/config")
    assert config["limits"]["message_bytes_max"] == 1_000_000
    assert (config["auth_mode"], config["stream_max_s"]) == ("none", 0)
    assert (await server.get("/api/me"))["user_id"] == "local"


async def test_metrics_are_prometheus_text(server):
    await server.ask("hi", "steered")
    answer = await server.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    shown = figures.parse(answer.text)
    assert figures.total(shown, "perdure_requests") == 1
    assert figures.total(shown, "perdure_store_up") == 1
    assert figures.total(shown, "perdure_requests_accepted_total") == 1
    calls = figures.by(shown, "perdure_http_calls_total", "route")
    assert calls == {"/api/invoke_endpoint": 1}


async def test_calls_are_counted_by_the_template_of_their_route(server):
    """Guard: an address as it came would make a series of its own out of every id."""
    await server.http.get("/api/requests/resp_000000000000000000000000")
    await server.http.get("/what/ever")
    shown = figures.parse((await server.http.get("/metrics")).text)
    calls = figures.by(shown, "perdure_http_calls_total", "route", "status")
    assert calls == {("/api/requests/{request_id}", "404"): 1, ("none", "404"): 1}


async def test_readiness_tells_what_is_in_force(server):
    ready = await server.get("/readyz")
    assert ready["status"] == "ready"
    assert ready["store"]["engine"] == "sqlite"
