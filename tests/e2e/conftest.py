"""One browser and few servers for all tests here; each test has its own people and chats.

A module says what its server needs in `WORLD`, see `worlds`; its tests run in the session's loop.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from perdure.routers import ui
from tests.e2e.person import Person
from tests.e2e.worlds import Worlds
from tests.world.world import World

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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(browser_path: str) -> AsyncIterator[Browser]:
    """Start the one Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_path, args=BROWSER_FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def worlds(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Worlds]:
    """Hold the servers that were started."""
    worlds = Worlds(tmp_path_factory.mktemp("worlds"))
    yield worlds
    await worlds.close()


@pytest_asyncio.fixture(loop_scope="session")
async def world(request: pytest.FixtureRequest, worlds: Worlds, rng) -> AsyncIterator[World]:
    """Hand out the module's world as if it were new, and leave nothing running in it."""
    world = await worlds.of(getattr(request.module, "WORLD", {}))
    await world.begin(rng)
    yield world
    await world.rest()
    print(world.server.story())  # noqa: T201 pytest shows it beside a failure


@pytest_asyncio.fixture(loop_scope="session")
async def alice(browser: Browser, world: World) -> AsyncIterator[Person]:
    """A person without chats; what her tabs complain of at the end fails the test."""
    person = Person(browser, world)
    yield person
    await person.judges()
    if world.server.running:
        await person.forgets()
