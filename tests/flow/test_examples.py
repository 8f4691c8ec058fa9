"""Every example runs as it is written."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.flow.clients import CLIENTS, NODE, ROOT, run
from tests.world.server import Process, Server, environment, free_port
from tests.world.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

EXAMPLES = ROOT / "examples"
CONFIG = """
default_agent = "guide"
[agents.guide]
handler = "guide"
words_per_s = 80
[agents.graph]
handler = "python"
module = "examples.langgraph_agent:answer"
[agents.weather]
handler = "python"
module = "examples.pydantic_ai_agent:answer"
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    made = Server(tmp_path_factory.mktemp("examples"), CONFIG)
    try:
        yield await made.start(within_s=60)
    finally:
        made.end()


async def output_of(*command: str, **more: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=CLIENTS,
        env=environment(**more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def answer(server: Server, agent: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=f"{server.url}/v1", timeout=60) as client:
        body = {"model": agent, "input": "What is Perdure?"}
        return dict((await client.post("/responses", json=body)).json())


def text_of(response: dict[str, Any]) -> str:
    return "".join(p["text"] for item in response["output"] for p in item.get("content", ()))


@pytest.mark.parametrize("client", ["python", "js"])
async def test_the_openai_libraries_come_back_after_a_drop(server, client):
    if client == "python":
        command = [sys.executable, str(EXAMPLES / "openai_background.py")]
        said = await output_of(*command, PERDURE_V1=f"{server.url}/v1")
    else:
        # From where the packages lie: Node looks for them beside the program.
        program = CLIENTS / "node_modules" / f".example-{os.getpid()}.mjs"
        source = (EXAMPLES / "openai_background.mjs").read_text("utf-8")
        program.write_text(source, "utf-8")
        more = {"PERDURE_V1": f"{server.url}/v1", "OPENAI_PACKAGE": "openai7"}
        said = await output_of(NODE, str(program), **more)
        program.unlink()
    *_, told = said.strip().split("\n")
    assert told.startswith("resp_")
    assert told.endswith("is completed")
    response_id = told.split()[0]
    async with httpx.AsyncClient(base_url=server.url) as http:
        whole = (await http.get(f"/v1/responses/{response_id}")).json()
    assert said.strip().rpartition("\n")[0] == text_of(whole).strip()


async def test_curl_alone_is_enough(server):
    """Guard: `Last-Event-ID` is exclusive; without it the answer would begin anew."""
    said = await output_of("sh", str(EXAMPLES / "ask.sh"), PERDURE_URL=server.url)
    dropped, went_on, last, status = said.split("\n", 3)
    assert dropped.startswith("dropped after event 3 of resp_")
    assert went_on == "went on with event 4"
    assert last == "response.completed"
    assert json.loads(status)["status"] == "completed"


async def test_a_page_finds_its_answer_again_after_a_reload(server):
    page = await run(NODE, "page.mjs", server.url)
    try:
        told = await page.until("shown")
    finally:
        await page.end()
        for built in (CLIENTS / "node_modules").glob(".page-*.mjs"):
            built.unlink()
    question, text = told["shown"]
    assert question == "What happens when I close the tab?"
    assert text.startswith(told["left"][1])
    assert len(text) > len(told["left"][1])


async def test_a_langgraph_graph_is_an_agent(server):
    said = text_of(await answer(server, "graph"))
    assert said == "You asked: What is Perdure? And here is an answer. "


async def test_a_pydantic_ai_agent_is_an_agent(server):
    assert "It rains in" in text_of(await answer(server, "weather"))


async def test_perdure_lives_inside_an_application_of_ones_own(tmp_path: Path):
    """Guards: `dialects.path_of`, for errors below a mount; the example's `lifespan`."""
    port = free_port()
    application = Process(tmp_path, "application")
    command = [sys.executable, "-m", "uvicorn", "examples.fastapi_app:app", "--port", str(port)]
    application.spawn(command, PERDURE_DATA_DIR=str(tmp_path))
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

            async def ready() -> bool:
                try:
                    return bool((await http.get("/orders/7")).json() == {"order_id": 7})
                except httpx.HTTPError:
                    return False

            await eventually(ready, within_s=30, what="the application answers")
            body = {"model": "support", "input": "Where is it?"}
            made = (await http.post("/assistant/v1/responses", json=body)).json()
            assert text_of(made) == "You asked: Where is it?"
            refused = await http.get("/assistant/v1/responses/resp_none")
            assert refused.json()["error"]["type"] == "invalid_request_error"
            assert "run its lifespan too" not in application.story()
    finally:
        application.end()
