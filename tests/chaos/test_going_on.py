"""kill -9 in mid-answer of agents that can go on: nothing is told twice, nobody is asked twice."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.upstream import Upstream
from tests.world.server import Server
from tests.world.waiting import eventually

CHUNKS = 60
WHOLE = "".join(f"w{n} " for n in range(CHUNKS))
SCRIPT = json.dumps({"chunks": CHUNKS, "rate": 30})
FAR = '[agents.demo]\nbase_url = "{url}"\nmodel = "demo"\n'
BACKGROUND = """
[agents.near]
handler = "responses"
base_url = "{url}/v1"
model = "demo"
upstream_background = true
"""
CONTINUES = """
[agents.near]
base_url = "{url}"
model = "demo"
recovery = "continue"
continue_style = "{style}"
"""


class Person:
    """Somebody who asks a server and polls."""

    def __init__(self, server: Server) -> None:
        self.http = httpx.AsyncClient(base_url=server.url, timeout=10, trust_env=False)

    async def ask(self, message: str = SCRIPT) -> str:
        answer = await self.http.post("/api/invoke_endpoint", json={"message": message})
        return str(answer.json()["request_id"])

    async def status(self, request_id: str) -> dict[str, object]:
        return dict((await self.http.get(f"/api/requests/{request_id}/status")).json())

    async def some(self, request_id: str) -> str:
        """Wait until a part of the answer is shown."""

        async def shown() -> str:
            return str((await self.status(request_id))["partial_content"] or "")

        return await eventually(shown, within_s=10, what="a part is shown")

    async def ended(self, request_id: str) -> dict[str, object]:
        async def over() -> dict[str, object] | None:
            now = await self.status(request_id)
            return now if now["status"] not in ("queued", "streaming") else None

        return await eventually(over, within_s=30, what="it ended")


@pytest.mark.timeout(120)
async def test_an_upstream_background_response_is_taken_up_again_and_paid_once(tmp_path):
    """Guards: `Marked` is stored with its text; `claim(continuing)`; `starting_after`."""
    with Upstream() as upstream:
        for name in ("far", "near"):
            (tmp_path / name).mkdir()
        far = Server(tmp_path / "far", FAR.format(url=upstream.url))
        await far.start()
        near = Server(tmp_path / "near", BACKGROUND.format(url=far.url))
        await near.start()
        person = Person(near)
        try:
            request_id = await person.ask()
            seen = await person.some(request_id)
            await near.kill9()
            await near.start()
            now = await person.ended(request_id)
            assert now["final_response"] == WHOLE
            assert WHOLE.startswith(seen)
            assert len(upstream.calls) == 1
            stopped = await person.ask()
            await person.some(stopped)
            await person.http.post(f"/api/requests/{stopped}/cancel")
            await upstream.until(lambda calls: calls[1].closed_by == "client", 5)
        finally:
            await person.http.aclose()
            near.end()
            far.end()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("style", ["vllm", "prefix", "assistant_prefill"])
async def test_a_partial_answer_is_gone_on_with(tmp_path, style):
    """Kill, and drop in mid-answer: the model is given what it said, and says only the rest."""
    with Upstream() as upstream:
        server = Server(tmp_path, CONTINUES.format(url=upstream.url, style=style))
        await server.start()
        person = Person(server)
        try:
            request_id = await person.ask()
            await person.some(request_id)
            await server.kill9()
            await server.start()
            assert (await person.ended(request_id))["final_response"] == WHOLE
            check_prefilled(upstream.calls[1].body, style)
            dropping = {"chunks": 9, "drop_at": 5, "fail_times": 1}
            again = await person.ask(json.dumps(dropping))
            now = await person.ended(again)
            assert now["final_response"] == "".join(f"w{n} " for n in range(9))
            check_prefilled(upstream.calls[3].body, style)
        finally:
            await person.http.aclose()
            server.end()


def check_prefilled(body: dict[str, object], style: str) -> None:
    messages = body["messages"]
    assert isinstance(messages, list)
    last = messages[-1]
    assert last["role"] == "assistant"
    assert last["content"].startswith("w0 ")
    assert bool(last.get("prefix")) == (style == "prefix")
    assert ("continue_final_message" in body) == (style == "vllm")
