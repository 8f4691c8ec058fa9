"""An answer is untrusted: whatever it says stays text, and nothing foreign is loaded."""

from __future__ import annotations

import pytest

from tests.e2e.worlds import FRAGILE

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORLD = FRAGILE

HOSTILE = """\
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


async def test_a_hostile_answer_stays_text(alice):
    """Guard: no raw HTML, `safeAddress` for links and pictures; behind it, the policy."""
    alice.agree_text("hostile", HOSTILE, lasts_s=1, size=5)
    tab = await alice.tab()
    tab.may_go_back = True  # `[` and `(` are shown until the link is one
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    await tab.opens()
    await tab.asks("hostile")
    await tab.button("Answer again").wait_for(state="attached")
    answer = tab.answers.first
    assert await tab.page.evaluate("() => window.owned") is None
    assert await answer.locator("script, iframe, svg[onload], style, [onerror], b").count() == 0
    addresses = await answer.locator("a").evaluate_all("all => all.map(a => a.href)")
    assert "https://example.com/ok" in addresses
    assert all(address.startswith("https://") for address in addresses)
    assert await answer.locator("img").count() == 0
    assert not [url for url in asked if not url.startswith((tab.url, "data:", "blob:"))]
    text = await tab.text()
    for words in ("window.owned = 1", "<b>raw</b>", "window.owned = 7", "display:none"):
        assert words in text
    for link in await answer.locator("a").all():
        assert "noopener" in str(await link.get_attribute("rel"))


async def test_a_hostile_question_and_title_stay_text(alice):
    """Guard: titles and questions are text nodes, nothing else."""
    question = '<img src=x onerror="window.owned=1"><b>bold</b>'
    alice.agree_text(question, "fine")
    tab = await (await alice.tab()).opens()
    await tab.asks(question)
    await tab.sees_whole("fine")
    assert await tab.page.evaluate("() => window.owned") is None
    assert await tab.page.locator("main b, nav b, main img").count() == 0
    await tab.sees_words("<b>bold</b>", within=tab.questions.first)
