"""Ends that are not whole, and the branches that retries and edits make."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.e2e.person import words
from tests.e2e.worlds import FRAGILE

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORLD = FRAGILE


async def test_a_failed_answer_says_why_and_retry_answers(alice):
    """Guard: a failure is stored with its reason; retry makes a sibling, not a second question."""
    script = {"name": "fails once", "chunks": 20, "status": 403, "fail_times": 1}
    told = alice.agree("fails once", **script)
    tab = await (await alice.tab()).opens()
    a = await tab.asks("fails once")
    await tab.sees_words("The agent refused this request")
    await tab.reloads()
    await tab.sees_words("The agent refused this request")
    await tab.clicks("Retry")
    await tab.sees_whole(told)
    await tab.sees_words("2/2")
    await tab.sees_row(a, "time")
    assert await tab.questions.count() == 1


async def test_a_failure_out_of_sight_needs_attention_in_the_list(alice):
    """Guard: the row's one slot tells failed from new."""
    alice.agree("fails", chunks=20, gate_at=10, gate="away", error_at=15)
    tab = await (await alice.tab()).opens()
    a = await tab.asks("fails")
    await tab.begins_a_new_chat()
    alice.world.upstream.open("away")
    await tab.sees_row(a, "attention")
    await tab.sees_words("could not be answered", within=tab.notices)
    await tab.goes_to(a)
    await tab.sees_row(a, "time")


async def test_an_interrupted_answer_keeps_its_words_and_offers_to_go_on(alice):
    """Guard: the partial is kept; it says that work does not go on by itself."""
    told = alice.agree("cut", name="cut", chunks=40, rate=40, drop_at=20)
    more = alice.agree_text("Please continue exactly where you stopped.", words("m", 5))
    tab = await (await alice.tab()).opens()
    await tab.asks("cut")
    await tab.sees_words("It does not go on by itself")
    kept = await tab.text()
    assert kept
    assert told.startswith(kept)
    await expect(tab.button("Retry")).to_be_visible()
    await tab.clicks("Continue")
    await tab.sees_whole(more)
    await tab.sees_words("You asked to continue")
    assert await tab.text(0) == kept


async def test_answering_again_makes_versions_that_survive_a_reload(alice):
    """Guard: siblings in the server's tree, the chosen one is the server's too."""
    tab = await (await alice.tab()).opens()
    versions = [words(letter, 10) for letter in "abc"]
    alice.agree_text("again", versions[0])
    await tab.asks("again")
    await tab.sees_whole(versions[0])
    for number, text in enumerate(versions[1:], start=2):
        alice.agree_text("again", text)
        await tab.clicks("Answer again")
        await tab.sees_words(f"{number}/{number}")
        await tab.sees_whole(text)
    await tab.clicks("Earlier answer")
    await tab.sees_words("2/3")
    await tab.sees_whole(versions[1])
    await tab.page.wait_for_load_state("networkidle")
    await tab.reloads()
    await tab.sees_words("2/3")
    await tab.sees_whole(versions[1])
    assert await tab.questions.count() == 1


async def test_editing_a_question_makes_a_branch_that_survives_a_reload(alice):
    """Guard: an edit is a sibling through `parent_id`; the old branch stays as it was."""
    first = alice.agree_text("hello", words("h", 10))
    second = alice.agree_text("good evening", words("e", 10))
    later = alice.agree_text("and then", words("t", 10))
    tab = await (await alice.tab()).opens()
    await tab.asks("hello")
    await tab.sees_whole(first)
    await tab.asks("and then")
    await tab.sees_whole(later)
    await tab.questions.first.hover()
    await tab.button("Edit", within=tab.questions.first).click()
    await tab.page.get_by_label("Edit your question").fill("good evening")
    await tab.button("Send", within=tab.questions.first).click()
    await tab.sees_whole(second)
    await expect(tab.questions).to_have_count(1)
    await tab.sees_words("2/2")
    await tab.reloads()
    await tab.sees_whole(second)
    await tab.sees_words("2/2")
    await tab.clicks("Earlier question")
    await tab.sees_whole(later)
    await expect(tab.questions).to_have_count(2)
