"""Signing in in a real browser: at an OpenID provider, with a token, and again after the end."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Route, expect

from tests.e2e.tab import ASKING, Tab
from tests.e2e.test_axe import violations_in_both_themes
from tests.provider import oidc, provider
from tests.world.server import ROOT, Server, environment, free_port

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

PROMPT = "Half a thought that nobody shall have to type again"
AGENT = '[agents.guide]\nhandler = "guide"\nwords_per_s = 200.0\n'


@pytest_asyncio.fixture(loop_scope="session")
async def tab(browser: Browser):
    """A blank tab; nothing may break its policy."""
    context = await browser.new_context(reduced_motion="reduce")
    await context.add_init_script(
        "window.violations = [];"
        "document.addEventListener('securitypolicyviolation',"
        " (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`))"
    )
    page = await context.new_page()
    yield Tab(page, "")
    assert await page.evaluate("() => window.violations ?? []") == []
    await context.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def company(tmp_path_factory):
    """A server whose people log in at a provider."""
    port = free_port()
    one = oidc(port)
    config = (
        '[auth]\nmode = "oidc"\nadmin_groups = ["operators"]\n\n[auth.oidc]\n'
        f'issuer = "{one.issuer}"\nclient_id = "{one.client_id}"\n'
        f'client_secret = "{one.client_secret}"\n\n{AGENT}'
    )
    server = Server(tmp_path_factory.mktemp("company"), config)
    try:
        await server.start()
        async with provider(port, server.url):
            yield server
    finally:
        server.end()


async def logs_in(tab: Tab, login: str) -> None:
    """Fill in the provider's forms, as far as it asks."""
    page = tab.page
    await page.wait_for_url("**/interaction/**")
    await page.fill("input[name=login]", login)
    await page.fill("input[name=password]", "x")
    await page.click("button[type=submit]")
    await page.wait_for_url(lambda url: "/interaction/" in url and "/login" not in url)
    await page.click("button[type=submit]")


async def test_one_logs_in_asks_and_finds_the_prompt_again_after_the_session_ended(company, tab):
    """Guard: `Session.watched` and `Door` in the page, drafts in the browser, `next` of a login."""
    page = tab.page
    await page.goto(f"{company.url}/")
    await logs_in(tab, "ann")
    await page.wait_for_url(f"{company.url}/")
    composer = page.get_by_role("textbox", name="Message")
    await composer.fill("What is a lease?")
    await composer.press("Enter")
    await page.wait_for_url("**/c/chat_*")
    chat = page.url
    await expect(page.locator("article").last).to_contain_text("lease", timeout=20_000)
    await composer.fill(PROMPT)

    # Somebody ends all sessions while a question is on its way (earlier, the page might say so
    # before Enter is pressed), here by taking the cookie's right away at the server.
    cookies = {one["name"]: one["value"] for one in await page.context.cookies(company.url)}

    async def ended(asking: Route) -> None:
        async with httpx.AsyncClient(base_url=company.url, cookies=cookies, trust_env=False) as by:
            assert (await by.delete("/api/session")).status_code == 200
        await asking.continue_()

    await page.route(ASKING, ended, times=1)
    await composer.press("Enter")
    dialog = page.get_by_role("dialog", name="Your session has ended")
    await dialog.wait_for()
    await expect(dialog).to_contain_text("What you have written is kept")
    assert await violations_in_both_themes(tab) == []
    await dialog.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(chat)  # the provider still knows ann: nothing has to be typed
    await expect(page.get_by_text(PROMPT)).to_be_visible(timeout=20_000)
    asked = await page.evaluate("async () => (await fetch('/api/requests')).json()")
    assert [one["user_message"] for one in asked["requests"]].count(PROMPT) == 1


async def test_a_draft_that_was_not_sent_is_there_after_the_login(company, tab):
    page = tab.page
    await page.goto(f"{company.url}/")
    await logs_in(tab, "ben")
    await page.wait_for_url(f"{company.url}/")
    composer = page.get_by_role("textbox", name="Message")
    await composer.fill(PROMPT)
    await page.context.clear_cookies(name="perdure_session")
    await page.reload()
    await page.wait_for_url(f"{company.url}/")
    await expect(composer).to_have_value(PROMPT, timeout=20_000)


