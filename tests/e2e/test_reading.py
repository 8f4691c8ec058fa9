"""Reading in a real browser: footnotes, long texts and tables, drawings anywhere, on paper too."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.e2e.screens import FLOOD
from tests.e2e.worlds import FRAGILE
from tests.world.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORLD = FRAGILE

PROSE = "Some **words** of prose that fill a line or two. " * 6
LONG = f"{PROSE}\n\n" * 60
NOTED = "\n\n".join(["A claim[^1].", *[PROSE] * 12, "The end.", "[^1]: Its proof"])
ROWS = "".join(f"| row {n} | " + "words " * 8 + "|\n" for n in range(400))
TABLE = f"| name | what it is |\n|---|---|\n{ROWS}"

MOVED = """() => [...document.querySelectorAll("#root *")].filter((node) =>
  node.scrollTop && !/auto|scroll/.test(getComputedStyle(node).overflowY)).length"""
"""How many boxes were scrolled that nobody can scroll back."""


async def answered(alice, *texts):
    """Ask for texts, one after the other in one chat; return the tab."""
    tab = await (await alice.tab()).opens()
    tab.may_go_back = True  # notes and drawings take the place of their source
    for number, text in enumerate(texts):
        alice.agree_text(f"text {number}", text, size=200)
        await tab.asks(f"text {number}")
        await expect(tab.button("Answer again")).to_have_count(number + 1)
    return tab


async def test_a_footnote_leads_to_its_words_and_back_within_its_own_answer(alice):
    """Guards: nothing but the log scrolls, marks keep their names, each answer has its own."""
    tab = await answered(alice, NOTED, NOTED)
    await expect(tab.answers.get_by_text("Its proof")).to_have_count(2)
    ids = await tab.answers.locator("[id]").evaluate_all("all => all.map(({ id }) => id)")
    named = [one for one in ids if "fn" in one]
    assert len(named) == len(set(named)) == 4
    for place in (0, 1):
        answer = tab.answers.nth(place)
        mark = answer.locator("sup a")
        await mark.focus()
        await tab.page.keyboard.press("Enter")
        await expect(answer.get_by_text("Its proof")).to_be_in_viewport()
        assert await tab.page.evaluate(MOVED) == 0
        await expect(tab.composer).to_be_in_viewport(ratio=1)
        await answer.get_by_role("link", name="Back to reference 1").click()
        await expect(mark).to_be_in_viewport()
    assert await tab.page.evaluate(MOVED) == 0


async def test_a_long_text_with_footnotes_stays_formatted(alice):
    """Guard: what is parsed whole has a larger limit than a single block."""
    tab = await answered(alice, f"## Title\n\nFirst[^1].\n\n{LONG}[^1]: Proof")
    answer = tab.answers.first
    await expect(answer.get_by_role("heading", name="Title")).to_be_attached()
    await expect(answer.locator("sup a")).to_have_count(1)
    assert await answer.locator("strong").count() > 300


async def test_a_long_table_stays_one_to_read(alice):
    """Guard: it is cut at rows, and each piece has the head; every row is there once."""
    tab = await answered(alice, TABLE)
    answer = tab.answers.first
    await expect(answer.locator("tbody tr")).to_have_count(400)
    tables = await answer.locator("table").count()
    assert 1 < tables < 8
    await expect(answer.get_by_role("columnheader", name="what it is")).to_have_count(tables)
    assert "|" not in await tab.text()


async def test_what_is_too_long_to_be_formatted_keeps_its_lines(alice):
    """Guard: a block that is not parsed is shown as it is written."""
    tab = await answered(alice, "one line of many\n" * 1_000)
    shown = tab.answers.get_by_text("one line of many")
    await expect(shown).to_have_css("white-space-collapse", "preserve")


async def test_drawings_are_drawn_in_lists_and_beside_footnotes(alice):
    """Guard: every fence has the same view, wherever the parser finds it."""
    listed = "".join(f"   {line}\n" for line in FLOOD.splitlines())
    tab = await answered(alice, f"A claim[^1].\n\n{FLOOD}\n[^1]: Proof", f"1. First:\n\n{listed}\n")
    for place in (0, 1):
        drawing = tab.answers.nth(place).get_by_label("Drawing").get_by_role("img")
        await expect(drawing).to_have_count(1, timeout=30_000)


async def test_breaks_in_cells_break_lines_and_other_html_stays_text(alice):
    """Guard: `<br>` exactly; whatever else it says makes it text."""
    cells = "| a<br>b<br/>c<BR />d | <br onclick=x> <b>e</b> |"
    tab = await answered(alice, f"| one | two |\n|---|---|\n{cells}\n")
    answer = tab.answers.first
    await expect(answer.locator("td br")).to_have_count(3)
    await expect(answer.locator("td").last).to_have_text("<br onclick=x> <b>e</b>")
    assert await answer.locator("b, [onclick]").count() == 0


async def test_an_empty_answer_says_so(alice):
    """Guard: an answer that is whole and has no words has an end card."""
    tab = await (await alice.tab()).opens()
    alice.agree_text("nothing", "")
    await tab.asks("nothing")
    await tab.sees_words("The agent answered with nothing")
    await expect(tab.button("Retry")).to_be_visible()


async def test_paper_has_the_whole_conversation_and_nothing_else(alice, world):
    """Guards: the styles for paper, and all messages are shown for it."""
    said = [{"role": ("user", "assistant")[n % 2], "content": f"said {n}"} for n in range(200)]
    body = {"messages": [*said, {"role": "user", "content": "the last"}]}
    accepted = (await world.api.http.post("/api/invoke_endpoint", json=body)).json()
    await world.api.ended(accepted["request_id"])
    tab = await (await alice.tab()).opens(accepted["chat_id"])
    await expect(tab.questions.last).to_contain_text("the last")
    await tab.page.emulate_media(media="print")
    await tab.page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert await tab.questions.count() == 101
    for away in (
        tab.composer,
        tab.page.get_by_label("Sidebar", exact=True),
        tab.button("Answer again").last,
    ):
        await expect(away).to_be_hidden()

    async def whole():
        return await tab.page.evaluate(
            """() => {
              const log = document.querySelector("[role=log]");
              const page = document.documentElement;
              return log.parentElement.clientHeight >= log.clientHeight
                && page.scrollHeight >= log.clientHeight;
            }"""
        )

    await eventually(whole, within_s=10, what="nothing is cut off")
