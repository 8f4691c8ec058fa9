"""Stopping, and asking while an answer runs."""

from __future__ import annotations

import pytest
from playwright.async_api import Request, expect

from tests.e2e.person import words
from tests.e2e.screens import PHONE
from tests.e2e.worlds import FRAGILE

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORLD = FRAGILE

LONG = {"name": "long", "chunks": 2000, "rate": 30}


async def test_stop_from_another_tab_keeps_what_was_seen_and_lets_nothing_grow(alice, world):
    """Guard: stop is a call about the request, whoever asked; the upstream call is closed."""
    told = alice.agree("long", **LONG)
    device = await alice.device()
    tab = await (await alice.tab(device)).opens()
    a = await tab.asks("long")
    seen = await tab.sees(60)
    other = await (await alice.tab(device)).opens(a)
    await other.sees(len(seen))
    await other.clicks("Stop")
    for each in (tab, other):
        await each.sees_words("Stopped")
    call = await world.closed(await world.called("long"))
    assert call.closed_by == "client"
    texts = [await each.text() for each in (tab, other)]
    assert texts[0] == texts[1]
    assert texts[0].startswith(seen.rstrip())
    assert told.startswith(texts[0])
    kept = (await world.api.messages(a))[-1]["content"]
    assert kept.rstrip() == texts[0]
    await tab.reloads()
    await tab.sees_words("Stopped")
    assert await tab.text() == texts[0]


async def test_escape_stops_before_the_first_word(alice, world):
    """Guard: stop works while the upstream is silent; an input method's Escape is its own."""
    alice.agree("silent", name="silent", ttft_s=60)
    tab = await (await alice.tab()).opens()
    await tab.asks("silent")
    await world.called("silent")
    await tab.sees_words("Thinking…")
    calls: list[str] = []

    def hears(call: Request) -> None:
        calls.append(call.url)

    tab.page.on("request", hears)
    await tab.composer.dispatch_event("keydown", {"key": "Escape", "isComposing": True})
    assert not any(url.endswith("/cancel") for url in calls)
    await tab.page.keyboard.press("Escape")
    await tab.sees_words("Nothing had been said yet")
    assert sum(url.endswith("/cancel") for url in calls) == 1
    await world.closed(await world.called("silent"))
    await expect(tab.composer).to_be_focused()


async def test_stop_then_send_at_once_puts_the_question_behind_the_stopped_answer(alice, world):
    """Guard: the partial is stored before the stop is answered, so the next question finds it."""
    alice.agree("long", **LONG)
    told = alice.agree_text("next", words("n", 20))
    tab = await (await alice.tab()).opens()
    a = await tab.asks("long")
    await tab.sees(40)
    await tab.clicks("Stop")
    await tab.asks("next")
    await tab.sees_whole(told)
    asked, stopped, again, answer = await world.api.messages(a)
    assert [again["parent_id"], answer["parent_id"]] == [stopped["id"], again["id"]]
    assert stopped["parent_id"] == asked["id"]
    assert await tab.answers.count() == 2
    await tab.sees_words("Stopped")


async def test_questions_wait_in_sight_and_can_be_edited_removed_and_sent_now(alice, world):
    """Guard: the queue is the server's; "send now" ends what runs and nothing else."""
    alice.agree("long", **LONG)
    told = alice.agree_text("second, better", words("n", 20))
    tab = await (await alice.tab()).opens()
    a = await tab.asks("long")
    await tab.sees(20)
    for number, question in enumerate(("second", "third"), start=1):
        await tab.asks(question)
        await expect(tab.chips).to_have_count(number)
    phone = await (await alice.tab()).opens(a)
    await expect(phone.chips).to_have_count(2)
    await tab.button("Edit waiting question", within=tab.chips.first).click()
    await tab.page.get_by_label("Edit the waiting question").fill("second, better")
    await tab.clicks("Save")
    await expect(tab.chips.first).to_contain_text("second, better")
    await tab.button("Remove waiting question", within=tab.chips.last).click()
    await expect(tab.chips).to_have_count(1)
    await expect(phone.chips).to_have_count(1)
    await expect(phone.chips.first).to_contain_text("second, better")
    await tab.button("Send now", within=tab.chips.first).click()
    await expect(tab.chips).to_have_count(0)
    await tab.sees_whole(told)
    contents = [message["content"] for message in await world.api.messages(a)]
    assert [contents[0], *contents[2:]] == ["long", "second, better", told]
    await expect(tab.questions).to_have_count(2)


async def test_a_question_can_be_sent_past_the_answer_that_runs(alice, world):
    """Guard: `if_busy: interrupt` stops this chat's answer and no other."""
    alice.agree("long", **LONG)
    other = alice.agree_text("other", words("o", 100), lasts_s=4)
    told = alice.agree_text("urgent", words("u", 20))
    tab = await (await alice.tab()).opens()
    b = await tab.asks("other")
    await tab.begins_a_new_chat()
    await tab.asks("long")
    await tab.sees(20)
    await tab.writes("urgent")
    await tab.clicks("Stop and send")
    await tab.sees_whole(told)
    await world.closed(await world.called("long"))
    await tab.goes_to(b)
    await tab.sees_whole(other)


async def test_a_queued_question_starts_by_itself_when_its_turn_comes(alice):
    """Guard: the queue belongs to the chat, whatever is in view."""
    alice.agree_text("one", words("a", 50), lasts_s=3)
    told = alice.agree_text("two", words("b", 20))
    tab = await (await alice.tab()).opens()
    a = await tab.asks("one")
    await tab.sees(5)
    await tab.asks("two")
    await expect(tab.chips).to_have_count(1)
    await tab.begins_a_new_chat()
    await tab.sees_row(a, "unread")
    await tab.goes_to(a)
    await expect(tab.chips).to_have_count(0)
    await tab.sees_whole(told)
    assert await tab.answers.count() == 2


async def test_an_answer_can_be_stopped_on_a_phone_while_a_draft_is_typed(alice):
    """Guard: stopping stays beside queueing, and both beside a draft that can be read."""
    alice.agree("A long one", chunks=2000, rate=20)
    narrow = {**PHONE, "viewport": {"width": 360, "height": 740}}
    tab = await (await alice.tab(**narrow)).opens()
    await tab.asks("A long one")
    await tab.sees(20)
    await tab.writes("A draft")
    await expect(tab.button("Queue message")).to_be_in_viewport(ratio=1)
    assert (await tab.composer.bounding_box())["width"] > 250
    await tab.clicks("Stop")
    await tab.sees_words("Stopped")
    await expect(tab.composer).to_have_value("A draft")
