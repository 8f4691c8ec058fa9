"""The conversation in a real browser: smooth, safe, and it shows what an answer is made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright

from perdure.routers.ui import is_built
from tests.e2e.talkers import PARTS
from tests.world.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

FLAGS = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
AGENTS = ("long", "go", "hostile", "thinker")
CONFIG = "\n".join(
    f'[agents.{name}]\nhandler = "python"\nmodule = "tests.e2e.talkers:{name}"' for name in AGENTS
)
WATCH = """
window.long_ms = 0
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.long_ms += task.duration
}).observe({ type: 'longtask' })
window.shifts = 0
new PerformanceObserver((list) => {
  for (const shift of list.getEntries()) if (!shift.hadRecentInput) window.shifts += shift.value
}).observe({ type: 'layout-shift' })
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """Serve the built page with the talkers."""
    assert is_built(), "the page is not built: run `make setup`"
    server = Server(tmp_path_factory.mktemp("conversation"), CONFIG)
    try:
        yield await server.start()
    finally:
        server.end()


@pytest_asyncio.fixture(loop_scope="module")
async def page(server: Server, browser_path: str) -> AsyncIterator[Page]:
    """Open the page; a test fails that leaves an error in it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        page = await browser.new_page(viewport={"width": 1280, "height": 860})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(server.url)
        yield page
        await browser.close()
        assert errors == []


async def ask(page: Page, agent: str, question: str) -> None:
    """Choose an agent in a new chat and ask it."""
    await page.get_by_role("button", name="Agent:").click()
    await page.get_by_role("menuitemcheckbox", name=agent).click()
    await page.get_by_label("Message", exact=True).fill(question)
    await page.keyboard.press("Enter")


async def go_on(page: Page) -> None:
    """Let the long talk go on."""
    asked = await page.request.post(
        f"{page.url.split('/c/')[0]}/api/invoke_endpoint",
        data={"agent_id": "go", "message": "Go on"},
    )
    assert asked.status == 202, await asked.text()


async def ended(page: Page) -> None:
    """Wait until the answer has its actions."""
    await page.get_by_role("button", name="Answer again").wait_for(timeout=60_000)


async def test_two_hundred_pieces_a_second_in_a_long_answer_never_block_the_page(
    page: Page,
) -> None:
    """Guard: settled blocks are memoised and no rule restyles them; without, this is over half."""
    await ask(page, "Long", "Tell me everything")
    await page.get_by_text("The long part is over.").wait_for(timeout=60_000)
    blocks = page.get_by_role("log").locator("figure")
    await blocks.nth(PARTS - 1).wait_for(state="attached", timeout=60_000)
    await page.evaluate(WATCH)
    begun = await page.evaluate("performance.now()")
    await go_on(page)
    await ended(page)
    watched_ms = await page.evaluate("performance.now()") - begun
    assert await page.evaluate("long_ms") < watched_ms / 4
    assert await page.evaluate("shifts") < 0.1


async def test_what_a_model_says_is_never_believed(page: Page) -> None:
    """Guard: no raw HTML, addresses checked; with it the title would change."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await ask(page, "Hostile", "Hello")
    await ended(page)
    log = page.get_by_role("log")
    assert await log.locator("img, script").count() == 0
    assert "hacked" not in await page.title()
    assert await log.get_by_role("link").count() == 1  # the picture's, to be followed by hand
    assert await log.get_by_role("link").get_attribute("rel") == "noopener noreferrer nofollow"
    assert not [url for url in asked if "a.example" in url]


async def test_reasoning_tools_and_sources_are_shown_folded(page: Page) -> None:
    """Guard: parts are made of all items; a fold of text only would show nothing else."""
    await ask(page, "Thinker", "How is the weather?")
    await ended(page)
    log = page.get_by_role("log")
    assert await log.get_by_text("I look it up.").count() == 0
    await log.get_by_text("Thought").click()
    await log.get_by_text("I look it up.").wait_for()
    await log.get_by_text("weather", exact=True).click()
    await log.get_by_text("12 degrees", exact=True).first.wait_for()
    assert await log.get_by_role("link", name="Weather in Bern").count() == 1


async def test_details_tell_the_trace_and_the_raw_events(page: Page) -> None:
    """Guard: the panel reads the request itself."""
    await ask(page, "Thinker", "How is the weather?")
    await ended(page)
    await page.get_by_role("button", name="Details").click()
    panel = page.get_by_role("dialog", name="Details")
    await panel.get_by_text("tr-5f0e4b8a").wait_for()
    await panel.get_by_role("button", name="Show raw events").click()
    await panel.get_by_text("response.completed").first.wait_for()


async def test_a_comment_on_an_answer_is_kept(page: Page) -> None:
    """Guard: the verdict is posted; a reload would otherwise forget it."""
    await ask(page, "Thinker", "How is the weather?")
    await ended(page)
    await page.get_by_role("button", name="Bad answer").click()
    await page.get_by_role("button", name="Add a comment").click()
    await page.get_by_label("Your comment").fill("It was colder.")
    await page.get_by_role("button", name="Send", exact=True).click()
    await page.get_by_role("button", name="Edit comment").wait_for()
    await page.reload()
    bad = page.get_by_role("button", name="Bad answer")
    await bad.wait_for()
    await asyncio.wait_for(_pressed(page), 10)
    await page.get_by_role("button", name="Edit comment").click()
    assert await page.get_by_label("Your comment").input_value() == "It was colder."


async def _pressed(page: Page) -> None:
    await page.locator("button[aria-label='Bad answer'][aria-pressed=true]").wait_for()


async def test_nobody_is_pulled_down_who_reads_further_up(page: Page) -> None:
    """Guard: the first upward scroll lets go; without it the end would come back into view."""
    await ask(page, "Long", "Tell me everything")
    await page.get_by_text("The long part is over.").wait_for(timeout=60_000)
    await page.mouse.move(700, 400)
    for _ in range(6):
        await page.mouse.wheel(0, -200)
    await page.get_by_role("button", name="Jump to latest").wait_for()
    await go_on(page)
    await ended(page)
    jump = page.get_by_role("button", name="Jump to latest")
    assert await jump.count() == 1
    await jump.click()
    await jump.wait_for(state="detached")
