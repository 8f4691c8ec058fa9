"""The page is light, there soon, and calm under 200 chunks a second and 200 kB.

Times on a shared machine say little. So tasks are measured by the processor's time they took, which
others on the machine cannot stretch (much): what was a task of 50 ms is then one on any machine
that is left alone. Frames are held against those of an empty page. Noise only adds time, so the
best of three trials counts. All is printed (`pytest -rP`).
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import expect

from tests.e2e.person import words
from tests.e2e.worlds import FRAGILE
from tests.world.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]
WORLD = FRAGILE

FIRST_LOAD_BYTES_MAX = 175_000
INTERACTIVE_MS_MAX = 1_000
LOADS_MAX = 8
LONG_TASK_MS = 50
LONG_TASKS_MAX = 0.01
BUSY_TASK_MS = 30
BUSY_TASKS_MAX = 0.1
"""Shares of the tasks that draw (those over 4 ms); the rest only passes messages on."""

DRAWING_MS = 4
SHIFT_MAX = 0.02
FRAME_MS_MAX = 400

UNWATCHED = "window.unwatched = true;"
"""The watcher reads every text in every frame: it would be measured, not the page."""

READY = """
new MutationObserver(() => {
  if (document.querySelector("main textarea")) window.readyAt ??= performance.now();
}).observe(document, { subtree: true, childList: true });
"""

FRAMES = """
window.frames_ms = [];
let before = performance.now();
const beat = (now) => {
  window.frames_ms.push(now - before);
  before = now;
  requestAnimationFrame(beat);
};
requestAnimationFrame(beat);
"""

PARAGRAPH = (
    "Here is a **paragraph** with `code`, a [link](https://example.com) and some more words to "
    "fill a line or two, so that it looks like what models say.\n\n- one\n- two\n\n"
)

PART = (
    "### Part {}.\n\n"
    + "Some **words** of prose with `code` and more words to fill a line. " * 6
    + "\n\n- one\n- two [link](https://a.example)\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n"
    "```python\ndef f(x: list[int]):\n    return x + 1\n```\n\n"
)


async def best_of_three(trial: Callable[[], Awaitable[None]]) -> None:
    """Try until it is fast enough, three times at most."""
    for _ in range(2):
        try:
            return await trial()
        except AssertionError as error:
            print(f"once more: {error}")  # noqa: T201 beside the figures
    return await trial()


@pytest.fixture
def tell(record_property):
    """Print a figure, and put it into the report."""

    def figure(name, value):
        record_property(name, value)
        print(f"{name}: {value}")  # noqa: T201 a figure is there to be read

    return figure


def spread(values):
    """Return median, 95th percentile, maximum and how many are long."""
    ordered = sorted(values) or [0.0]
    high = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    long = sum(value > LONG_TASK_MS for value in ordered)
    return (
        f"{statistics.median(ordered):.0f} ms median, {high:.0f} ms 95 %, {ordered[-1]:.0f} ms "
        f"longest, {long} of {len(ordered)} over {LONG_TASK_MS} ms"
    )


async def test_the_first_screen_is_light_and_there_soon(alice, tell):
    """Guard: what is not on the first screen is loaded when it is needed. Each load is of a
    browser that has nothing yet; the best time counts, since noise only adds."""
    ready_ms: list[float] = []
    while len(ready_ms) < LOADS_MAX and min(ready_ms, default=9e9) >= INTERACTIVE_MS_MAX:
        tab = await (await alice.tab(before=READY + UNWATCHED)).opens()
        await expect(tab.composer).to_be_focused()
        await tab.sees_words("What would you like to know?")
        ready_ms.append(await tab.page.evaluate("() => window.readyAt"))
    loaded = await tab.page.evaluate(
        """() => performance.getEntriesByType("resource")
          .filter(({name}) => name.endsWith(".js")).map((one) => one.encodedBodySize)"""
    )
    tell("first_load_bytes", sum(loaded))
    tell("interactive_ms", [round(one) for one in ready_ms])
    assert 0 < sum(loaded) <= FIRST_LOAD_BYTES_MAX
    assert min(ready_ms) < INTERACTIVE_MS_MAX


class Tasks:
    """Traces a tab while a block runs; afterwards `ms` are its tasks, in time of the processor."""

    def __init__(self, tab):
        self.tab = tab
        self.browser = tab.page.context.browser
        self.ms = []

    async def __aenter__(self):
        timeline = "disabled-by-default-devtools.timeline"
        await self.browser.start_tracing(page=self.tab.page, categories=[timeline])
        return self

    async def __aexit__(self, *_):
        events = json.loads(await self.browser.stop_tracing())["traceEvents"]
        threads = defaultdict(list)
        for event in events:
            if event["name"] == "RunTask" and "tdur" in event:
                threads[event["pid"], event["tid"]].append(event["tdur"] / 1000)
        named = {
            (event["pid"], event["tid"])
            for event in events
            if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
        }
        busiest = max(named & threads.keys(), key=lambda thread: sum(threads[thread]))
        self.ms = [ms for ms in threads[busiest] if ms > DRAWING_MS]

    def are_short(self):
        """Fail when more than a few of them would hold up a person."""
        assert len(self.ms) > 20, "the trace says nothing"
        long = sum(ms > LONG_TASK_MS for ms in self.ms) / len(self.ms)
        busy = sum(ms > BUSY_TASK_MS for ms in self.ms) / len(self.ms)
        assert long <= LONG_TASKS_MAX, spread(self.ms)
        assert busy <= BUSY_TASKS_MAX, spread(self.ms)


async def began(world, count, text):
    """Begin a chat with so many messages of this text and a question; return its id."""
    said = [{"role": ("user", "assistant")[n % 2], "content": text} for n in range(count)]
    asked = {"role": "user", "content": "the last"}
    accepted = await world.api.http.post("/api/invoke_endpoint", json={"messages": [*said, asked]})
    await world.api.ended(accepted.json()["request_id"])
    return accepted.json()["chat_id"]


async def test_nothing_shifts_and_nothing_blocks_at_200_chunks_a_second_in_a_long_chat(
    alice, world, tell
):
    """Guard: one update per frame, settled blocks keep their identity, only the last is parsed."""
    chat_id = await began(world, 24, PARAGRAPH * 12)
    alice.agree_text("now", PARAGRAPH * 40, rate=200, size=6)
    device = await alice.device(before=UNWATCHED + FRAMES)
    idle = await alice.tab(device)
    idle.excuse("favicon")
    await idle.page.goto(f"{idle.url}/healthz")
    tab = await (await alice.tab(device)).opens(chat_id)
    await expect(tab.questions).to_have_count(13)
    await tab.page.wait_for_load_state("networkidle")
    shifts = []

    async def trial():
        before = await tab.answers.count()
        await tab.asks("now")
        await expect(tab.answers).to_have_count(before + 1)
        await tab.sees(40)
        began = await tab.page.evaluate(
            "() => { window.frames_ms.length = 0; return performance.now() }"
        )
        await idle.page.evaluate("() => { window.frames_ms.length = 0 }")
        async with Tasks(tab) as tasks:
            await tab.button("Stop").wait_for(state="detached", timeout=60_000)
        frames = await tab.page.evaluate("() => window.frames_ms")
        empty = await idle.page.evaluate("() => window.frames_ms")
        seen = await tab.watched()
        shifts.append([one for one in seen["shifts"] if one["at"] > began])
        tell("frames", spread(frames))
        tell("frames_of_an_empty_page", spread(empty))
        tell("tasks", spread(tasks.ms))
        tasks.are_short()
        assert len(frames) > 50
        assert sorted(frames)[int(len(frames) * 0.95)] < FRAME_MS_MAX
        assert statistics.median(frames) < 2 * statistics.median(empty) + LONG_TASK_MS

    await best_of_three(trial)
    shift = max(sum(one["value"] for one in trial) for trial in shifts)
    tell("layout_shift", round(shift, 4))
    assert shift <= SHIFT_MAX, shifts


async def test_an_answer_of_200_kilobytes_is_whole_and_leaves_the_page_usable(alice, tell):
    """Guard: blocks out of sight rest, neighbours that come together are parsed together, and text
    gets half of the page's time; without these, a third of the tasks is over 30 ms at the end."""
    count = 200_000 // len(PART)
    alice.agree_text("huge", "".join(PART.format(n) for n in range(count)), lasts_s=8, size=100)
    tab = await (await alice.tab(before=UNWATCHED + FRAMES)).opens()

    async def whole():
        text = await tab.text()
        return [int(n) for n in re.findall(r"Part (\d+)\.", text)] == [*range(count)]

    async def trial():
        await tab.begins_a_new_chat()
        await tab.asks("huge")
        await tab.sees(20_000)
        await tab.page.evaluate("() => { window.frames_ms.length = 0 }")
        async with Tasks(tab) as tasks:
            await tab.composer.press_sequentially("still typing", delay=20)
            await expect(tab.composer).to_have_value("still typing")
            await tab.composer.fill("")
            await tab.button("Answer again").wait_for(state="attached", timeout=60_000)
        tell("frames_of_a_huge_answer", spread(await tab.page.evaluate("() => window.frames_ms")))
        tell("tasks_of_a_huge_answer", spread(tasks.ms))
        ended_at = time.monotonic()
        await eventually(whole, within_s=60, what="every part is there, once and in order")
        tell("shown_behind_the_end_s", round(time.monotonic() - ended_at, 1))
        assert (await tab.text()).count("words of prose") == count * 6
        tasks.are_short()

    await best_of_three(trial)

    async def resting():
        return await tab.answers.locator("[class*=group]").evaluate_all(
            "all => all.filter(one => getComputedStyle(one).contentVisibility === 'auto').length"
        )

    assert await eventually(resting, within_s=10, what="groups out of sight rest") > 0
    letters = words("z", 3)
    alice.agree_text("small", letters)
    await tab.asks("small")
    await tab.sees_whole(letters)


