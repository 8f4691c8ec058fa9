"""Who goes about with the keys is never put back to the start of the page."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.e2e.person import words
from tests.e2e.worlds import FRAGILE

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORLD = FRAGILE


async def presses(control, key="Enter"):
    """Press a key on a control, as one does who has no mouse."""
    await control.focus()
    await control.press(key)


async def chooses(tab, chat_id, item):
    """Choose in the menu of a row, by keys."""
    await presses(tab.row(chat_id).get_by_role("button"))
    await tab.page.keyboard.press(item[0].lower())
    await expect(tab.page.get_by_role("menuitem", name=item)).to_be_focused()
    await tab.page.keyboard.press("Enter")


async def running(alice, question="A long one"):
    """Return a tab in which an answer runs."""
    alice.agree(question, chunks=2000, rate=20)
    tab = await (await alice.tab()).opens()
    await tab.asks(question)
    await tab.sees(20)
    return tab


async def test_escape_leaves_the_empty_search_and_stops_nothing(alice):
    """Guard: the search field keeps its Escape; only the next one is for the answer."""
    tab = await running(alice)
    search = tab.page.get_by_label("Search chats")
    await search.fill("words")
    await search.press("Escape")
    await expect(search).to_have_value("")
    await search.press("Escape")
    await expect(tab.composer).to_be_focused()
    await expect(tab.button("Stop")).to_be_visible()
    await tab.page.keyboard.press("Escape")
    await tab.sees_words("Stopped")


async def test_asking_again_leads_to_the_composer(alice):
    """Guard: what was pressed goes away; its successor is where one writes."""
    alice.agree("Please continue exactly where you stopped.", chunks=2000, rate=20)
    tab = await running(alice)
    await tab.clicks("Stop")
    for name in ("Retry", "Answer again", "Continue"):
        await tab.button(name).last.wait_for()
        await presses(tab.button(name).last)
        await expect(tab.composer).to_be_focused()
        await tab.button("Stop").wait_for()
        await tab.sees(20)
        await tab.clicks("Stop")


async def test_versions_are_gone_through_with_one_key(alice):
    """Guard: the version that comes has the focus where the one before had it."""
    told = alice.agree_text("versions", words("a", 5))
    tab = await (await alice.tab()).opens()
    await tab.asks("versions")
    await tab.sees_whole(told)
    for count in (2, 3):
        await tab.clicks("Answer again")
        await tab.sees_words(f"{count}/{count}")
    await presses(tab.button("Earlier answer"))
    await tab.sees_words("2/3")
    await expect(tab.button("Earlier answer")).to_be_focused()
    await tab.page.keyboard.press("Enter")
    await tab.sees_words("1/3")
    await expect(tab.button("Later answer")).to_be_focused()


async def test_editors_give_the_focus_back(alice):
    """Guards: `Question`, `QueueChips`."""
    tab = await running(alice)
    await presses(tab.button("Edit"))
    await tab.page.get_by_label("Edit your question").press("Escape")
    await expect(tab.button("Edit")).to_be_focused()
    await expect(tab.button("Stop")).to_be_visible()
    await tab.asks("waiting")
    await expect(tab.chips).to_have_count(1)
    await presses(tab.button("Edit waiting question"))
    await tab.page.get_by_label("Edit the waiting question").press("Escape")
    await expect(tab.button("Edit waiting question")).to_be_focused()
    await presses(tab.button("Remove waiting question"))
    await expect(tab.chips).to_have_count(0)
    await expect(tab.composer).to_be_focused()


async def test_rows_and_notices_give_the_focus_back(alice):
    """Guards: `ChatRow`, `Notices`."""
    told = alice.agree_text("rows", words("a", 5))
    tab = await (await alice.tab()).opens()
    a = await tab.asks("rows")
    await tab.sees_whole(told)
    await chooses(tab, a, "Rename")
    field = tab.page.get_by_label("Name of the chat")
    await expect(field).to_be_focused()
    await field.press("Enter")
    await expect(tab.row(a).locator("a")).to_be_focused()
    await chooses(tab, a, "Delete")
    await expect(tab.composer).to_be_focused()
    await presses(tab.button("Undo"))
    await expect(tab.row(a)).to_have_count(1)
    await expect(tab.composer).to_be_focused()


async def test_the_sidebar_is_hidden_and_shown_with_one_key(alice):
    """Guard: the button that takes the other's place takes its focus."""
    tab = await (await alice.tab()).opens()
    await presses(tab.button("Hide sidebar"))
    await expect(tab.button("Show sidebar")).to_be_focused()
    await tab.page.keyboard.press("Enter")
    await expect(tab.button("Hide sidebar")).to_be_focused()


async def test_a_typed_comment_is_not_lost_by_a_click_beside_it(alice):
    """Guard: the dialog stays while it holds words."""
    told = alice.agree_text("comment", words("a", 5))
    tab = await (await alice.tab()).opens()
    await tab.asks("comment")
    await tab.sees_whole(told)
    await tab.clicks("Good answer")
    await tab.clicks("Add a comment")
    field = tab.page.get_by_label("Your comment")
    await field.fill("Because")
    await tab.page.mouse.click(5, 5)
    await expect(field).to_have_value("Because")
    await field.fill("")
    await tab.page.mouse.click(5, 5)
    await expect(field).to_have_count(0)
