"""Chats beside each other: nothing crosses, a third waits its turn in sight, ends are told."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from playwright.async_api import WebSocket, expect

from tests.e2e.person import words

pytestmark = pytest.mark.asyncio(loop_scope="session")
LOGO = Path(__file__).parents[2] / "web" / "public" / "favicon.svg"
BRAND = {"ui.name": "Tidings & Co", "ui.accent": "#b3261e", "ui.logo": str(LOGO)}
WORLD = {"limits": {"running_per_user_max": 2}, "top": BRAND}

ATTACHED_MAX = 3
"""Once, and again after a pause of a busy machine that looks like a loss."""


async def test_two_chats_that_answer_at_once_never_cross(alice):
    """Guard: transcripts are keyed by request, never by chat or by what is in view.

    The second answer overtakes the first one, so that for a while the numbers of their events are
    the same. An event that went astray elsewhere is a hole, which is read again: none is.
    """
    apples = alice.agree_text("apples", words("a", 200), lasts_s=5)
    birds = alice.agree_text("birds", words("b", 200), lasts_s=3)
    tab = await alice.tab()
    said: list[str | bytes] = []

    def hears(line: WebSocket) -> None:
        line.on("framesent", lambda frame: said.append(frame))  # noqa: PLW0108 - it takes no builtin

    tab.page.on("websocket", hears)
    await tab.opens()
    a = await tab.asks("apples")
    await tab.begins_a_new_chat()
    b = await tab.asks("birds")
    for _ in range(4):
        await tab.goes_to(a)
        assert apples.startswith((await tab.sees(5)).rstrip())
        await tab.goes_to(b)
        assert birds.startswith((await tab.sees(5)).rstrip())
    await tab.sees_whole(birds)
    await tab.goes_to(a)
    await tab.sees_whole(apples)
    attached = Counter(one["request_id"] for one in map(json.loads, said) if one["op"] == "attach")
    assert len(attached) == 2
    assert max(attached.values()) <= ATTACHED_MAX, attached


async def test_a_third_question_shows_its_place_in_line_and_starts_by_itself(alice, world):
    """Guard: the limit per person; the place is the server's and comes through the list."""
    alice.agree_text("first", words("a", 100), lasts_s=4)
    alice.agree("second", name="second", chunks=400, rate=5)
    third = alice.agree_text("third", words("c", 30))
    tab = await (await alice.tab()).opens()
    ids = []
    for question in ("first", "second", "third"):
        await tab.begins_a_new_chat()
        ids.append(await tab.asks(question))
    await tab.sees_row(ids[2], "queued")
    await expect(tab.row(ids[2])).to_contain_text(re.compile(r"queued, position\s*1"))
    await tab.sees_words("Waiting for its turn: next in line")
    await tab.sees_whole(third)
    await tab.sees_row(ids[1], "answering")
    assert not world.calls("second")[0].closed_by


async def test_an_answer_that_ends_unseen_is_new_everywhere_until_it_is_read_anywhere(alice):
    """Guard: unread is the server's; opening the chat clears it on all devices."""
    told = alice.agree_text("background", words("a", 60), lasts_s=2.5)
    desk = await (await alice.tab()).opens()
    phone = await (await alice.tab()).opens()
    a = await desk.asks("background")
    await desk.begins_a_new_chat()
    await desk.sees_row(a, "unread")
    await phone.sees_row(a, "unread")
    await expect(desk.page).to_have_title(re.compile(r"^\(1\) "))
    await expect(phone.page).to_have_title(re.compile(r"^\(1\) "))
    await phone.goes_to(a)
    await phone.sees_whole(told)
    await desk.sees_row(a, "time")
    await expect(desk.page).to_have_title(re.compile(r"^[^(]"))


async def test_a_notice_tells_of_an_answer_out_of_sight_and_opens_its_chat(alice):
    """Guard: `useAttention` tells of chats that are not in view, and only of those."""
    told = alice.agree_text("background", words("a", 60), lasts_s=2.5)
    seen = alice.agree_text("in view", words("b", 5))
    tab = await (await alice.tab()).opens()
    a = await tab.asks("background")
    await tab.begins_a_new_chat()
    await tab.asks("in view")
    await tab.sees_whole(seen)
    notice = tab.notices.get_by_role("button", name=re.compile("background"))
    await expect(notice).to_be_visible(timeout=20_000)
    assert await tab.notices.get_by_text("in view").count() == 0
    await notice.click()
    await tab.is_at(a)
    await tab.sees_whole(told)


async def test_rows_stay_where_they_are_while_answers_run_and_end(alice):
    """Guard: the order is that of the questions, not of the last change."""
    alice.agree_text("older", words("a", 60), lasts_s=2.5)
    alice.agree_text("newer", words("b", 5))
    tab = await (await alice.tab()).opens()
    older = await tab.asks("older")
    await tab.begins_a_new_chat()
    newer = await tab.asks("newer")
    await tab.sees_row(older, "unread")
    links = await tab.page.locator("nav li a").evaluate_all("all => all.map(a => a.pathname)")
    assert links[:2] == [f"/c/{newer}", f"/c/{older}"]


async def test_the_page_has_the_name_the_logo_and_the_colour_of_the_settings(alice):
    """Guard: the server puts name and colour into the page, and the page into its styles."""
    tab = await (await alice.tab()).opens()
    await tab.sees_words("Tidings & Co")
    await expect(tab.page).to_have_title(re.compile("Tidings & Co"))
    logo = tab.page.locator('img[src="/logo"]').first
    await expect(logo).to_be_visible()
    await expect(logo).to_have_js_property("complete", value=True)
    assert await logo.evaluate("(picture) => picture.naturalWidth") > 0
    brand = "() => getComputedStyle(document.documentElement).getPropertyValue('--brand')"
    assert (await tab.page.evaluate(brand)).strip() == "#b3261e"
