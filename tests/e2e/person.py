"""A person with devices: each device is a browser of its own, each tab a page in it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext

from tests.e2e.tab import Tab
from tests.upstream import Script, text_of
from tests.world.world import World

WATCH = Path(__file__).with_name("watch.js")
DESKTOP = {"width": 1200, "height": 800}


class Person:
    """Opens devices and tabs, agrees on answers with the upstream, and judges all tabs at the end.

    Args:
        browser: shared by the module's tests.
        world: the server and the upstream behind it.

    """

    def __init__(self, browser: Browser, world: World) -> None:
        self.browser = browser
        self.world = world
        self.devices: list[BrowserContext] = []
        self.tabs: list[Tab] = []

    async def device(self, *, before: str = "", **options: Any) -> BrowserContext:
        """Return a device that remembers nothing; `before` is a script that each page runs."""
        context = await self.browser.new_context(
            **{"viewport": DESKTOP, "reduced_motion": "reduce", **options}
        )
        self.devices.append(context)
        if before:
            await context.add_init_script(before)
        await context.add_init_script(path=WATCH)
        return context

    async def tab(self, device: BrowserContext | None = None, *, url: str = "", **more: Any) -> Tab:
        """Return a blank tab, on this device or on a new one."""
        context = device or await self.device(**more)
        tab = Tab(await context.new_page(), url or self.world.server.url)
        self.tabs.append(tab)
        return tab

    def agree(self, question: str, **script: Any) -> str:
        """Let the upstream answer a question by a script; return the answer's whole text."""
        self.world.upstream.answers[question] = json.dumps(script)
        return text_of(Script(**script))

    def agree_text(
        self, question: str, text: str, *, rate: float = 0, size: int = 8, lasts_s: float = 0
    ) -> str:
        """Let the upstream answer with any text, in pieces of `size` characters.

        Args:
            question: in the words in which it will be asked.
            text: the whole answer.
            rate: pieces per second; 0 = at once.
            size: characters in a piece.
            lasts_s: seconds that the answer takes, instead of a rate.

        """
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        rate = len(pieces) / lasts_s if lasts_s else rate
        frames = [chunk({"content": piece}) for piece in pieces]
        script = {"frames": [*frames, chunk({}, "stop"), "[DONE]"], "rate": rate}
        self.world.upstream.answers[question] = json.dumps(script)
        return text

    async def forgets(self) -> None:
        """Delete every chat: what runs in them ends with them."""
        for archived in (False, True):
            while chats := await self._chats(archived):
                await asyncio.gather(*(self._forgets(chat["id"]) for chat in chats))

    async def _chats(self, archived: bool) -> list[Any]:
        return list((await self.world.api.get("/api/chats", limit=100, archived=archived))["chats"])

    async def _forgets(self, chat_id: str) -> None:
        await self.world.api.http.delete(f"/api/chats/{chat_id}")

    async def judges(self) -> None:
        """Close everything, and fail with what any tab complains of."""
        found = [
            f"tab {number}: {complaint}"
            for number, tab in enumerate(self.tabs)
            for complaint in await tab.complaints()
        ]
        for device in self.devices:
            await device.close()
        self.devices, self.tabs = [], []
        assert not found, "\n".join(found[:20])


def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    """Return a frame of a Chat Completions stream."""
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def words(letter: str, count: int) -> str:
    """Return words that are no other answer's: `a0 a1 a2 …`."""
    return " ".join(f"{letter}{number}" for number in range(count))
