"""The list of chats when it is long or put away, and what calls people who look elsewhere."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import expect

from tests.e2e.person import words
from tests.e2e.worlds import FRAGILE

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORLD = FRAGILE

CHATS = 70
"""More than one page of the list."""

# A browser that remembers what it was asked to show and play, and whose tab can be away.
REMEMBERING = """
window.told = [];
window.tones = 0;
window.Notification = class {
  static permission = "default";
  static requestPermission = async () => (Notification.permission = "granted");
  constructor(title, options) {
    window.told.push({ title, body: options.body });
    window.last = this;
  }
  close() {}
};
window.AudioContext = class extends AudioContext {
  createOscillator() {
    window.tones += 1;
    return super.createOscillator();
  }
};
let away = false;
Object.defineProperty(Document.prototype, "hidden", { get: () => away });
window.goAway = (now) => {
  away = now;
  document.dispatchEvent(new Event("visibilitychange"));
};
"""


async def test_a_long_list_is_read_page_by_page_and_each_chat_is_in_it_once(alice, world):
    """Guard: the list asks for the next page when its end comes into view."""

    async def ask(number):
        body = {"message": f"chat {number}"}
        await world.api.ended(
            (await world.api.http.post("/api/invoke_endpoint", json=body)).json()["request_id"]
        )

    for first in range(0, CHATS, 10):
        await asyncio.gather(*(ask(number) for number in range(first, first + 10)))
    tab = await (await alice.tab()).opens()
    rows = tab.page.locator("nav li a")
    await expect(rows).to_have_count(50)
    await rows.last.scroll_into_view_if_needed()
    await expect(rows).to_have_count(CHATS)
    addresses = await rows.evaluate_all("all => all.map(a => a.pathname)")
    assert len(set(addresses)) == CHATS
    await expect(tab.page.get_by_role("button", name="Show more")).to_have_count(0)


async def test_a_chat_is_put_away_and_taken_back(alice):
    """Guard: archived is the server's; the list shows either kind."""
    told = alice.agree_text("put away", words("a", 5))
    tab = await (await alice.tab()).opens()
    a = await tab.asks("put away")
    await tab.sees_whole(told)
    await chooses(tab, a, "Archive")
    await expect(tab.row(a)).to_have_count(0)
    await tab.clicks("Hide sidebar")
    await tab.reloads()
    await tab.sees_whole(told)
    await tab.clicks("Show sidebar")  # hidden stays hidden
    await expect(tab.row(a)).to_have_count(0)
    await tab.button("More").click()
    await tab.page.get_by_role("menuitem", name="Archived chats").click()
    await expect(tab.row(a)).to_have_count(1)
    await chooses(tab, a, "Move back")
    await tab.sees_words("No chat is archived")
    await tab.page.get_by_role("button", name="All chats").click()
    await expect(tab.row(a)).to_have_count(1)


async def test_a_chat_is_renamed_pinned_and_deleted_with_a_moment_to_undo(alice, world):
    """Guard: all three are the server's; what was deleted goes at the latest with the page."""
    told = alice.agree_text("Why?", words("a", 5))
    later = alice.agree_text("later", words("b", 5))
    tab = await (await alice.tab()).opens()
    await tab.page.get_by_role("button", name="Why?").click()  # an example of the agent's
    a = await tab.chat_id()
    await tab.sees_whole(told)
    await tab.begins_a_new_chat()
    b = await tab.asks("later")
    await tab.sees_whole(later)
    await chooses(tab, a, "Rename")
    await tab.page.get_by_label("Name of the chat").fill("A new name")
    await tab.page.keyboard.press("Enter")
    await chooses(tab, a, "Pin")
    await chooses(tab, b, "Delete")
    await expect(tab.row(b)).to_have_count(0)
    await expect(tab.page).to_have_url(f"{tab.url}/")
    await tab.button("Undo").click()
    await expect(tab.row(b)).to_have_count(1)
    await chooses(tab, b, "Delete")
    await expect(tab.row(b)).to_have_count(0)
    await tab.reloads()
    pinned = tab.page.get_by_label("Pinned").locator("li")
    await expect(pinned).to_have_count(1)
    await expect(pinned).to_contain_text("A new name")
    await expect(tab.row(b)).to_have_count(0)
    assert [chat["id"] for chat in (await world.api.get("/api/chats"))["chats"]] == [a]


async def chooses(tab, chat_id, item):
    """Choose in the menu of a row."""
    await tab.row(chat_id).hover()
    await tab.row(chat_id).get_by_role("button").click()
    await tab.page.get_by_role("menuitem", name=item).click()


async def test_people_who_look_elsewhere_are_called_if_they_want_to_be(alice):
    """Guard: notification and sound only on demand, only for what ends out of sight; a hidden tab
    keeps its line for them."""
    tab = await (await alice.tab(before=REMEMBERING)).opens()
    await ends_while_away(alice, tab, "not called")
    assert await tab.page.evaluate("() => [told.length, tones]") == [0, 0]
    await tab.clicks("Settings")
    for name in ("Browser notifications", "Sound"):
        await tab.page.get_by_role("switch", name=name).click()
        await expect(tab.page.get_by_role("switch", name=name)).to_be_checked()
    await tab.page.keyboard.press("Escape")
    called = await ends_while_away(alice, tab, "called")
    await tab.page.wait_for_function("() => told.length > 0")
    told = await tab.page.evaluate("() => told")
    assert [one["body"] for one in told] == ["“called” is answered"]
    assert await tab.page.evaluate("() => tones") > 0
    await tab.begins_a_new_chat()
    await tab.page.evaluate("() => last.onclick()")
    await tab.is_at(called)


async def ends_while_away(alice, tab, question):
    """Let an answer end while the tab is hidden; come back; return the chat's id."""
    told = alice.agree_text(question, words("a", 40), lasts_s=1.5)
    await tab.begins_a_new_chat()
    chat_id = await tab.asks(question)
    await tab.sees(5)
    await tab.page.evaluate("() => goAway(true)")
    await tab.page.wait_for_function("() => document.title.startsWith('(1)')")
    await asyncio.sleep(0.8)  # a notice waits whether another device shows the chat
    await tab.page.evaluate("() => goAway(false)")
    await tab.sees_whole(told)
    return chat_id
