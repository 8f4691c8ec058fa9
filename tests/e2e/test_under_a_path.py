"""The page where it is not at the root of its host: mounted in an app, or shown so by a proxy."""

from __future__ import annotations

import sys

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.e2e.person import WATCH
from tests.e2e.tab import Tab
from tests.world.server import Process, free_port
from tests.world.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

AGENT = '''
import asyncio

WORDS = """Here is `code` and more of it.

```python
print("one two three")
```

```mermaid
graph TD
  A-->B
```

""" + " ".join(f"w{number}" for number in range(60))

async def slow(messages, context):
    for word in WORDS.split(" "):
        yield word + " "
        await asyncio.sleep(0.03)
'''
PLACES = {
    "mounted": ("/of%20the/house", 'app = FastAPI()\napp.mount("/of the/house", made())'),
    "told": ("/chat", 'app = made(root_path="/chat")'),
}
"""Inside an app of one's own; by a proxy that leaves the path as it is, as the settings tell."""
HOST = f"""{AGENT}
import pathlib
from fastapi import FastAPI
import perdure
from perdure.settings import Settings

def made(**settings):
    folder = pathlib.Path(__file__).parent
    return perdure.create_app({{"slow": slow}}, Settings(data_dir=folder, **settings))

"""


@pytest_asyncio.fixture(params=PLACES, loop_scope="session")
async def url(request, tmp_path):
    """Serve the page under a path; return its address there."""
    path, app = PLACES[request.param]
    (tmp_path / "host.py").write_text(HOST + app, "utf-8")
    port, process = str(free_port()), Process(tmp_path, "host")
    command = [sys.executable, "-m", "uvicorn", "host:app", "--app-dir", str(tmp_path)]
    process.spawn([*command, "--port", port])
    try:
        await answering(f"http://127.0.0.1:{port}{path}/readyz")
        yield f"http://127.0.0.1:{port}{path}"
    finally:
        process.end()
        print(process.story())  # noqa: T201 pytest shows it beside a failure


async def answering(url: str) -> None:
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:

        async def up() -> bool:
            try:
                return (await http.get(url)).status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

        await eventually(up, within_s=30, what=f"{url} answers")


async def test_the_page_is_at_home_under_a_path(url, browser: Browser):
    """Guard: `at` and `within` in the page, `_page` and `placed` of the server."""
    context = await browser.new_context(reduced_motion="reduce")
    await context.add_init_script(path=WATCH)
    asked: list[str] = []
    context.on("request", lambda call: asked.append(call.url))
    tab = Tab(await context.new_page(), url)
    tab.may_go_back = True  # a drawing takes the place of its source
    await tab.opens()
    chat_id = await tab.asks("go on")
    await tab.is_at(chat_id)
    await tab.reloads()
    await expect(tab.answers.last).to_contain_text("w59")
    await expect(tab.answers.last.get_by_role("img")).to_be_visible()
    assert await tab.row(chat_id).locator("a").get_attribute("href") == path_of(tab.page.url)
    async with tab.page.expect_popup() as popup:
        await tab.clicks("More")
        await tab.page.get_by_role("menuitem", name="API documentation").click()
    await expect((await popup.value).get_by_role("link", name="openapi.json")).to_be_visible()
    await tab.begins_a_new_chat()
    await tab.page.go_back()
    await tab.is_at(chat_id)
    assert [address for address in asked if not address.startswith((url, "data:", "blob:"))] == []
    assert await tab.complaints() == []
    await context.close()


def path_of(url: str) -> str:
    return "/" + url.split("/", 3)[3]
