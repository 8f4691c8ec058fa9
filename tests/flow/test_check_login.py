"""`perdure check` asks the OpenID provider what every login will ask, and says what is wrong."""

import json
import re
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
import pytest_asyncio
from joserfc.jwk import ECKey

from perdure.cli import provider as checked
from perdure.errors import Unavailable
from perdure.openid import OpenIdProvider
from perdure.settings import Auth, Settings
from tests.provider import oidc, provider
from tests.world.server import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOME = "http://127.0.0.1:1"
KEY = ECKey.generate_key("P-256").as_dict(private=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port():
    """A real provider, which knows one client that comes from `HOME`."""
    port = free_port()
    async with provider(port, HOME):
        yield port


async def told(settings_oidc, public_url=HOME):
    auth = Auth(mode="oidc", oidc=settings_oidc, public_url=public_url)
    return {one.about: one for one in await checked.look(Settings(auth=auth))}


async def test_a_provider_that_knows_us_is_well(port):
    found = await told(oidc(port))
    assert {one.verdict for one in found.values()} == {"ok"}, found
    assert list(found) == ["OpenID provider", "provider's clock", "provider's keys", "login"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"client_secret": "another"}, "refuses the client perdure (invalid_client)"),
        ({"client_id": "nobody"}, "refuses the client nobody (invalid_client)"),
    ],
)
async def test_a_client_that_it_does_not_know_is_told(port, wrong, said):
    """Guard: `rehearse`; people would learn it after they have signed in."""
    login = (await told(oidc(port).model_copy(update=wrong)))["login"]
    assert (login.verdict, login.hint != "") == ("wrong", True)
    assert said in login.detail


async def test_a_redirect_address_that_is_not_registered_is_told(port):
    login = (await told(oidc(port), "https://chat.example.com"))["login"]
    assert login.verdict == "wrong"
    assert "https://chat.example.com/auth/callback" in login.hint
    login = (await told(oidc(port), ""))["login"]
    assert (login.verdict, "public_url" in login.detail) == ("note", True)


class Odd(BaseHTTPRequestHandler):
    """A provider of which one thing at a time is wrong."""

    known: ClassVar[dict[str, Any]] = {}
    keys: ClassVar[Any] = {}
    date = 0.0

    def do_GET(self):
        issuer = f"http://{self.headers['host']}"
        whole = {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/login",
            "token_endpoint": f"{issuer}/token",
            "jwks_uri": f"{issuer}/keys",
        }
        told = self.keys if self.path == "/keys" else whole | self.known
        body = told if isinstance(told, str) else json.dumps(told)
        self.send_response_only(404 if body == "none" else 200)
        self.send_header("Date", formatdate(time.time() + self.date, usegmt=True))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self):
        self.send_error(503)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def odd():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("wrong", "about", "said"),
    [
        ({"known": {"issuer": "https://other"}}, "OpenID provider", "calls itself https://other"),
        ({"known": {"token_endpoint": None}}, "OpenID provider", "does not tell its token_end"),
        ({"date": 400.0}, "provider's clock", "400 s behind"),
        ({"date": -400.0}, "provider's clock", "400 s ahead"),
        ({"keys": {}}, "provider's keys", "holds no keys"),
        ({"keys": {"keys": None}}, "provider's keys", "holds no keys"),
        ({"keys": "<html>"}, "provider's keys", "holds no keys"),
        ({"keys": "none"}, "provider's keys", "answers 404"),
        (
            {"known": {"id_token_signing_alg_values_supported": ["HS256"]}},
            "provider's keys",
            "signs with HS256 only",
        ),
    ],
)
async def test_what_is_wrong_with_a_provider_is_told(odd, monkeypatch, wrong, about, said):
    for name, value in ({"keys": {"keys": [KEY]}} | wrong).items():
        monkeypatch.setattr(Odd, name, value)
    found = (await told(oidc(odd)))[about]
    assert found.verdict == "wrong"
    about_400 = re.sub(r"\b(39|40)\d s", "400 s", found.detail)  # by the time it takes to ask
    assert said in about_400
    assert found.hint


async def test_a_provider_that_breaks_at_the_code_is_away_for_the_browser(odd, monkeypatch):
    """Guard: the errors of the client that Authlib speaks through are caught, by its own names."""
    monkeypatch.setattr(Odd, "keys", {"keys": None})
    asked = OpenIdProvider(oidc(odd))
    _, journey = await asked.depart("/", f"{HOME}/auth/callback")
    with pytest.raises(Unavailable, match="does not answer as it should"):
        await asked.arrive(journey, f"code=x&state={journey.state}")
    login = (await told(oidc(odd)))["login"]
    assert (login.verdict, "does not answer as it should" in login.detail) == ("wrong", True)


async def test_a_provider_that_is_away_is_one_line(port):
    (found,) = (await told(oidc(9))).values()
    assert found.verdict == "wrong"
    assert "cannot be reached" in found.detail
    (found,) = (
        await told(oidc(port).model_copy(update={"issuer": f"{HOME[:-2]}:{port}/x"}))
    ).values()
    assert "answers 404" in found.detail
