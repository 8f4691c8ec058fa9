"""Every screen and state that there is to look at, and how one gets there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import expect

from tests.e2e.person import Person
from tests.e2e.tab import ASKING, Tab

THEMES = ["light", "dark"]
PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}

FINISHED = """\
# Two tides a day

The Moon pulls on the **near** side more than on the *far* one; see [the long story](https://example.com/tides).

1. First the water rises.
2. Then it falls, as `height(t)` says:

```python
def height(t: float) -> float:
    return math.cos(2 * t)
```

| place | range |
|---|---:|
| Fundy | 16 m |
| Hawaii | 0.6 m |

> A quotation, and a formula: $$h = a \\cos 2\\omega t$$

- [x] understood
- [ ] explained
"""

TEXTS = """\
## مرحبا بالعالم

هذا نص عربي مع كلمة English في الوسط.

- أولا
- ثانيا مع `code`

Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft_without_a_break

| one | two | three | four | five | six | seven | eight |
|---|---|---|---|---|---|---|---|
| a longer cell | another longer cell | and another | yes | more words here | still | more | end |

1. one
   - nested

```
a long line of code that goes on and on and on and on and on and on and on and on and on and on
```

![picture](https://evil.example/x.png)

$$\\int_0^\\infty e^{-x^2} dx = \\frac{\\sqrt\\pi}{2}$$
"""

FLOOD = """\
```mermaid
graph TD
  A[Moon] --> B{High water?}
  B -->|yes| C[Flood]
  B -->|no| D[Ebb]
```
"""
DIAGRAMS = f"How it goes:\n\n{FLOOD}"


@dataclass(frozen=True)
class Screen:
    """One state of the page: how a tab gets there, from which other state, and on what device.

    Escape leads from a state back to the one that it comes `after`.
    """

    shows: Callable[[Person, Tab], Awaitable[None]]
    device: dict[str, Any] = field(default_factory=dict)
    after: str = ""

    async def opens(self, alice: Person, tab: Tab) -> None:
        """Lead a tab there from the start."""
        if self.after:
            await SCREENS[self.after].opens(alice, tab)
        await self.shows(alice, tab)


async def welcome(alice: Person, tab: Tab) -> None:
    await tab.opens()
    await tab.sees_words("What would you like to know?")


async def running(alice: Person, tab: Tab) -> None:
    alice.agree("A long one, please", chunks=2000, rate=20, reasoning=3)
    await tab.opens()
    await tab.asks("A long one, please")
    await tab.sees(60)


async def thinking(alice: Person, tab: Tab) -> None:
    alice.agree("Think first", ttft_s=60)
    await tab.opens()
    await tab.asks("Think first")
    await tab.sees_words("Thinking…")


async def queueing(alice: Person, tab: Tab) -> None:
    await tab.asks("And when that is done, what is next?")
    await expect(tab.chips).to_have_count(1)
    await tab.writes("A draft beside it")


async def finished(alice: Person, tab: Tab) -> None:
    alice.agree_text("Why are there two tides a day?", FINISHED)
    await tab.opens()
    await tab.asks("Why are there two tides a day?")
    await tab.button("Answer again").wait_for(state="attached")
    await expect(tab.answers.locator("table")).to_be_visible()
    await expect(tab.answers.locator(".katex").first).to_be_visible()
    await expect(tab.answers.locator("pre span[class*=keyword]").first).to_be_visible()
    await tab.page.wait_for_load_state("networkidle")


async def texts(alice: Person, tab: Tab) -> None:
    """Show both directions of writing, and all that is wider than the page."""
    alice.agree_text("ومع العربية?", TEXTS)
    await tab.opens()
    await tab.asks("ومع العربية?")
    await tab.button("Answer again").wait_for(state="attached")
    await expect(tab.answers.locator(".katex").first).to_be_visible()


async def diagram(alice: Person, tab: Tab) -> None:
    alice.agree_text("Draw it", DIAGRAMS)
    await tab.opens()
    await tab.asks("Draw it")
    await expect(tab.answers.get_by_label("Drawing").get_by_role("img")).to_be_visible()


async def searching(alice: Person, tab: Tab) -> None:
    await tab.page.get_by_label("Search chats").fill("tides")
    await tab.sees_words("1 chat found")


async def tools(alice: Person, tab: Tab) -> None:
    call = {"name": "look_up", "arguments": '{"place": "Fundy"}'}
    alice.agree("Look it up", chunks=8, reasoning=5, tool_calls=[call])
    await tab.opens()
    await tab.asks("Look it up")
    await tab.button("Answer again").wait_for(state="attached")
    for step in await tab.answers.locator("summary").all():
        await step.click()


async def failed(alice: Person, tab: Tab) -> None:
    alice.agree("This fails", chunks=30, error_at=20)
    await tab.opens()
    await tab.asks("This fails")
    await expect(tab.button("Retry")).to_be_visible()


async def stopped(alice: Person, tab: Tab) -> None:
    await running(alice, tab)
    await tab.clicks("Stop")
    await tab.sees_words("Stopped")


async def unsent(alice: Person, tab: Tab) -> None:
    tab.excuse("status of 400")
    await tab.page.route(ASKING, lambda route: route.fulfill(status=400))
    await tab.opens()
    await tab.writes("This cannot be sent")
    await tab.composer.press("Enter")
    await tab.sees_words("Not sent")


async def sidebar(alice: Person, tab: Tab) -> None:
    """Show every state of a row at once."""
    await tab.opens()
    for question in ("Read", "This fails", "Unread"):
        alice.agree(
            question, chunks=30, rate=30, **({"error_at": 9} if "fails" in question else {})
        )
        await tab.begins_a_new_chat()
        chat_id = await tab.asks(question)
        await tab.sees(5)
    await tab.begins_a_new_chat()
    await tab.sees_row(chat_id, "unread")
    alice.agree("Running", chunks=2000, rate=10)
    await tab.asks("Running")
    await tab.sees(20)


async def settings(alice: Person, tab: Tab) -> None:
    await tab.clicks("Settings")
    await expect(tab.page.get_by_role("dialog")).to_be_visible()


async def help_sheet(alice: Person, tab: Tab) -> None:
    await tab.page.keyboard.press("Control+/")
    await expect(tab.page.get_by_role("dialog")).to_be_visible()


async def details(alice: Person, tab: Tab) -> None:
    await tab.clicks("Details")
    await tab.sees_words("Show raw events")


async def comment(alice: Person, tab: Tab) -> None:
    await tab.clicks("Good answer")
    await tab.clicks("Add a comment")
    await expect(tab.page.get_by_role("dialog")).to_be_visible()


async def row_menu(alice: Person, tab: Tab) -> None:
    await tab.page.locator("nav li").first.hover()
    await tab.page.locator("nav li").first.get_by_role("button").click()
    await expect(tab.page.get_by_role("menu")).to_be_visible()


async def editing(alice: Person, tab: Tab) -> None:
    await tab.questions.first.hover()
    await tab.button("Edit", within=tab.questions.first).click()
    await expect(tab.page.get_by_label("Edit your question")).to_be_in_viewport(ratio=1)


async def missing(alice: Person, tab: Tab) -> None:
    tab.excuse("status of 404")
    await tab.opens("chat_000000000000000000000000")
    await tab.sees_words("This chat is not here")


async def drawer(alice: Person, tab: Tab) -> None:
    await tab.clicks("Show sidebar")
    await expect(tab.page.get_by_role("dialog")).to_be_visible()


async def operator(alice: Person, tab: Tab) -> None:
    """Show a failure, an answer in the middle, and what waits behind it."""
    await failed(alice, tab)
    await tab.begins_a_new_chat()
    alice.agree("Running", chunks=2000, rate=10)
    await tab.asks("Running")
    await tab.sees(20)
    await tab.page.goto(f"{tab.url}/operator")
    await expect(tab.page.get_by_role("button", name="Stop resp_")).to_be_visible()
    await expect(tab.page.get_by_label("Why answers failed, table")).to_be_visible()


SCREENS: dict[str, Screen] = {
    "welcome": Screen(welcome),
    "settings": Screen(settings, after="welcome"),
    "help": Screen(help_sheet, after="welcome"),
    "thinking": Screen(thinking),
    "running": Screen(running),
    "queue": Screen(queueing, after="running"),
    "stopped": Screen(stopped),
    "finished": Screen(finished),
    "details": Screen(details, after="finished"),
    "comment": Screen(comment, after="finished"),
    "menu": Screen(row_menu, after="finished"),
    "editing": Screen(editing, after="finished"),
    "search": Screen(searching, after="finished"),
    "texts": Screen(texts),
    "diagram": Screen(diagram),
    "tools": Screen(tools),
    "failed": Screen(failed),
    "unsent": Screen(unsent),
    "sidebar": Screen(sidebar),
    "missing": Screen(missing),
    "operator": Screen(operator),
    "phone operator": Screen(operator, PHONE),
    "phone welcome": Screen(welcome, PHONE),
    "phone running": Screen(running, PHONE),
    "phone finished": Screen(finished, PHONE),
    "phone drawer": Screen(drawer, PHONE, after="phone finished"),
    "phone texts": Screen(texts, PHONE),
}
