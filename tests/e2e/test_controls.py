"""Controls: what watches the other tests sees what it is there to see; a guard off is a red test.

Each story passes with the page as it is, and its check fails with the guard cut out of the built
script on its way to the browser.
"""

from __future__ import annotations

import re

import httpx
import pytest

from tests.e2e.person import words
from tests.e2e.worlds import FRAGILE

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORLD = FRAGILE

GUARDS = [
    (
        re.compile(r"if\(!(\w+)\|\|(\w+)\.sequence_number<=\1\.fold\.sequence_number\)return"),
        r"if(!\1)return",
    ),
    (
        re.compile(r"(\w+)\.sequence_number!==this\.sequence_number\+1\|\|this\.ended"),
        r"this.ended",
    ),
]
"""What drops known events in `Transcripts.hear` and refuses them in `Fold.apply`, as built."""


async def unguarded(device):
    """Serve the device a page without its guards; return those that were found and cut."""
    cut = []

    async def serve(route):
        response = await route.fetch()
        text = await response.text()
        for pattern, instead in GUARDS:
            text, count = pattern.subn(instead, text)
            cut.extend([pattern] * count)
        await route.fulfill(response=response, body=text)

    await device.route("**/assets/*.js", serve)
    return cut


async def doubled(device):
    """Let every message of the live line arrive twice."""

    def twice(socket):
        server = socket.connect_to_server()

        def pass_on(message):
            socket.send(message)
            socket.send(message)

        server.on_message(pass_on)

    await device.route_web_socket("**/api/live**", twice)


async def test_a_line_that_says_everything_twice_shows_it_once(alice):
    """Guard: events up to the number one has are dropped."""
    told = alice.agree_text("twice", words("a", 100), lasts_s=2)
    device = await alice.device()
    await doubled(device)
    tab = await (await alice.tab(device)).opens()
    await tab.asks("twice")
    await tab.sees_whole(told)


async def test_without_the_check_of_numbers_the_text_is_doubled(alice):
    """The control of the test before this one."""
    told = alice.agree_text("twice", words("a", 100), lasts_s=2)
    device = await alice.device()
    await doubled(device)
    cut = await unguarded(device)
    tab = await (await alice.tab(device)).opens()
    await tab.asks("twice")
    assert len(cut) == len(GUARDS), "the guards were not found in the built page"
    await tab.sees(len(told) + 20)
    tab.may_go_back = True


async def test_a_line_that_loses_messages_shows_the_whole_text(alice, rng):
    """Guard: a hole is read again from one's own number."""
    told = alice.agree_text("holes", words("a", 200), lasts_s=4)
    device = await alice.device()
    lost = []

    def lose(socket):
        server = socket.connect_to_server()

        def pass_on(message):
            if "output_text.delta" in message and rng.random() < 0.2:
                lost.append(message)
            else:
                socket.send(message)

        server.on_message(pass_on)

    await device.route_web_socket("**/api/live**", lose)
    tab = await (await alice.tab(device)).opens()
    await tab.asks("holes")
    await tab.sees_whole(told)
    assert lost


async def test_the_watcher_sees_a_text_that_goes_back(alice):
    """The control of every story: a text that shrinks for one frame is a complaint."""
    told = alice.agree_text("back", words("a", 50))
    tab = await (await alice.tab()).opens()
    await tab.asks("back")
    await tab.sees_whole(told)
    assert not await tab.complaints()
    await tab.page.evaluate(
        """() => new Promise((seen) => {
          const words = document.querySelector("article[data-request] p").firstChild;
          const whole = words.data;
          words.data = whole.slice(0, 5);
          setTimeout(() => { words.data = whole; setTimeout(seen, 100); }, 200);
        })"""
    )
    assert any("went back" in complaint for complaint in await tab.complaints())
    tab.may_go_back = True


async def test_a_console_error_and_a_breach_of_the_policy_are_complaints(alice):
    """The control of every test: the teardown fails on them."""
    tab = await (await alice.tab()).opens()
    await tab.page.evaluate("() => console.error('oh no')")
    await tab.page.evaluate(
        """() => new Promise((seen) => {
          document.addEventListener("securitypolicyviolation", () => setTimeout(seen, 50));
          document.body.append(Object.assign(document.createElement("script"), {text: "1"}));
        })"""
    )
    found = "\n".join(await tab.complaints())
    assert "oh no" in found
    assert "policy: script-src" in found
    await tab.page.close()
    tab.excuse(".")


async def test_the_server_refuses_what_the_page_never_does(world):
    """The policy is in force on the page that these tests drive."""
    async with httpx.AsyncClient(base_url=world.server.url) as http:
        assert "unsafe" not in (await http.get("/")).headers["content-security-policy"]
