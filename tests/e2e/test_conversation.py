"""The conversation in a real browser: it shows what an answer is made of, and lets people read."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.e2e.person import words
from tests.e2e.screens import PHONE
from tests.e2e.worlds import FRAGILE
from tests.world.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORLD = FRAGILE


async def test_all_parts_of_an_answer_are_shown_told_in_detail_and_judged(alice):
    """Guard: parts are made of all items; the panel reads the request itself; the verdict is
    posted, a reload would otherwise forget it."""
    tab = await (await alice.tab()).opens()
    tab.may_go_back = True  # what is unfolded is text too
    await tab.page.get_by_role("button", name="Agent:").click()
    await tab.page.get_by_role("menuitemcheckbox", name="Thinker").click()
    await tab.asks("How is the weather?")
    await expect(tab.button("Answer again")).to_be_visible(timeout=30_000)
    log = tab.page.get_by_role("log")
    assert await log.get_by_text("I look it up.").count() == 0
    await log.get_by_text("Thought").click()
    await expect(log.get_by_text("I look it up.")).to_be_visible()
    await log.get_by_text("weather", exact=True).click()
    await expect(log.get_by_text("12 degrees", exact=True).first).to_be_visible()
    await expect(log.get_by_role("link", name="Weather in Bern")).to_have_count(1)

    await tab.clicks("Details")
    panel = tab.page.get_by_role("dialog", name="Details")
    await expect(panel.get_by_text("tr-5f0e4b8a")).to_be_visible()
    await tab.button("Show raw events", within=panel).click()
    await expect(panel.get_by_text("response.completed").first).to_be_visible()
    await tab.page.keyboard.press("Escape")

    await tab.clicks("Bad answer")
    await tab.clicks("Add a comment")
    await tab.page.get_by_label("Your comment").fill("It was colder.")
    await tab.button("Send").click()
    await expect(tab.button("Edit comment")).to_be_visible()
    await tab.reloads()
    await expect(tab.button("Bad answer")).to_have_attribute("aria-pressed", "true")
    await tab.clicks("Edit comment")
    await expect(tab.page.get_by_label("Your comment")).to_have_value("It was colder.")


async def test_what_was_said_can_be_copied_and_taken_along(alice):
    """Guard: copies are the Markdown that was sent, not what is drawn of it."""
    told = alice.agree_text("to keep", "Some **bold** words.\n\n```python\nprint(1)\n```\n")
    device = await alice.device(permissions=["clipboard-read", "clipboard-write"])
    tab = await (await alice.tab(device)).opens()
    tab.may_go_back = True  # half-written Markdown
    await tab.asks("to keep")
    await tab.button("Answer again").wait_for(state="attached")

    async def copied():
        text = str(await tab.page.evaluate("() => navigator.clipboard.readText()"))
        await tab.page.evaluate("() => navigator.clipboard.writeText('nothing')")
        return text.strip()

    await tab.clicks("Copy message")
    await tab.sees_words("Copied", within=tab.answers)
    assert await copied() == told.strip()
    await tab.clicks("Copy code")
    await expect(tab.button("Copy code")).to_contain_text("Copied")
    assert await copied() == "print(1)"
    await tab.page.keyboard.press("Control+Shift+C")
    await tab.sees_words("The last answer was copied", within=tab.notices)
    assert await copied() == told.strip()
    for form in ("Markdown", "JSON"):
        await tab.clicks("Export chat")
        async with tab.page.expect_download() as download:
            await tab.page.get_by_role("menuitem", name=f"Export as {form}").click()
        kept = read(await (await download.value).path())
        assert "to keep" in kept
        assert "Some **bold** words." in kept


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


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


async def test_verdicts_are_asked_for_only_where_one_looks(alice, world):
    """Guard: `useSeen`; a long chat would ask for the verdict on each of its answers at once."""
    chat_id = ""
    for number in range(6):
        alice.agree_text(f"long {number}", words("a", 200).replace(" ", "\n\n"), size=2000)
        body = {"message": f"long {number}", **({"chat_id": chat_id} if number else {})}
        accepted = (await world.api.http.post("/api/invoke_endpoint", json=body)).json()
        chat_id = accepted["chat_id"]
        await world.api.ended(accepted["request_id"])
    tab = await alice.tab()
    tab.may_go_back = True  # a long text is painted from its end upwards
    asked = []
    tab.page.on("request", lambda request: asked.append(request.url))
    await tab.opens(chat_id)
    await expect(tab.button("Answer again")).to_have_count(6)
    await tab.page.wait_for_load_state("networkidle")
    assert 1 <= sum(url.endswith("/feedback") for url in asked) <= 3


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
