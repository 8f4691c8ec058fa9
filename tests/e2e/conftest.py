"""One server and one browser for all tests of a module; each test has its own people and chats."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from perdure.routers import ui
from tests.e2e.person import Person
from tests.world.fixtures import shared_world, world
from tests.world.world import World

__all__ = ["shared_world", "world"]

BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session", autouse=True)
def built():
    assert ui.is_built(), "the chat page is not built: make setup"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(browser_path: str) -> AsyncIterator[Browser]:
    """Start the module's Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_path, args=BROWSER_FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def alice(browser: Browser, world: World) -> AsyncIterator[Person]:
    """A person without chats; what her tabs complain of at the end fails the test."""
    person = Person(browser, world)
    yield person
    await person.judges()
    if world.server.running:
        await person.forgets()
