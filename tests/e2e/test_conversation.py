"""The conversation in a real browser: it shows what an answer is made of, and lets people read."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.e2e.person import words
from tests.e2e.screens import PHONE
from tests.e2e.worlds import FRAGILE
from tests.world.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORLD = FRAGILE


async def asks_the_thinker(alice):
    """Choose the agent in a new chat, ask it, and wait for the end."""
    tab = await (await alice.tab()).opens()
    await tab.page.get_by_role("button", name="Agent:").click()
    await tab.page.get_by_role("menuitemcheckbox", name="Thinker").click()
    await tab.asks("How is the weather?")
    await expect(tab.button("Answer again")).to_be_visible(timeout=30_000)
    return tab


async def test_reasoning_tools_and_sources_are_shown_folded(alice):
    """Guard: parts are made of all items; a fold of text only would show nothing else."""
    tab = await asks_the_thinker(alice)
    log = tab.page.get_by_role("log")
    assert await log.get_by_text("I look it up.").count() == 0
    await log.get_by_text("Thought").click()
    await expect(log.get_by_text("I look it up.")).to_be_visible()
    await log.get_by_text("weather", exact=True).click()
    await expect(log.get_by_text("12 degrees", exact=True).first).to_be_visible()
    await expect(log.get_by_role("link", name="Weather in Bern")).to_have_count(1)
    tab.may_go_back = True  # what is unfolded is text too


async def test_details_tell_the_trace_and_the_raw_events(alice):
    """Guard: the panel reads the request itself."""
    tab = await asks_the_thinker(alice)
    await tab.clicks("Details")
    panel = tab.page.get_by_role("dialog", name="Details")
    await expect(panel.get_by_text("tr-5f0e4b8a")).to_be_visible()
    await tab.button("Show raw events", within=panel).click()
    await expect(panel.get_by_text("response.completed").first).to_be_visible()


async def test_a_comment_on_an_answer_is_kept(alice):
    """Guard: the verdict is posted; a reload would otherwise forget it."""
    tab = await asks_the_thinker(alice)
    await tab.clicks("Bad answer")
    await tab.clicks("Add a comment")
    await tab.page.get_by_label("Your comment").fill("It was colder.")
    await tab.button("Send").click()
    await expect(tab.button("Edit comment")).to_be_visible()
    await tab.reloads()
    await expect(tab.button("Bad answer")).to_have_attribute("aria-pressed", "true")
    await tab.clicks("Edit comment")
    await expect(tab.page.get_by_label("Your comment")).to_have_value("It was colder.")


async def test_nobody_is_pulled_down_who_reads_further_up(alice):
    """Guard: the first upward scroll lets go; without it the end would come back into view."""
    lines = words("a", 400).replace(" ", "\n\n")
    alice.agree_text("much", lines, size=200)
    alice.agree_text("more", lines, lasts_s=2)
    tab = await (await alice.tab()).opens()
    tab.may_go_back = True  # a long text is painted from its end upwards
    jump = tab.button("Jump to latest")
    await tab.asks("much")
    await expect(tab.button("Answer again")).to_be_visible(timeout=30_000)
    await tab.asks("more")
    await tab.sees(200)
    await tab.page.mouse.move(700, 400)
    for _ in range(6):
        await tab.page.mouse.wheel(0, -200)
    await expect(jump).to_be_visible()
    await expect(tab.button("Stop")).to_have_count(0, timeout=30_000)
    await expect(jump).to_be_visible()
    await jump.click()
    await expect(jump).to_have_count(0)


@pytest.mark.parametrize("device", [{}, PHONE], ids=["desktop", "phone"])
async def test_a_running_chat_opens_at_its_end_and_stays_there(alice, world, device):
    """Guard: `useScroll` follows what is painted in steps; without, it opens at its beginning."""
    told = alice.agree_text("long", words("a", 600).replace(" ", "\n\n"), lasts_s=5)
    accepted = await world.api.http.post("/api/invoke_endpoint", json={"message": "long"})
    await world.api.shown(accepted.json()["request_id"], len(told) // 2)
    tab = await alice.tab(**device)
    tab.may_go_back = True  # a long text is painted from its end upwards
    await tab.opens(accepted.json()["chat_id"])
    await tab.sees(len(told) // 2)

    async def at_the_end():
        below = await tab.page.get_by_role("log").evaluate(
            "({parentElement: box}) => box.scrollHeight - box.scrollTop - box.clientHeight"
        )
        return below < 40

    await eventually(at_the_end, within_s=2, what="the running chat is shown at its end")
    await expect(tab.button("Stop")).to_have_count(0, timeout=30_000)
    await eventually(at_the_end, within_s=5, what="the ended chat is shown at its end")
