"""Mode `oidc` against a real OpenID provider: in, out, and everything that must not get in."""

import base64
import json
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from perdure.settings import Auth
from tests.flow.serving import serving
from tests.provider import log_in, oidc, provider


@pytest.fixture
async def server(tmp_path, free_port):
    auth = Auth(mode="oidc", oidc=oidc(free_port), admin_groups=["operators"])
    async with serving(tmp_path, auth=auth) as served, provider(free_port, served.url):
        yield served


@pytest.fixture
async def browser(server):
    """A client that keeps cookies, as a browser does."""
    async with httpx.AsyncClient(base_url=server.url, timeout=20, trust_env=False) as client:
        yield client


async def begun(browser):
    """Begin a login; return the address of the provider that the browser is sent to."""
    response = await browser.get("/auth/login?next=/c/chat_1")
    assert response.status_code == 303
    return response.headers["location"]


async def test_a_login_leads_back_to_the_chat_as_the_person_of_the_provider(server, browser):
    assert (await browser.get("/api/me")).status_code == 401
    page = await log_in(browser, "/auth/login?next=/c/chat_1", "ann")
    assert str(page.url) == f"{server.url}/c/chat_1"
    me = (await browser.get("/api/me")).json()
    told = {"user_id": "ann", "display": "Ann Example", "auth_mode": "oidc", "admin": False}
    assert me == told
    assert not [name for name in browser.cookies if "login" in name], "the journey is over"
    kept = await server.core.store.credentials("session")
    assert [one.user_id for one in kept] == ["ann"]


async def test_members_of_the_operators_are_admins(browser):
    await log_in(browser, "/auth/login", "olga")
    assert (await browser.get("/api/me")).json()["admin"] is True
    assert (await browser.get("/api/admin/requests")).status_code == 200


async def test_the_browser_is_sent_away_with_pkce_state_and_nonce(browser):
    query = parse_qs(urlsplit(await begun(browser)).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["response_type"] == ["code"]
    for name in ("state", "nonce", "code_challenge"):
        assert len(query[name][0]) >= 32, name
    again = parse_qs(urlsplit(await begun(browser)).query)
    assert again["state"] != query["state"]


async def answered(browser):
    """Log in at the provider and stop before coming back; return the address it sends us to."""
    url, came = await begun(browser), []

    async def stop(response):
        location = response.headers.get("location", "")
        if "/auth/callback" in location:
            came.append(location)
            raise StopAsyncIteration

    browser.event_hooks["response"] = [stop]
    with pytest.raises(StopAsyncIteration):
        await log_in(browser, url, "ann")
    browser.event_hooks["response"] = []
    return came[0]


async def nobody(browser, response, code):
    assert response.status_code == code, response.text
    assert "Try again" in response.text
    assert (await browser.get("/api/me")).status_code == 401


async def test_an_answer_that_another_browser_asked_for_signs_nobody_in(server, browser):
    """Guard: the journey's cookie (login CSRF: an attacker's answer, opened by somebody else)."""
    url = await answered(browser)
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as other:
        await nobody(other, await other.get(url), 400)


async def test_an_answer_counts_once(browser):
    url = await answered(browser)
    cookies = dict(browser.cookies)
    assert (await browser.get(url)).status_code == 303
    browser.cookies.clear()
    for name, value in cookies.items():
        browser.cookies.set(name, value, domain="127.0.0.1")
    await nobody(browser, await browser.get(url), 401)


def retold(browser, **changes):
    """Change what the browser carries of its login."""
    (name,) = [name for name in browser.cookies if "_login_" in name]
    carried = browser.cookies[name]
    journey = json.loads(base64.urlsafe_b64decode(carried + "=" * (-len(carried) % 4)))
    changed = base64.urlsafe_b64encode(json.dumps(journey | changes).encode()).decode()
    browser.cookies.delete(name)
    browser.cookies.set(name, changed.rstrip("="), domain="127.0.0.1")


@pytest.mark.parametrize("part", ["state", "nonce", "verifier"])
async def test_an_answer_that_does_not_fit_the_question_is_refused(browser, part):
    """Guard: the state that Authlib compares, the nonce of the ID token, PKCE at the provider."""
    url = await answered(browser)
    retold(browser, **{part: "x" * 48})
    await nobody(browser, await browser.get(url), 401)


async def test_a_refusal_of_the_provider_is_told(browser):
    url = await begun(browser)
    state = parse_qs(urlsplit(url).query)["state"][0]
    query = f"error=access_denied&error_description=No+<b>way&state={state}"
    response = await browser.get(f"/auth/callback?{query}")
    await nobody(browser, response, 401)
    assert "No &lt;b&gt;way" in response.text


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "/\tx",
        "evil",
        "",
        "/%0d%0aX: 1",
    ],
)
async def test_a_login_leads_to_no_other_site(browser, path):
    start = str(httpx.URL("/auth/login", params={"next": path}))
    response = await log_in(browser, start, "ann")
    assert response.url.host == "127.0.0.1"
    assert "evil" not in str(response.url)


async def test_signing_out_ends_the_session_here_and_at_the_provider(server, browser):
    await log_in(browser, "/auth/login", "ann")
    out = (await browser.delete("/api/session")).json()["redirect"]
    assert (await browser.get("/api/me")).status_code == 401
    assert await server.core.store.credentials("session") == []
    query = parse_qs(urlsplit(out).query)
    assert query["post_logout_redirect_uri"] == [f"{server.url}/"]
    page = await browser.get(out)
    assert page.status_code == 200
    form = dict(re.findall(r'name="(xsrf)" value="(\w+)"', page.text))
    assert form, page.text
    (confirm,) = re.findall(r'<form[^>]*action="([^"]+)"', page.text)
    left = await browser.post(confirm, data={**form, "logout": "yes"})
    assert left.headers["location"].startswith(f"{server.url}/")


async def test_a_token_works_beside_logins(server, browser):
    await log_in(browser, "/auth/login", "ann")
    made = await browser.post("/api/tokens", json={"name": "script"})
    headers = {"Authorization": f"Bearer {made.json()['secret']}"}
    told = await server.http.get("/api/me", headers=headers)
    assert (told.status_code, told.json()["user_id"]) == (200, "ann")


async def test_a_provider_that_is_away_is_told_and_holds_nobody(tmp_path):
    auth = Auth(mode="oidc", oidc=oidc(9))
    async with serving(tmp_path, auth=auth) as server:
        response = await server.http.get("/auth/login")
        assert (response.status_code, response.json()["code"]) == (503, "provider_unavailable")
        assert (await server.http.delete("/api/session")).json() == {"redirect": "/"}
