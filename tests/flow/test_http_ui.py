"""The chat page as it is served: built files for ever, the page itself fresh, nothing foreign."""

import gzip
import json
import re

import httpx
import pytest

from perdure.routers import ui
from perdure.settings import Ui
from tests.flow.serving import serving

FIRST_LOAD_BYTES_MAX = 200_000
ENTRY = "index.html"


@pytest.fixture(autouse=True)
def built():
    assert ui.is_built(), "the chat page is not built: make setup"


@pytest.fixture
async def server(tmp_path):
    async with serving(tmp_path) as served:
        yield served


@pytest.mark.parametrize("path", ["/", "/c/chat_1234"])
async def test_every_chat_has_the_same_page_which_is_never_cached(server, path):
    page = await server.http.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-store"
    assert '<div id="root"></div>' in page.text


async def test_the_policy_lets_in_only_our_own_scripts(server):
    """The guard: nothing inline, neither scripts nor styles, and nothing from elsewhere."""
    page = await server.http.get("/")
    policy = page.headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    for hole in ("unsafe", "nonce", "http:", "https:"):
        assert hole not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)", page.text)


async def test_what_the_page_loads_is_kept_for_ever_and_sent_compressed(server):
    page = await server.http.get("/")
    paths = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text)
    assert any(path.endswith(".js") for path in paths)
    assert any(path.endswith(".css") for path in paths)
    for path in paths:
        packed = await server.http.get(path, headers={"Accept-Encoding": "gzip"})
        plain = await server.http.get(path, headers={"Accept-Encoding": "identity"})
        assert packed.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert packed.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert packed.content == plain.content
        assert packed.headers["vary"] == "Accept-Encoding"


async def test_a_file_that_is_not_there_is_a_problem_and_no_page(server):
    for path in ("/assets/nothing.js", "/assets/..%2Findex.html", "/manifest.json", "/index.html"):
        answer = await server.http.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


async def test_the_operator_gives_name_colour_and_picture(tmp_path):
    logo = tmp_path / "logo.svg"
    logo.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    look = Ui(name="Ask <Us>", accent="#aa3300", logo=logo, trace_url="https://x/{trace_id}")
    async with serving(tmp_path, ui=look) as server:
        page = (await server.http.get("/")).text
        assert "<title>Ask &lt;Us&gt;</title>" in page
        assert '<meta name="accent" content="#aa3300">' in page
        config = await server.get("/api/config")
        told = {"name": "Ask <Us>", "logo_url": "/logo", "accent": "#aa3300"}
        assert config["ui"] == {**told, "remote_images": False}
        assert config["trace_url"] == "https://x/{trace_id}"
        picture = await server.http.get("/logo")
        assert picture.headers["content-type"] == "image/svg+xml"
        assert picture.headers["content-security-policy"] == "default-src 'none'"


@pytest.mark.parametrize("asked", ["", "/chat"])
async def test_a_proxy_shows_the_page_at_its_path_and_may_take_it_away(tmp_path, asked):
    """Guard: `_page` and `placed`; the proxy asks us with the path, or without it."""
    async with serving(tmp_path, root_path="/chat") as server:
        page = (await server.http.get(f"{asked}/c/chat_1")).text
        assert '<meta name="root" content="/chat">' in page
        addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert len(addresses) > 3
        for address in addresses:
            assert address.startswith("/chat/")
            file = await server.http.get(asked + address.removeprefix("/chat"))
            assert file.status_code == httpx.codes.OK
        asked_of = await server.http.post(f"{asked}/api/chats", json={})
        assert asked_of.headers["location"].startswith("/chat/api/chats/chat_")
        assert (await server.http.get(f"{asked}/docs")).text.count('href="openapi.json"') == 1


async def test_the_path_without_its_slash_leads_to_the_page(tmp_path):
    """Guard: the redirect; a proxy that passes `/chat` on as it came would get a 404."""
    async with serving(tmp_path, root_path="/chat") as server:
        asked = await server.http.get("/chat", follow_redirects=False)
        assert (asked.status_code, asked.headers["location"]) == (307, "/chat/")
        assert "<title>" in (await server.http.get("/chat", follow_redirects=True)).text


async def test_pictures_of_other_servers_are_let_in_only_where_the_operator_says_so(tmp_path):
    """The guard: the policy; with the setting off, no choice in the page could load one."""
    for allowed in (False, True):
        async with serving(tmp_path / str(allowed), ui=Ui(remote_images=allowed)) as server:
            policy = (await server.http.get("/")).headers["content-security-policy"]
            rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
            assert rules["img-src"] == "'self' data: blob:" + " https:" * allowed
            assert policy.count("https:") == int(allowed)
            config = await server.get("/api/config")
            assert config["ui"]["remote_images"] is allowed


async def test_without_a_picture_there_is_none(server):
    assert (await server.get("/api/config"))["ui"]["logo_url"] == ""
    assert (await server.http.get("/logo")).status_code == 404


async def test_other_routes_answer_as_without_a_page(server):
    assert (await server.http.get("/api/invoke_endpoint")).status_code == 405
    assert (await server.http.get("/nothing")).status_code == 404
    assert (await server.http.get("/docs")).status_code == 200


def test_the_first_load_is_small():
    """JavaScript that the page needs before anything lazy, compressed as it is sent."""
    manifest = json.loads((ui.FOLDER / "manifest.json").read_bytes())
    needed, left = set(), [ENTRY]
    while left:
        name = left.pop()
        if name not in needed:
            needed.add(name)
            left += manifest[name].get("imports", [])
    scripts = [ui.FOLDER / manifest[name]["file"] for name in needed]
    size = sum(len(gzip.compress(script.read_bytes(), 9)) for script in scripts)
    assert 50_000 < size <= FIRST_LOAD_BYTES_MAX, f"{size} bytes"
