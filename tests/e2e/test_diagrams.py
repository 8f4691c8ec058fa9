"""Diagrams in answers: drawn in a frame that can do nothing else, shown as pictures."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import expect

from tests.e2e.screens import FLOOD
from tests.e2e.worlds import FRAGILE

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORLD = FRAGILE

RUN = "window.owned=1;top.owned=1;parent.postMessage({id:1,svg:null},'*')"
EVIL = "http://evil.example"
"""Stands for a server that the test listens with."""

TIDES = f"""Before.

{FLOOD}
```mermaid
this is no diagram
```

After.
"""

HOSTILE = [
    f'graph TD\n  A["<img src=x onerror={RUN}>"] --> B["<script>{RUN}</script>"]',
    f'graph TD\n  A-->B\n  click A "javascript:{RUN}"\n  click B href "{EVIL}/click" _top',
    f"graph TD\n  A-->B\n  click A call alert({RUN!r})",
    (
        '%%{init: {"securityLevel": "loose", "htmlLabels": true}}%%\ngraph TD\n'
        "  A[\"<iframe srcdoc='<script>top.owned=1</script>'></iframe>\"]-->B"
    ),
    f'%%{{init: {{"themeCSS": "*{{background:url({EVIL}/css)}}"}}}}%%\ngraph TD\n  A-->B',
    f"graph TD\n  A-->B\n  style A fill:url({EVIL}/fill),background:url({EVIL}/b)",
    f'graph TD\n  A@{{ img: "{EVIL}/node.png", label: "x", w: 60, h: 60 }}-->B',
    f"sequenceDiagram\n  A->>B: <svg/onload={RUN}> $$\\\\href{{javascript:{RUN}}}{{x}}$$",
    f'classDiagram\n  class A["<img src=x onerror={RUN}>"]\n  link A "javascript:{RUN}"',
    f'---\ntitle: <img src=x onerror={RUN}>\n---\npie\n  "<b onclick={RUN}>" : 1',
]


async def answered(alice, text):
    """Ask for a text; return its tab, and the list of all addresses that it asks for."""
    alice.agree_text("draw", text, size=23)
    tab = await alice.tab()
    tab.may_go_back = True  # a drawing takes the place of its source
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    await tab.opens()
    await tab.asks("draw")
    await tab.button("Answer again").wait_for(state="attached")
    return tab, asked


async def test_a_diagram_is_drawn_and_shows_its_source_on_demand(alice):
    """Guard: `CodeView`; what cannot be drawn stays code, and nothing is loaded before."""
    tab, asked = await answered(alice, TIDES)
    figure = tab.answers.get_by_label("Diagram", exact=True)
    drawing = figure.get_by_role("img")
    await expect(drawing).to_have_count(1, timeout=20_000)
    assert await drawing.evaluate("(img) => img.decode().then(() => img.naturalWidth)") > 100
    picture = await drawing.get_attribute("src")
    assert "water%3F" in picture
    await expect(tab.answers.get_by_text("this is no diagram")).to_be_visible()
    await tab.clicks("Source")
    await expect(figure.get_by_text("A[Moon] --> B{High water?}")).to_be_visible()
    await tab.clicks("Diagram")
    await tab.page.emulate_media(color_scheme="dark")
    await expect(drawing).not_to_have_attribute("src", picture)
    assert [url for url in asked if "/diagrams-" in url] != []
    plain = await (await alice.tab()).opens()
    await expect(plain.composer).to_be_visible()
    assert await plain.page.locator("iframe").count() == 0


async def test_a_corpus_of_hostile_diagrams_can_do_nothing(alice):
    """Guard: the frame has no origin and no network, a picture runs nothing. That its last diagram
    is drawn tells that the corpus has been."""
    met: list[str] = []
    server = await asyncio.start_server(lambda *_: met.append("somebody"), "127.0.0.1", 0)
    evil = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    text = "\n\n".join(f"```mermaid\n{one}\n```" for one in HOSTILE).replace(EVIL, evil)
    tab, _ = await answered(alice, f"{text}\n\n```mermaid\ngraph TD\n  Last-->One\n```\n")
    tab.excuse("Content Security Policy")  # the frame's own, which refuses what they try
    drawings = tab.answers.get_by_label("Drawing").get_by_role("img")
    await expect(drawings.last).to_have_attribute("src", re.compile("Last"), timeout=60_000)
    # The last one may be the first to be drawn.
    await expect(drawings.nth(len(HOSTILE) // 2 - 1)).to_be_attached(timeout=60_000)
    page = tab.page
    assert await page.evaluate("() => window.owned") is None
    assert (
        await page.locator("main :is(script, iframe, object, svg[onload], [onerror])").count() == 0
    )
    frame = page.frames[-1]
    assert await frame.evaluate("() => window.origin") == "null"
    for reach in ("document.cookie", "localStorage.length", "parent.document.title"):
        with pytest.raises(Exception, match=r"SecurityError|cross-origin"):
            await frame.evaluate(f"() => {reach}")
    blocked = "() => fetch('/api/me').then(() => 'came', () => 'refused')"
    assert await frame.evaluate(blocked) == "refused"
    assert await frame.evaluate(blocked.replace("/api/me", evil)) == "refused"
    server.close()
    assert met == []
