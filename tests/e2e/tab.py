"""A tab of a real browser, in the words of who sits before it."""

from __future__ import annotations

import re
from typing import Any

from playwright.async_api import ConsoleMessage, Locator, Page, expect

from tests.world.waiting import eventually

PATIENCE_MS = 20_000
CHAT = re.compile(r"/c/([\w-]+)$")
ASKING = "**/api/invoke_endpoint"
"""Where the page sends a question to."""

NETWORK = re.compile(r"net::ERR_|WebSocket connection to|WebSocket is closed")
"""What the browser itself says of a network or a server that is away."""


class Tab:
    """One page. It complains of console errors and policy violations, and of texts that shrank.

    `excused` holds patterns of console errors that a test provokes on purpose. `may_go_back` is for
    answers that are begun again, and for half-written Markdown, whose signs go when it is complete.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        self.excused: list[re.Pattern[str]] = []
        self.may_go_back = False
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location.get('url', '')}")

    def excuse(self, *patterns: str | re.Pattern[str]) -> None:
        self.excused += [re.compile(pattern) for pattern in patterns]

    # Going about

    async def opens(self, chat_id: str = "") -> Tab:
        await self.page.goto(f"{self.url}/c/{chat_id}" if chat_id else f"{self.url}/")
        return self

    async def goes_to(self, chat_id: str) -> None:
        await self.row(chat_id).locator("a").click()
        await self.is_at(chat_id)

    async def is_at(self, chat_id: str) -> None:
        await expect(self.page).to_have_url(f"{self.url}/c/{chat_id}", timeout=PATIENCE_MS)

    async def begins_a_new_chat(self) -> None:
        await self.page.get_by_role("button", name="New chat").first.click()
        await expect(self.page).to_have_url(f"{self.url}/", timeout=PATIENCE_MS)

    async def reloads(self) -> None:
        await self.page.reload(wait_until="commit")

    async def chat_id(self) -> str:
        """Return the chat in view, once the address names it."""

        async def named() -> str:
            found = CHAT.search(self.page.url)
            return found.group(1) if found else ""

        return await eventually(named, within_s=20, what="the address names the chat")

    # Writing

    @property
    def composer(self) -> Locator:
        return self.page.get_by_label("Message", exact=True)

    async def writes(self, text: str) -> None:
        await self.composer.fill(text)

    async def asks(self, question: str) -> str:
        """Ask in the chat in view, or in a new one; return the chat's id."""
        await self.writes(question)
        if await self.page.evaluate("() => matchMedia('(hover: none)').matches"):
            await self.clicks("Send message")  # there Enter breaks the line
        else:
            await self.composer.press("Enter")
        return await self.chat_id()

    def button(self, name: str, *, within: Locator | None = None) -> Locator:
        return (within or self.page).get_by_role("button", name=name, exact=True)

    async def clicks(self, name: str) -> None:
        await self.button(name).last.click()

    # Seeing

    @property
    def answers(self) -> Locator:
        return self.page.locator("article[data-request]")

    @property
    def questions(self) -> Locator:
        return self.page.locator('article[aria-label^="You"]')

    @property
    def chips(self) -> Locator:
        return self.page.get_by_label("Waiting questions").locator("li")

    @property
    def notices(self) -> Locator:
        return self.page.get_by_label("Notices")

    def row(self, chat_id: str) -> Locator:
        return self.page.locator(f'nav li:has(a[href$="/c/{chat_id}"])')

    async def text(self, place: int = -1) -> str:
        """Return the text of an answer as it is on the page; empty when there is none."""
        bodies = '[class*="markdown"]'
        script = f"(nodes, at) => Array.from(nodes.at(at)?.querySelectorAll('{bodies}') ?? [],"
        return str(
            await self.answers.evaluate_all(f"{script} (n) => n.textContent).join('')", place)
        )

    async def sees(self, characters: int, place: int = -1) -> str:
        """Wait until an answer shows so many characters; return its text."""

        async def enough() -> str:
            text = await self.text(place)
            return text if len(text) >= characters else ""

        what = f"answer {place} shows {characters} characters"
        return await eventually(enough, within_s=30, what=what)

    async def sees_whole(self, text: str, place: int = -1) -> None:
        """Wait until an answer has ended and is exactly this text."""
        shown = ""

        async def whole() -> bool:
            nonlocal shown
            shown = await self.text(place)
            ended = self.button("Answer again", within=self.answers.nth(place))
            return shown == text.strip() and await ended.count() == 1

        try:
            await eventually(whole, within_s=40, what="the answer is whole and has ended")
        except AssertionError as error:
            error.add_note(differ(shown, text.strip()))
            raise

    async def sees_row(self, chat_id: str, state: str) -> None:
        """Wait until a chat's row is in a state: answering, queued, attention, unread, time."""
        slot = self.row(chat_id).locator("a [data-state]")
        await expect(slot).to_have_attribute("data-state", state, timeout=PATIENCE_MS)

    async def sees_words(self, words: str, *, within: Locator | None = None) -> None:
        await expect((within or self.page.locator("body")).get_by_text(words).first).to_be_visible(
            timeout=PATIENCE_MS
        )

    async def watched(self) -> dict[str, Any]:
        """Return what `watch.js` noted; nothing when the page is away."""
        return dict(await self.page.evaluate("() => window.watch ?? {}"))

    # Judging

    async def complaints(self) -> list[str]:
        watched = {} if self.page.is_closed() else await self.watched()
        errors = [
            error for error in self.errors if not any(known.search(error) for known in self.excused)
        ]
        faults = [] if self.may_go_back else watched.get("faults", [])
        return [
            *(f"console: {error}" for error in errors),
            *(f"policy: {one}" for one in watched.get("violations", [])),
            *(f"text went back: {fault}" for fault in faults),
        ]


def differ(shown: str, wanted: str) -> str:
    """Say where two texts part."""
    at = next((n for n, (a, b) in enumerate(zip(shown, wanted, strict=False)) if a != b), None)
    at = min(len(shown), len(wanted)) if at is None else at
    near = slice(max(0, at - 30), at + 30)
    return f"{len(shown)} of {len(wanted)} characters; at {at}: {shown[near]!r} ≠ {wanted[near]!r}"
