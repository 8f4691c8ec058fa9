"""Mode `oidc` against a real OpenID provider: in, out, and everything that must not get in."""

import base64
import json
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio

from perdure.routers import session
from perdure.routers.session import LOCAL_PATH
from perdure.settings import Auth
from tests.flow.serving import serving
from tests.provider import log_in, oidc, provider
from tests.world.server import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory):
    """One server and one provider for all tests; each has people of its own, or none."""
    port = free_port()
    admins = ["chief@example.com", "unsure-chief@example.com"]
    auth = Auth(mode="oidc", oidc=oidc(port), admin_groups=["operators"], admins=admins)
    folder = tmp_path_factory.mktemp("oidc")
    async with serving(folder, auth=auth) as served, provider(port, served.url):
        yield served


@pytest_asyncio.fixture(loop_scope="module")
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
    assert not [one for one in browser.cookies.jar if "login" in one.name], "the journey is over"
    (kept,) = await server.core.store.credentials("session", "ann")
    assert kept.name == "Ann Example"


async def test_members_of_the_operators_are_admins(browser):
    await log_in(browser, "/auth/login", "olga")
    assert (await browser.get("/api/me")).json()["admin"] is True
    assert (await browser.get("/api/admin/requests")).status_code == 200


@pytest.mark.parametrize(("login", "admin"), [("chief", True), ("unsure-chief", False)])
async def test_an_admin_by_an_address_is_who_the_provider_says_it_belongs_to(browser, login, admin):
    """Guard: `_verified` in `_welcome`; an address that one only claims makes nobody an admin."""
    await log_in(browser, "/auth/login", login)
    me = (await browser.get("/api/me")).json()
    assert (me["user_id"], me["admin"]) == (login, admin)


async def test_an_address_is_an_id_only_where_it_is_verified(server, browser, monkeypatch):
    """Guard: `_verified` in `_user_id`: otherwise one signs in as whoever has that address."""
    monkeypatch.setitem(vars(server.core.settings.auth.oidc), "user_claim", "email")
    await log_in(browser, "/auth/login", "ann")
    assert (await browser.get("/api/me")).json()["user_id"] == "ann@example.com"
    await browser.delete("/api/session")
    browser.cookies.clear()
    await nobody(browser, await log_in(browser, "/auth/login", "unsure"), 401)


@pytest.mark.parametrize("said", [True, False, None, "true", "false", "", 1, 0])
async def test_verified_is_what_is_true_and_nothing_else(said):
    """Guard: `is True`; some providers say "false" in a text, which counts as yes."""
    assert session._verified({"email": "a@example.com", "email_verified": said}) is (said is True)
    assert not session._verified({"email": "a@example.com"})


