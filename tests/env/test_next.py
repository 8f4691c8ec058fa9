"""The page of `examples/` as Next.js itself builds and serves it, in a real browser.

Long, and its packages are a third of a gigabyte: `make soak`. `test_examples.py` renders the same
page in each run, and follows the rewrite of its `next.config.mjs`.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, async_playwright

from tests.flow.clients import NODE
from tests.world.server import ROOT, Process, Server, free_port
from tests.world.waiting import eventually

HOME = ROOT / "tests" / "next"
EXAMPLES = ROOT / "examples"
NEXT = [NODE, str(HOME / "node_modules" / "next" / "dist" / "bin" / "next")]
LAYOUT = "export default ({ children }) => <html><body>{children}</body></html>;\n"
CONFIG = '[agents.guide]\nhandler = "guide"\nwords_per_s = 40\n'


def lay_out() -> None:
    """Put the files where their first lines say."""
    chat = HOME / "app" / "chat" / "[id]"
    shutil.rmtree(HOME / "app", ignore_errors=True)
    chat.mkdir(parents=True)
    (HOME / "app" / "layout.jsx").write_text(LAYOUT, "utf-8")
    shutil.copy(EXAMPLES / "next_page.jsx", chat / "page.jsx")
    shutil.copy(EXAMPLES / "chat_page.jsx", chat)
    shutil.copy(EXAMPLES / "next.config.mjs", HOME)


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    """Serve Perdure, and the page before it; return the page's address."""
    lay_out()
    server, page = Server(tmp_path, CONFIG), Process(tmp_path, "next")
    port = free_port()
    try:
        await server.start()
        more = {"PERDURE_URL": server.url, "NEXT_TELEMETRY_DISABLED": "1"}
        page.spawn([*NEXT, "build", str(HOME)], **more)
        await page.gone(200)
        assert page.child is not None
        assert page.child.returncode == 0, page.story()
        page.spawn([*NEXT, "start", str(HOME), "-p", str(port), "-H", "127.0.0.1"], **more)
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient() as http:

            async def up() -> bool:
                try:
                    return (await http.get(f"{url}/chat/one")).status_code == 200
                except httpx.HTTPError:
                    return False

            await eventually(up, within_s=60, what="the page is served")
        yield url
    finally:
        page.end()
        server.end()


async def ask(page: Page, text: str) -> None:
    await page.fill("input", text)
    await page.click("button[type=submit]")


@pytest.mark.soak
@pytest.mark.timeout(400)
async def test_next_js_serves_a_page_whose_answers_outlast_it(
    address: str, browser_path: str
) -> None:
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_path, args=flags)
        page = await browser.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"{address}/chat/one")
        await ask(page, "What happens when I close the tab?")
        answers = page.locator("p.assistant")
        stop = page.get_by_role("button", name="Stop")
        await page.wait_for_function("document.querySelector('p.assistant')?.innerText.length > 20")
        left = await answers.inner_text()
        await page.reload()
        await stop.wait_for()
        await stop.wait_for(state="detached", timeout=60_000)
        assert (await answers.inner_text()).startswith(left)
        assert len(await answers.inner_text()) > len(left)
        await ask(page, "Tell me about workers")
        await page.wait_for_function("document.querySelectorAll('p.assistant').length === 2")
        await stop.click()
        await stop.wait_for(state="detached")
        assert not complaints
        await browser.close()
