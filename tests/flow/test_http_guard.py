"""What holds around every route: hosts, origins, sizes, ids, headers, and errors told well."""

import asyncio

import pytest
import pytest_asyncio

from perdure import logs
from perdure.errors import Unavailable
from perdure.routers.guard import host_allowed, origin_allowed
from perdure.routers.identity import trusted
from perdure.settings import Auth
from tests.flow.serving import serving

SHARED = pytest.mark.asyncio(loop_scope="module")
"""Of tests that leave their server as it was."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory):
    async with serving(tmp_path_factory.mktemp("guard")) as served:
        yield served


@pytest.fixture
async def own(tmp_path):
    """Serve one test alone."""
    async with serving(tmp_path) as served:
        yield served


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost:8000", True),
        ("app.localhost", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("", True),
        ("LOCALHOST.", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:8000", False),
    ],
)
def test_without_a_login_only_loopback_names_are_answered(host, allowed):
    """A page whose name was rebound to this address would act as the local person."""
    assert host_allowed(host, Auth(mode="none")) is allowed


def test_configured_hosts_are_answered_and_behind_a_login_any():
    auth = Auth(mode="none", allowed_hosts=["chat.example"])
    assert host_allowed("Chat.Example:443", auth)
    assert not host_allowed("other.example", auth)
    assert host_allowed("any.example", Auth(mode="proxy"))
    assert not host_allowed("any.example", Auth(mode="proxy", allowed_hosts=["chat.example"]))


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"host": "a:1"}, True),
        ({"host": "a:1", "origin": "http://a:1"}, True),
        ({"host": "a:1", "origin": "https://A:1"}, True),
        ({"host": "a:1", "origin": "http://a:2"}, False),
        ({"host": "a:1", "origin": "http://b:1"}, False),
        ({"host": "a:1", "origin": "null"}, False),
        ({"host": "a:1", "origin": ""}, False),
        ({"host": "", "origin": "http://["}, False),
        ({"host": "in:1", "origin": "https://a", "x-forwarded-host": "a, in"}, True),
        ({"host": "a:1", "origin": "http://dev:5173", "sec-fetch-site": "same-origin"}, True),
        ({"host": "a:1", "origin": "http://b", "sec-fetch-site": "cross-site"}, False),
        ({"host": "a:1", "sec-fetch-site": "cross-site"}, False),
        ({"host": "a:1", "sec-fetch-site": "same-site"}, False),
        ({"host": "a:1", "sec-fetch-site": "none"}, True),
    ],
)
def test_only_our_own_pages_may_act(headers, allowed):
    assert origin_allowed(headers) is allowed


@pytest.mark.parametrize(
    ("peer", "proxies", "believed"),
    [
        ("10.1.2.3", ["10.0.0.0/8"], True),
        ("::ffff:10.1.2.3", ["10.0.0.0/8"], True),
        ("11.1.2.3", ["10.0.0.0/8"], False),
        ("::1", ["::1"], True),
        ("", ["0.0.0.0/0"], False),
        ("unix", ["0.0.0.0/0"], False),
    ],
)
def test_a_proxy_is_trusted_by_its_address(peer, proxies, believed):
    assert trusted(peer, proxies) is believed


@SHARED
async def test_a_foreign_host_gets_421_and_a_probe_its_answer(server):
    headers = {"Host": "evil.example"}
    refused = await server.http.get("/api/chats", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (421, "host_forbidden")
    assert (await server.http.get("/readyz", headers=headers)).status_code == 200


@SHARED
async def test_a_page_of_another_site_cannot_ask(server):
    headers = {"Origin": "https://evil.example"}
    refused = await server.http.post("/api/invoke_endpoint", json={"message": "x"}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "origin_forbidden")
    assert (await server.get("/api/requests"))["requests"] == []


@SHARED
async def test_a_body_over_the_limit_is_refused_before_it_is_read(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = (
        "POST /api/invoke_endpoint HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
    )
    writer.write(head.encode())
    assert b" 413 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


@SHARED
async def test_a_body_over_the_limit_without_a_length_is_stopped(server):
    async def endless():
        for _ in range(50):
            yield b'{"message": "' + b"x" * 100_000

    response = await server.http.post("/api/invoke_endpoint", content=endless())
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


@SHARED
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "no_such_route"),
        ("GET", "/api/chats/", 404, "no_such_route"),
        ("PUT", "/api/chats", 405, "method_not_allowed"),
        ("GET", "/api/requests/..%2f", 404, None),
        ("GET", "/api/requests/%00", 404, None),
        ("GET", "/api/requests/%ff%fe", 404, None),
        ("GET", "/api/requests/" + "x" * 3000, 404, None),
        ("GET", "/api/chats?q=%00", 422, "invalid_request"),
        ("GET", "/api/chats?limit=1e3", 422, "invalid_request"),
    ],
)
async def test_every_error_is_a_problem(server, method, path, status, code):
    response = await server.http.request(method, path)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert {"type", "title", "status", "detail", "code"} <= problem.keys()
    assert code in (None, problem["code"])


@SHARED
async def test_every_answer_has_an_id_and_the_security_headers(server):
    for path in ("/api/chats", "/nowhere", "/", "/docs"):
        headers = (await server.http.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        for name in ("referrer-policy", "cross-origin-opener-policy"):
            assert headers[name] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert len(headers["x-request-id"]) == 16
    named = await server.http.get("/healthz", headers={"X-Request-Id": "proxy-42"})
    assert named.headers["x-request-id"] == "proxy-42"
    forged = await server.http.get("/healthz", headers={"X-Request-Id": 'a"b<c>'})
    assert forged.headers["x-request-id"] != 'a"b<c>'


@SHARED
async def test_head_is_get_without_a_body(server):
    """RFC 9110, 9.3.2: balancers and `curl -I` ask so. A stream is left at once, a live one too."""
    ended = (await server.asked_and_ended())["request_id"]
    live = await server.ask("hi", "steered")
    paths = ["/", "/healthz", "/readyz", "/metrics", "/docs", "/api/chats", "/api/live"]
    paths += [f"/api/requests/{ended}{rest}" for rest in ("", "/status", "/stream")]
    paths += [f"/api/requests/{live['request_id']}/stream", f"/api/chats/{live['chat_id']}/export"]
    for path in paths:
        head = await server.http.head(path)  # a stray byte would spoil the next call's connection
        assert (path, head.status_code) == (path, 200)
    for path in ("/api/requests/resp_none", "/none"):
        assert (await server.http.head(path)).status_code == 404
    refused = await server.http.head("/api/invoke_endpoint")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


async def test_a_broken_route_tells_nothing_and_is_logged_once(tmp_path, caplog):
    def with_a_bug(app):
        @app.get("/bug")
        async def bug():
            detail = "postgresql://user:password@host"
            raise RuntimeError(detail)

    with caplog.filtering(logs._Ids()):
        async with serving(tmp_path, prepare=with_a_bug) as server:
            response = await server.http.get("/bug")
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert "password" not in response.text
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == 1
    assert logged[0].getMessage() == "GET /bug broke"
    assert logged[0].call_id == response.headers["x-request-id"]


async def test_an_unavailable_store_is_503_and_says_when_to_come_back(own):
    async def away(*_, **__):
        detail = "The disk is full."
        raise Unavailable(detail, code="disk_full")

    own.core.store.accept = own.core.store.check = away
    for response in (
        await own.http.post("/api/invoke_endpoint", json={"message": "x"}),
        await own.http.get("/readyz"),
    ):
        assert (response.status_code, response.json()["code"]) == (503, "disk_full")
        assert int(response.headers["retry-after"]) >= 1
    assert (await own.http.get("/healthz")).json() == {"status": "alive"}


async def test_draining_is_told_to_probes_and_to_those_who_ask(own):
    own.core.draining = own.core.acceptance.draining = True
    asked = await own.http.post("/api/invoke_endpoint", json={"message": "x"})
    assert (asked.status_code, asked.json()["code"]) == (503, "draining")
    assert (await own.http.get("/readyz")).status_code == 503
    assert (await own.http.get("/healthz")).status_code == 200