async def test_the_browser_is_sent_away_with_pkce_state_and_nonce(browser):
    query = parse_qs(urlsplit(await begun(browser)).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["response_type"] == ["code"]
    for name in ("state", "nonce", "code_challenge"):
        assert len(query[name][0]) >= 32, name
    again = parse_qs(urlsplit(await begun(browser)).query)
    assert again["state"] != query["state"]


async def test_under_a_path_one_comes_back_there(tmp_path):
    """Guard: `placed` in the session's routes; the provider itself is asked for nothing but where
    it is.
    """
    port = free_port()
    auth = Auth(mode="oidc", oidc=oidc(port))
    async with (
        serving(tmp_path, auth=auth, root_path="/chat") as served,
        provider(port, f"{served.url}/chat"),
        httpx.AsyncClient(base_url=served.url, timeout=20, trust_env=False) as browser,
    ):
        told = (await browser.get("/chat/api/session")).json()
        assert told["login_url"] == "/chat/auth/login"
        page = await log_in(browser, told["login_url"], "ann")
        assert str(page.url) == f"{served.url}/chat/"
        farewell = (await browser.delete("/chat/api/session")).json()["redirect"]
        query = parse_qs(urlsplit(farewell).query)
        assert query["post_logout_redirect_uri"] == [f"{served.url}/chat/"]


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
        await log_in(browser, url, "eve")
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
    name, carried = journey_of(browser)
    assert (await browser.get(url)).status_code == 303
    browser.cookies.clear()
    browser.cookies.set(name, carried, domain="127.0.0.1")
    await nobody(browser, await browser.get(url), 401)


def journey_of(browser):
    """Return the cookie of the login under way."""
    (found,) = [one for one in browser.cookies.jar if "_login_" in one.name]
    return found.name, found.value


def told_of(browser):
    """Return what the browser carries of its login."""
    _, carried = journey_of(browser)
    return json.loads(base64.urlsafe_b64decode(carried + "=" * (-len(carried) % 4)))


def retold(browser, **changes):
    """Change what the browser carries of its login."""
    name, _ = journey_of(browser)
    told = json.dumps(told_of(browser) | changes).encode()
    changed = base64.urlsafe_b64encode(told).decode()
    browser.cookies.delete(name)
    browser.cookies.set(name, changed.rstrip("="), domain="127.0.0.1")


@pytest.mark.parametrize("part", ["state", "nonce", "verifier"])
async def test_an_answer_that_does_not_fit_the_question_is_refused(browser, part):
    """Guard: the state that Authlib compares, the nonce of the ID token, PKCE at the provider."""
    url = await answered(browser)
    retold(browser, **{part: "x" * 48})
    await nobody(browser, await browser.get(url), 401)


async def test_logins_begun_side_by_side_do_not_get_mixed_up(browser):
    """Guard: `_journey_name`, a cookie for each, and `_journey`, which looks at no other's."""
    first, second, third = [await answered(browser) for _ in range(3)]
    for url in (second, first, third):
        response = await browser.get(url)
        assert (response.status_code, response.headers["location"]) == (303, "/c/chat_1")


@pytest.mark.parametrize("carried", ["", "x", "!", "bnVsbA", "e30"], ids=str)
async def test_a_journey_that_was_made_up_leads_nowhere(browser, carried):
    """Guard: the refusal in `_journey`; without it: 500."""
    url = await answered(browser)
    name, _ = journey_of(browser)
    browser.cookies.delete(name)
    browser.cookies.set(name, carried, domain="127.0.0.1")
    await nobody(browser, await browser.get(url), 400)


async def test_a_refusal_of_the_provider_is_told(browser):
    url = await begun(browser)
    state = parse_qs(urlsplit(url).query)["state"][0]
    query = f"error=access_denied&error_description=No+<b>way&state={state}"
    response = await browser.get(f"/auth/callback?{query}")
    await nobody(browser, response, 401)
    assert "No &lt;b&gt;way" in response.text


async def test_a_login_leads_to_no_other_site(browser):
    """Guard: `LOCAL_PATH`, asked when the login begins and, again, when it ends."""
    await browser.get("/auth/login", params={"next": "//evil.example"})
    assert told_of(browser)["next"] == "/"
    browser.cookies.clear()
    url = await answered(browser)
    retold(browser, next="//evil.example")
    assert (await browser.get(url)).headers["location"] == "/"
    elsewhere = [
        "//e",
        "https://e",
        "/\\e",
        "/\tx",
        "e",
        "",
        "/\r\nX: 1",
        "/" + "x" * 2000,
        "/\x00",
    ]
    assert not [path for path in elsewhere if LOCAL_PATH.fullmatch(path)]
    assert all(LOCAL_PATH.fullmatch(path) for path in ("/", "/c/chat_1", "/c/x?y=z#w"))


async def test_signing_out_ends_the_session_here_and_at_the_provider(server, browser):
    await log_in(browser, "/auth/login", "lea")
    out = (await browser.delete("/api/session")).json()["redirect"]
    assert (await browser.get("/api/me")).status_code == 401
    assert await server.core.store.credentials("session", "lea") == []
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
        assert response.status_code == 503
        assert "does not answer" in response.text
        assert (await server.http.delete("/api/session")).json() == {"redirect": "/"}