async def test_signing_out_leaves_nothing_for_the_next_person(company, tab):
    page = tab.page
    await page.goto(f"{company.url}/")
    await logs_in(tab, "carl")
    await page.wait_for_url(f"{company.url}/")
    composer = page.get_by_role("textbox", name="Message")
    await composer.fill("carl's secret")
    await page.get_by_role("button", name="More").first.click()
    await page.get_by_role("menuitem", name="Sign out").click()
    await page.wait_for_url("**/session/end**")
    await page.get_by_role("button", name="Yes, sign me out").click()
    await page.get_by_role("dialog", name="Sign in").wait_for()
    assert "secret" not in json.dumps(await page.evaluate("() => ({...localStorage})"))
    await page.get_by_role("button", name="Sign in").click()
    await logs_in(tab, "dora")
    await page.wait_for_url(f"{company.url}/")
    await expect(composer).to_have_value("")
    await expect(page.get_by_text("Dora Example")).to_be_visible()


async def test_a_token_opens_the_page_and_a_wrong_one_says_so(tmp_path, tab):
    server = Server(tmp_path, f'[auth]\nmode = "token"\n\n{AGENT}')
    secret = made_token(server)
    try:
        await server.start()
        page = tab.page
        await page.goto(f"{server.url}/")
        field = page.get_by_label("Your token")
        await field.fill("perdure_tok_wrong")
        await field.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("not known")
        assert await violations_in_both_themes(tab) == []
        await field.fill(secret)
        await field.press("Enter")
        composer = page.get_by_role("textbox", name="Message")
        await composer.fill("What is a lease?")
        await composer.press("Enter")
        await expect(page.locator("article").last).to_contain_text("lease", timeout=20_000)
        assert secret not in json.dumps(await page.context.storage_state())
        tab.excuse("401")
    finally:
        server.end()


async def test_one_makes_sees_and_revokes_a_token_of_ones_own(company, tab):
    """Guard: the secret is on the screen once, works for a program, and not after it is revoked."""
    page = tab.page
    await page.goto(f"{company.url}/")
    await logs_in(tab, "eve")
    await page.wait_for_url(f"{company.url}/")
    await tab.clicks("More")
    await page.get_by_role("menuitem", name="API tokens").click()
    dialog = page.get_by_role("dialog", name="API tokens")
    await expect(dialog.get_by_text("You have none.")).to_be_visible()
    await dialog.get_by_label("What is it for?").fill("a script")
    await tab.clicks("Make token")
    secret = await dialog.get_by_label("The token a script").locator("code").inner_text()
    await expect(dialog.get_by_role("listitem")).to_contain_text("reads and asks")
    await expect(dialog.get_by_role("listitem")).to_contain_text("never used")
    assert await violations_in_both_themes(tab) == []
    bearer = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(base_url=company.url, headers=bearer, trust_env=False) as program:
        me = await page.evaluate("async () => (await fetch('/api/me')).json()")
        assert (await program.get("/api/me")).json()["user_id"] == me["user_id"]
        await tab.clicks("I have it")
        await expect(dialog).not_to_contain_text(secret)
        assert secret not in json.dumps(await page.context.storage_state())
        await tab.clicks("Revoke a script")
        await tab.clicks("Keep")
        assert (await program.get("/api/me")).status_code == 200
        await tab.clicks("Revoke a script")
        assert await violations_in_both_themes(tab) == []
        await tab.clicks("Revoke now: a script")
        await expect(dialog.get_by_text("You have none.")).to_be_visible()
        assert (await program.get("/api/me")).status_code == 401


def made_token(server: Server) -> str:
    """Make the first token as an operator does, before the server starts."""
    command = [sys.executable, "-m", "perdure", "tokens", "create", "laptop", "--user", "ann"]
    done = subprocess.run(
        [*command, "--config", str(server.config), "--data-dir", str(server.data)],
        cwd=ROOT,
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()
