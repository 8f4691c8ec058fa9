"""The operator page: who looks after the server sees how it stands, and stops and repeats."""

import pytest
from playwright.async_api import expect

from tests.e2e.screens import operator
from tests.e2e.worlds import FRAGILE

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORLD = FRAGILE


async def test_an_operator_sees_what_happens_stops_an_answer_and_has_one_answered_again(alice):
    """The page is reached by the menu, follows by itself, and acts on anybody's request.

    Guard: it is a chunk of its own, so that nobody else pays for it.
    """
    tab = await alice.tab()
    page = tab.page
    loaded = []
    page.on("request", lambda request: loaded.append((page.url, request.url)))
    await operator(alice, tab)
    by_chats = [url for at, url in loaded if not at.endswith("/operator")]
    by_operator = [url for at, url in loaded if at.endswith("/operator")]
    assert [url for url in by_operator if "/assets/operator-" in url]
    assert not [url for url in by_chats if "/assets/operator-" in url]

    await page.goto(tab.url)
    await tab.clicks("More")
    await page.get_by_role("menuitem", name="Operator page").click()
    await expect(page).to_have_url(f"{tab.url}/operator")
    await expect(page.get_by_role("heading", name="Operator page")).to_be_visible()
    now = page.get_by_role("region", name="Now")
    await expect(now).to_contain_text("Being answered1")
    reasons = page.get_by_role("region", name="Why answers failed", exact=True)
    await expect(reasons).to_contain_text("upstream_error")
    workers = page.get_by_role("region", name="Workers", exact=True)
    await expect(workers).to_contain_text("worker-")
    await page.get_by_role("button", name="Stop resp_").click()
    await expect(now).to_contain_text("Being answered0")
    requests = page.get_by_role("region", name="Requests", exact=True)
    await expect(requests.locator("[data-status=cancelled]")).to_be_visible()
    await expect(page.get_by_role("img", name="failed: 1")).to_be_visible()

    await page.get_by_label("State").select_option("failed")
    retry = requests.get_by_role("button", name="Retry resp_")
    await expect(retry).to_have_count(1)
    await expect(requests.locator("[data-status=failed]")).to_contain_text("upstream_error")
    await retry.click()
    await expect(requests.locator("[data-status=failed]")).to_have_count(2)
