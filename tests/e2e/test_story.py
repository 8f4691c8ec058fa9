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

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORLD = {"limits": {"running_per_user_max": 20}}

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


async def leaves_and_returns(alice, tab, *, way="", lasts_s=4.0):
    """Tell the story, with an answer in A that takes so long."""
    told = alice.agree_text(f"{QUANTUM} {way}".strip(), words("q", 250), lasts_s=lasts_s)
    other = alice.agree_text(TIDES, words("t", 40), lasts_s=1)
    a = await tab.asks(f"{QUANTUM} {way}".strip())
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


async def test_the_same_where_websockets_are_blocked_or_no_stream_lives_long(alice, world):
    """Guard: `Live.nextWay` goes on to the stream of events and from it to polling; and a closed
    line is no end, since the page comes back with its cursor. All at once: each only waits."""
    stream = await alice.tab(before=NO_SOCKETS)
    nothing = await alice.device(before=NO_SOCKETS)
    await nothing.route("**/api/live**", lambda route: route.abort())
    polling = await alice.tab(nothing)
    async with Relay(world.server.port) as relay:
        proxied = await alice.tab(url=relay.url)
        for tab in (stream, polling, proxied):
            tab.excuse(NETWORK)
            await tab.opens()
        breaking = asyncio.create_task(breaks(relay))
        await asyncio.gather(
            leaves_and_returns(alice, stream, way="by a stream"),
            # It begins late and looks each two seconds: the answer has to last.
            leaves_and_returns(alice, polling, way="by polling", lasts_s=10),
            leaves_and_returns(alice, proxied, way="through a proxy"),
        )
        breaking.cancel()
        assert relay.cuts > 2


async def breaks(relay):
    """Be a proxy that lets nothing live long."""
    while True:
        await asyncio.sleep(0.7)  # how long the proxy lets anything live
        relay.break_all()


async def test_a_reload_at_any_of_20_instants_changes_nothing(alice, rng):
    """Guard: what is stored is painted first, and the line is attached behind it."""
    told = alice.agree_text(QUANTUM, words("q", 600), lasts_s=9)
    tab = await (await alice.tab()).opens()
    a = await tab.asks(QUANTUM)
    for _ in range(20):
        await asyncio.sleep(rng.uniform(0, 0.4))
        await tab.reloads()
    await tab.is_at(a)
    await tab.sees_whole(told)
    assert await tab.answers.count() == await tab.questions.count() == 1


async def test_six_more_tabs_and_another_device_see_what_the_first_one_sees(alice):
    """Guard: messages carry the content so far and its number, and the line goes on behind it; one
    line per tab for everything, a WebSocket, of which browsers open many: of streams only six."""
    told = alice.agree_text(QUANTUM, words("q", 250), lasts_s=5)
    device = await alice.device()
    tab = await alice.tab(device)
    lines = [lines_of(tab)]
    await tab.opens()
    a = await tab.asks(QUANTUM)
    seen = await tab.sees(len(told) // 5)
    phone = await (await alice.tab(viewport={"width": 390, "height": 800})).opens(a)
    assert (await phone.sees(len(seen))).startswith(seen)
    others = [await alice.tab(device) for _ in range(6)]
    lines += [lines_of(tab) for tab in others]
    await asyncio.gather(*(tab.opens(a) for tab in others))
    for each in [tab, phone, *others]:
        await each.sees_whole(told)
    assert [set(of_one) for of_one in lines] == [{"socket"}] * 7


def lines_of(tab):
    """Note each line that a tab opens, and of which kind it is."""
    lines: list[str] = []

    def asked(one):
        if "/api/live" in one.url:
            lines.append("stream")

    tab.page.on("websocket", lambda _: lines.append("socket"))
    tab.page.on("request", asked)
    return lines


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