async def test_many_small_pieces_are_shown_as_fast_as_they_come(alice, tell):
    """Guard: steps grow with what they cost; by six blocks a frame this takes a minute."""
    text = "".join(f"- one {n}\n\nword {n}\n\n" for n in range(2_500))
    alice.agree_text("small ones", text, size=200, lasts_s=2)
    tab = await (await alice.tab(before=UNWATCHED)).opens()
    await tab.asks("small ones")
    await tab.button("Answer again").wait_for(state="attached", timeout=60_000)
    ended_at = time.monotonic()

    async def whole():
        shown = await tab.text()
        return "word 0" in shown and "word 2499" in shown and shown.count("one ") == 2_500

    await eventually(whole, within_s=40, what="every piece is there")
    tell("small_pieces_behind_the_end_s", round(time.monotonic() - ended_at, 1))
    assert time.monotonic() - ended_at < 20


async def test_a_chat_of_2000_messages_opens_as_one_of_two_and_shows_earlier_ones_on_the_way_up(
    alice, world, tell
):
    """Guard: `useEarlier`; painting all of them takes a minute of the page's time. Who searches the
    page gets them all the same, step by step: the browser finds only what is shown."""

    async def opening(chat_id):
        tab = await alice.tab(before=UNWATCHED)
        began_at = time.monotonic()
        await tab.opens(chat_id)
        await expect(tab.questions.last).to_contain_text("the last")
        return tab, time.monotonic() - began_at

    short, long = await began(world, 0, PARAGRAPH), await began(world, 2000, PARAGRAPH)
    _, short_s = await opening(short)
    tab, long_s = await opening(long)
    tell("opening_a_short_chat_s", round(short_s, 2))
    tell("opening_2000_messages_s", round(long_s, 2))
    assert long_s < 3 * short_s + 2
    await expect(tab.questions).to_have_count(20)
    await expect(tab.button("Earlier messages")).to_be_attached()

    box = tab.page.get_by_role("log").locator("xpath=..")
    first = await tab.questions.first.element_handle()
    await box.evaluate("(box) => box.scrollTo({top: 900})")
    await expect(tab.questions).to_have_count(40)
    placed = await first.bounding_box()
    assert 0 > placed["y"] > -1200, "what was in view has stayed there"
    assert (await tab.page.evaluate("() => watch.long.filter(({ms}) => ms > 400)")) == []

    await tab.page.keyboard.press("Control+f")
    await expect(tab.button("Earlier messages")).to_have_count(0)

    async def many():
        return await tab.questions.count() > 80

    await eventually(many, within_s=30, what="what was far above is shown for the search")
