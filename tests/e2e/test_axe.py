"""axe finds nothing to complain of on any screen, in light and in dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.e2e.person import words
from tests.e2e.screens import SCREENS
from tests.e2e.worlds import FRAGILE

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORLD = FRAGILE

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RULES = {"type": "tag", "values": LEVELS}
CONTRAST = {"type": "rule", "values": ["color-contrast"]}


async def violations(tab, rules=RULES):
    """Return what axe complains of on the page as it is now."""
    if not await tab.page.evaluate("() => 'axe' in window"):
        # By the debugger, which the policy of the page does not bind.
        await tab.page.evaluate(f"{AXE.read_text()}; null")
    found = await tab.page.evaluate(
        """(runOnly) => axe.run(document, {runOnly, resultTypes: ["violations"]})
          .then(({violations}) => violations.flatMap(({id, impact, nodes}) => nodes.map(
            ({html, failureSummary}) => `${id} (${impact}): ${html} · ${failureSummary}`)))""",
        rules,
    )
    return list(found)


async def violations_in_both_themes(tab):
    """Return what axe complains of in light, and of the colours in dark."""
    found = []
    for theme, rules in (("light", RULES), ("dark", CONTRAST)):
        await tab.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        found += [f"{theme}: {one}" for one in await violations(tab, rules)]
    return found


ROOTS = [name for name, screen in SCREENS.items() if not screen.after]


@pytest.mark.parametrize("root", ROOTS)
async def test_axe_finds_nothing(alice, root):
    """Guard: the control below shows that axe looks.

    The states that come after a screen are judged in the same tab, one by one.
    """
    device = await alice.device(**SCREENS[root].device)
    tab = await alice.tab(device)
    tab.may_go_back = True  # half-written Markdown
    found = []
    for name, screen in SCREENS.items():
        if root not in (name, screen.after):
            continue
        await screen.shows(alice, tab)
        found += [f"{name}, {one}" for one in await violations_in_both_themes(tab)]
        if screen.after:
            await tab.page.keyboard.press("Escape")
    assert not found, "\n\n".join(found)


async def test_axe_would_find_a_button_without_a_name(alice):
    """The control."""
    tab = await (await alice.tab()).opens()
    await expect(tab.composer).to_be_visible()
    await tab.page.evaluate(
        "() => document.querySelector('main').append(document.createElement('button'))"
    )
    assert any(one.startswith("button-name") for one in await violations(tab))


async def test_the_log_is_not_read_token_by_token_and_one_region_tells_its_end(alice):
    """Guard: the log's live region is off; the status region says two sentences per answer."""
    told = alice.agree_text("spoken", words("a", 60), lasts_s=2)
    tab = await (await alice.tab()).opens()
    await tab.asks("spoken")
    log = tab.page.get_by_role("log")
    await expect(log).to_have_attribute("aria-live", "off")
    await expect(log).to_have_attribute("aria-busy", "true")
    status = tab.page.locator("main").get_by_role("status")
    await expect(status.get_by_text("Answering…")).to_be_attached()
    await tab.sees_whole(told)
    await expect(status.get_by_text("The answer is complete")).to_be_attached()
    await expect(log).to_have_attribute("aria-busy", "false")


async def test_everything_can_be_done_with_the_keyboard(alice):
    """Guard: the shortcuts, and a focus that stays where one writes."""
    told = alice.agree_text("by keys", words("a", 10))
    tab = await (await alice.tab()).opens()
    keys = tab.page.keyboard
    await expect(tab.composer).to_be_focused()
    await keys.type("by keys")
    await keys.press("Enter")
    await tab.sees_whole(told)
    await expect(tab.composer).to_be_focused()
    a = await tab.chat_id()
    await keys.press("Control+Shift+O")
    await expect(tab.page).to_have_url(f"{tab.url}/")
    await keys.press("Alt+ArrowDown")
    await tab.is_at(a)
    await keys.press("Control+K")
    await expect(tab.page.get_by_label("Search chats")).to_be_focused()
    await keys.type("keys")
    await expect(
        tab.page.locator("nav").get_by_role("link", name=re.compile("keys"))
    ).to_be_visible()
    await keys.press("Escape")
    await keys.press("Control+/")
    sheet = tab.page.get_by_role("dialog")
    await expect(sheet).to_be_visible()
    await keys.press("Escape")
    await expect(sheet).to_have_count(0)


async def test_a_menu_is_gone_through_with_the_keys_and_gives_the_focus_back(alice):
    """Guard: `Menu`; the page's shortcuts leave Escape to it, and its button is named on focus."""
    alice.agree_text("with a menu", words("a", 5))
    tab = await (await alice.tab()).opens()
    chat_id = await tab.asks("with a menu")
    keys = tab.page.keyboard
    link, button = tab.row(chat_id).locator("a"), tab.row(chat_id).get_by_role("button")
    items = tab.page.get_by_role("menuitem")
    await link.focus()
    await keys.press("Tab")
    await keys.press("Enter")
    for key, name in [
        ("", "Rename"),
        ("ArrowUp", "Delete"),
        ("ArrowDown", "Rename"),
        ("a", "Archive"),
    ]:
        if key:
            await keys.press(key)
        await expect(items.get_by_text(name).locator("..")).to_be_focused()
    await keys.press("Escape")
    await expect(items).to_have_count(0)
    await expect(button).to_be_focused()
    await keys.press("Space")
    await keys.press("Home")
    await keys.press("Enter")
    name = tab.page.get_by_label("Name of the chat")
    await expect(name).to_be_focused()
    await keys.type("Renamed")
    await name.dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    await expect(name).to_be_focused()  # that key was the input method's
    await keys.press("Enter")
    await expect(link).to_contain_text("Renamed")
    await button.click()
    await tab.composer.click()
    await expect(items).to_have_count(0)
    export = tab.button("Export chat")
    await export.focus()
    await keys.press("Shift+Tab")
    await keys.press("Tab")
    await expect(tab.page.locator("[popover]")).to_have_text("Export chat")
    await keys.press("Escape")
    await expect(tab.page.locator("[popover]")).to_have_count(0)
