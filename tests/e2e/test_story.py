"""The story: Alice leaves chat A while it answers, and finds the whole answer on return.

In every variant the answer is the upstream's, byte for byte, and was never typed out twice: the
guard is the watcher of `watch.js`, which sees each frame; `test_controls.py` proves that it sees.
"""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import expect

from tests.e2e.person import words
from tests.e2e.relay import Relay
from tests.e2e.tab import NETWORK

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUANTUM = "Explain quantum computing in detail"
TIDES = "And why are there two tides a day?"

# A browser or a proxy on the way that knows no WebSockets.
NO_SOCKETS = """
window.WebSocket = class extends EventTarget {
  static OPEN = 1;
  readyState = 3;
  constructor() {
    super();
    setTimeout(() => this.onclose?.(new CloseEvent("close", { code: 1006 })), 20);
  }
  send() {}
  close() {}
};
"""


async def leaves_and_returns(alice, tab, *, lasts_s=5.0):
    """Tell the story, with an answer in A that takes so long."""
    told = alice.agree_text(QUANTUM, words("q", 250), lasts_s=lasts_s)
    other = alice.agree_text(TIDES, words("t", 40), lasts_s=1)
    a = await tab.asks(QUANTUM)
    await tab.sees(len(told) // 5)
    await tab.begins_a_new_chat()
    b = await tab.asks(TIDES)
    await tab.sees_row(a, "answering")
    await tab.sees_whole(other)
    await tab.sees_row(a, "unread")
    await tab.sees_row(b, "time")
    await tab.goes_to(a)
    await tab.sees_whole(told)
    await tab.sees_row(a, "time")
    assert await tab.answers.count() == 1
    assert await tab.questions.count() == 1


async def test_alice_leaves_chat_a_while_it_answers_and_finds_it_whole(alice):
    """Guard: the request runs on the server, and each chat shows only its own requests."""
    await leaves_and_returns(alice, await (await alice.tab()).opens())


@pytest.mark.parametrize("way", ["stream", "polling"])
async def test_the_same_where_websockets_are_blocked(alice, way):
    """Guard: `Live.nextWay` goes on to the stream of events, and from it to polling."""
    device = await alice.device(before=NO_SOCKETS)
    tab = await alice.tab(device)
    if way == "polling":
        await device.route("**/api/live**", lambda route: route.abort())
        tab.excuse(NETWORK)
    # Polling begins late and looks each two seconds: the answer has to last.
    await leaves_and_returns(alice, await tab.opens(), lasts_s=15 if way == "polling" else 5)


async def test_the_same_through_a_proxy_that_lets_no_stream_live_long(alice, world):
    """Guard: a closed line is no end; the page comes back with its cursor."""
    async with Relay(world.server.port) as relay:
        tab = await alice.tab(url=relay.url)
        tab.excuse(NETWORK)
        await tab.opens()

        async def breaks():
            while True:
                await asyncio.sleep(0.7)  # how long the proxy lets anything live
                relay.break_all()

        breaking = asyncio.create_task(breaks())
        await leaves_and_returns(alice, tab)
        breaking.cancel()
        assert relay.cuts > 2


async def test_a_reload_at_any_of_20_instants_changes_nothing(alice, rng):
    """Guard: what is stored is painted first, and the line is attached behind it."""
    told = alice.agree_text(QUANTUM, words("q", 700), lasts_s=12)
    tab = await (await alice.tab()).opens()
    a = await tab.asks(QUANTUM)
    for _ in range(20):
        await asyncio.sleep(rng.uniform(0, 0.6))
        await tab.reloads()
    await tab.is_at(a)
    await tab.sees_whole(told)
    assert await tab.answers.count() == await tab.questions.count() == 1


async def test_a_second_device_sees_what_the_first_one_sees(alice):
    """Guard: messages carry the content so far and its number; the line goes on behind it."""
    told = alice.agree_text(QUANTUM, words("q", 250), lasts_s=5)
    tab = await (await alice.tab()).opens()
    a = await tab.asks(QUANTUM)
    seen = await tab.sees(len(told) // 4)
    phone = await (await alice.tab(viewport={"width": 390, "height": 800})).opens(a)
    assert (await phone.sees(len(seen))).startswith(seen)
    await tab.sees_whole(told)
    await phone.sees_whole(told)


async def test_seven_tabs_all_see_the_whole_answer(alice):
    """Guard: one line per tab for everything, a WebSocket, of which browsers open many."""
    told = alice.agree_text(QUANTUM, words("q", 150), lasts_s=5)
    device = await alice.device()
    first = await (await alice.tab(device)).opens()
    a = await first.asks(QUANTUM)
    others = [await alice.tab(device) for _ in range(6)]
    await asyncio.gather(*(tab.opens(a) for tab in others))
    for tab in [first, *others]:
        await tab.sees_whole(told)


async def test_the_network_is_cut_while_it_answers(alice, world, soak):
    """Guard: `offline` lets the line go, `online` takes it up again with the cursor."""
    told = alice.agree_text(QUANTUM, words("q", 250), lasts_s=5)
    device = await alice.device()
    tab = await (await alice.tab(device)).opens()
    tab.excuse(NETWORK)
    a = await tab.asks(QUANTUM)
    seen = await tab.sees(len(told) // 5)
    await device.set_offline(True)
    await tab.sees_words("You are offline")
    request_id = (await world.api.chat(a))["running_request_id"]
    await world.api.shown(request_id, len(told) // 2)
    await asyncio.sleep(30 if soak else 2)  # the length of the cut is the test
    assert len(await tab.text()) >= len(seen)
    await device.set_offline(False)
    await tab.sees_whole(told)
    await expect(tab.page.get_by_text("You are offline")).to_have_count(0)


async def test_the_server_cannot_be_reached_and_nobody_tells_the_browser(alice, world, soak):
    """Guard: the line's loss is noticed, said after a while, and tried again with backoff."""
    told = alice.agree_text(QUANTUM, words("q", 250), lasts_s=5)
    async with Relay(world.server.port) as relay:
        tab = await (await alice.tab(url=relay.url)).opens()
        tab.excuse(NETWORK)
        await tab.asks(QUANTUM)
        await tab.sees(len(told) // 5)
        relay.cut()
        await tab.sees_words("Reconnecting…")
        await asyncio.sleep(30 if soak else 1)  # the length of the cut is the test
        relay.mend()
        await tab.sees_whole(told)
        await expect(tab.page.get_by_text("Reconnecting…")).to_have_count(0)


async def test_the_server_is_killed_and_restarted_while_it_answers(alice, world):
    """Guard: accepted is committed, the reconciler finds what nobody runs; what was shown stays
    until the new attempt has begun, which happens once."""
    told = alice.agree_text(QUANTUM, words("q", 120), lasts_s=3)
    other = alice.agree_text(TIDES, words("t", 120), lasts_s=3)
    tab = await (await alice.tab()).opens()
    tab.excuse(NETWORK, r"status of 50\d")
    tab.may_go_back = True
    b = await tab.asks(TIDES)
    await tab.begins_a_new_chat()
    a = await tab.asks(QUANTUM)
    await tab.sees(len(told) // 3)
    await world.server.kill9()
    kept = await tab.text()
    await tab.sees_words("Reconnecting…")
    assert await tab.text() == kept
    await world.server.start()
    await tab.sees_whole(told)
    await tab.sees_row(a, "time")
    faults = (await tab.watched())["faults"]
    assert len(faults) <= 1, faults
    await tab.sees_row(b, "unread")
    await tab.goes_to(b)
    await tab.sees_whole(other)
