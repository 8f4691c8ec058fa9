"""A prompt is never lost, and never asked twice."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import expect

from tests.e2e.person import words
from tests.e2e.tab import ASKING, NETWORK
from tests.e2e.worlds import FRAGILE

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORLD = FRAGILE


async def questions_in(world):
    """Return the questions of all chats, as the server has them."""
    chats = (await world.api.get("/api/chats"))["chats"]
    trees = [await world.api.messages(chat["id"]) for chat in chats]
    return [one["content"] for tree in trees for one in tree if one["role"] == "user"]


async def test_a_question_asked_offline_is_kept_and_sent_when_the_network_is_back(alice, world):
    """Guard: the outbox; nothing is dropped before the server has it."""
    told = alice.agree_text("offline", words("a", 20))
    device = await alice.device()
    tab = await (await alice.tab(device)).opens()
    tab.excuse(NETWORK)
    await expect(tab.composer).to_be_visible()
    await device.set_offline(True)
    await tab.writes("offline")
    await tab.composer.press("Enter")
    await expect(tab.page.get_by_label("You, not sent yet")).to_contain_text("offline")
    await tab.sees_words("It is sent as soon as that works")
    await device.set_offline(False)
    await tab.sees_whole(told)
    assert await questions_in(world) == ["offline"]
    await expect(tab.questions).to_have_count(1)


async def test_a_refused_question_keeps_its_text_over_a_reload_and_can_be_sent_again(alice, world):
    """Guard: what could not be sent stays in the browser, under its key. All at once: they wait."""
    refusals = (500, 503, 401)
    await asyncio.gather(*(is_refused(alice, status) for status in refusals))
    assert sorted(await questions_in(world)) == sorted(f"refused {one}" for one in refusals)


async def is_refused(alice, status):
    """Ask, be refused, reload, and be heard after all."""
    told = alice.agree_text(f"refused {status}", words("a", 20))
    tab = await (await alice.tab()).opens()
    tab.excuse(f"status of {status}")
    await tab.page.route(ASKING, lambda route: route.fulfill(status=status, body="no"))
    await tab.writes(f"refused {status}")
    await tab.composer.press("Enter")
    unsent = tab.page.get_by_label("You, not sent yet")
    await expect(unsent.get_by_role("alert")).to_be_visible()
    await tab.reloads()
    await expect(unsent).to_contain_text(f"refused {status}")
    await tab.page.unroute(ASKING)
    if status == 500:  # the others are tried again without being asked to
        await tab.clicks("Try again")
    await tab.sees_whole(told)


async def test_a_refused_question_can_be_taken_back_and_edited(alice, world):
    """Guard: taking back leaves the text in the composer, and nothing in the outbox."""
    alice.agree_text("better", words("a", 20))
    tab = await (await alice.tab()).opens()
    tab.excuse("status of 400")
    await tab.page.route(ASKING, lambda route: route.fulfill(status=400, body="no"))
    await tab.writes("worse")
    await tab.composer.press("Enter")
    unsent = tab.page.get_by_label("You, not sent yet")
    await tab.button("Edit", within=unsent).click()
    await expect(tab.composer).to_have_value("worse")
    await expect(unsent).to_have_count(0)
    await tab.page.unroute(ASKING)
    await tab.asks("better")
    assert await questions_in(world) == ["better"]


async def test_a_double_click_makes_one_question(alice, world):
    """Guard: the composer is empty after the first click; the key makes repeats count once."""
    told = alice.agree_text("twice", words("a", 20))
    tab = await (await alice.tab()).opens()
    await tab.writes("twice")
    await tab.button("Send message").dblclick()
    await tab.sees_whole(told)
    assert await questions_in(world) == ["twice"]
    await expect(tab.questions).to_have_count(1)


async def test_a_question_whose_reply_was_lost_is_asked_once(alice, world):
    """Guard: the idempotency key stays the same over every try."""
    told = alice.agree_text("lost reply", words("a", 20))
    tab = await (await alice.tab()).opens()
    tab.excuse(NETWORK)
    tries = []

    async def lose(route):
        tries.append(route.request.headers["idempotency-key"])
        if len(tries) > 2:
            return await route.continue_()
        await route.fetch()
        return await route.abort()

    await tab.page.route(ASKING, lose)
    await tab.writes("lost reply")
    await tab.composer.press("Enter")
    await tab.sees_whole(told)
    assert len(tries) == 3
    assert len(set(tries)) == 1
    assert await questions_in(world) == ["lost reply"]
    await expect(tab.questions).to_have_count(1)


async def test_a_draft_stays_with_its_chat(alice):
    """Guard: drafts are kept by chat, also over a reload."""
    alice.agree_text("one", words("a", 5))
    tab = await (await alice.tab()).opens()
    a = await tab.asks("one")
    await tab.writes("half a thought")
    await tab.begins_a_new_chat()
    await expect(tab.composer).to_have_value("")
    await tab.goes_to(a)
    await expect(tab.composer).to_have_value("half a thought")
    await tab.reloads()
    await expect(tab.composer).to_have_value("half a thought")
