"""Mode `token`: who shows a token, or a cookie that a token began, is let in, and nobody else."""

import asyncio
import json
import re

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed

from perdure import credentials, keyring, rates
from perdure.connection import Connection
from perdure.errors import NotFound
from perdure.routers import identity
from perdure.settings import Auth
from tests.flow.serving import Served, serving

COOKIE = re.compile(r"perdure_session=(perdure_ses_[^;]+); HttpOnly; Max-Age=(\d+); Path=/; (.*)")


@pytest.fixture
async def server(tmp_path):
    async with serving(tmp_path, auth=Auth(mode="token"), keepalive_s=1) as served:
        yield served


async def token_of(server, user="ann", scopes=("read", "write"), lasts_s=None):
    return await keyring.make_token(server.core.store, user, "test", [*scopes], lasts_s)


class Bearer:
    """A program's client with its token."""

    def __init__(self, server, secret):
        self.served = Served(server.url, server.core, server.steered, "")
        self.served.headers = {"Authorization": f"Bearer {secret}"}
        self.served.http.headers.update(self.served.headers)

    async def __aenter__(self):
        return self.served

    async def __aexit__(self, *_):
        await self.served.http.aclose()


def cookie_of(response):
    found = COOKIE.fullmatch(response.headers["set-cookie"])
    assert found, response.headers["set-cookie"]
    return found


async def signed_in(server, secret):
    """Sign in as a browser does; return the session's secret."""
    response = await server.http.post("/api/session", json={"token": secret})
    assert response.status_code == 204, response.text
    return cookie_of(response)[1]


async def me(server, secret):
    """Return whom a session's cookie stands for; the client itself keeps no cookies."""
    server.http.cookies.clear()
    headers = {"Cookie": f"perdure_session={secret}"}
    return await server.http.get("/api/me", headers=headers)


async def test_a_token_stands_for_its_person(server):
    token, secret = await token_of(server)
    async with Bearer(server, secret) as ann:
        told = await ann.get("/api/me")
        assert (told["user_id"], told["auth_mode"], told["admin"]) == ("ann", "token", False)
        asked = await ann.asked_and_ended()
    _, other = await token_of(server, "bob")
    async with Bearer(server, other) as bob:
        path = f"/api/requests/{asked['request_id']}"
        assert (await bob.http.get(path)).status_code == 404
    assert (await server.core.store.credential(token.id)).used_at is not None


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "unauthenticated"),
        ("Bearer", "invalid_token"),
        ("Bearer nonsense", "invalid_token"),
        ("Basic {secret}", "invalid_token"),
        ("Bearer {secret}x", "invalid_token"),
        ("Bearer perdure_tok_000000000000000000000000_" + "A" * 43, "invalid_token"),
        ("Bearer {guessed}", "invalid_token"),
    ],
)
async def test_what_is_no_token_opens_nothing(server, header, code):
    """Guard: the keyring's look at what is unknown, and at the secret behind an id that is known.

    Ids are no secrets: they stand in lists and log lines.
    """
    token, secret = await token_of(server)
    guessed = credentials.new_secret(token.id)
    headers = (
        {} if header is None else {"Authorization": header.format(secret=secret, guessed=guessed)}
    )
    for path in ("/api/me", "/api/chats", "/api/live"):
        response = await server.http.get(path, headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, code)
        assert response.headers["www-authenticate"] == "Bearer"
    answer = await server.http.post("/v1/responses", json={"input": "hi"}, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"


async def test_a_revoked_and_an_expired_token_open_nothing(server):
    token, secret = await token_of(server)
    _, old = await token_of(server, lasts_s=-1)
    await keyring.revoke_token(server.core.store, token.id)
    for one in (secret, old):
        response = await server.http.get("/api/me", headers={"Authorization": f"Bearer {one}"})
        assert response.json()["code"] == "invalid_token"


async def test_a_token_reaches_as_far_as_its_scopes(server):
    """Guard: the look at `writes` in `person_of` and in the socket, `admin_of`."""
    _, reading = await token_of(server, scopes=("read",))
    _, writing = await token_of(server)
    _, looking_after = await token_of(server, "olga", scopes=("read", "write", "admin"))
    async with Bearer(server, writing) as writer, Bearer(server, reading) as reader:
        asked = await writer.ask("hi", "steered")
        path = f"/api/requests/{asked['request_id']}"
        assert (await reader.http.get(path)).status_code == 200
        refused = await reader.http.post(f"{path}/cancel")
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
        async with reader.socket(f"{path}/stream?after=999") as socket:
            await socket.send('{"op": "cancel"}')
            assert json.loads(await socket.recv())["error"]["code"] == "scope_missing"
        assert (await writer.status(asked["request_id"]))["status"] != "cancelled"
        assert (await writer.http.get("/api/admin/requests")).status_code == 403
    async with Bearer(server, looking_after) as admin:
        assert (await admin.get("/api/admin/requests"))["requests"][0]["user_id"] == "ann"


async def test_a_browser_signs_in_with_a_token_and_out_again(server):
    token, secret = await token_of(server)
    for guessed in (secret[:-1], credentials.new_secret(token.id)):
        wrong = await server.http.post("/api/session", json={"token": guessed})
        assert (wrong.status_code, wrong.json()["code"]) == (401, "invalid_token")
    response = await server.http.post("/api/session", json={"token": secret})
    _, lasts_s, flags = cookie_of(response).groups()
    assert flags == "SameSite=Lax"
    assert int(lasts_s) > 3600
    assert secret not in str(response.headers)
    assert (await server.get("/api/session"))["signed_in"] is True
    assert (await server.get("/api/me"))["user_id"] == "ann"
    out = await server.http.delete("/api/session")
    assert out.json() == {"redirect": "/"}
    assert cookie_of_removed(out)
    assert (await server.get("/api/session"))["signed_in"] is False
    assert (await server.http.get("/api/me")).status_code == 401


def cookie_of_removed(response):
    return 'perdure_session=""; HttpOnly; Max-Age=0' in response.headers["set-cookie"]


async def test_a_session_is_no_token_and_a_token_no_session(server):
    """Guard: the look at `kind` in the keyring; a cookie would else work as an API key for ever."""
    _, secret = await token_of(server)
    session = await signed_in(server, secret)
    assert (await me(server, secret)).json()["code"] == "session_over"
    server.http.cookies.clear()
    told = await server.http.get("/api/me", headers={"Authorization": f"Bearer {session}"})
    assert (told.status_code, told.json()["code"]) == (401, "invalid_token")
    assert (await server.http.post("/api/session", json={"token": session})).status_code == 401
    with pytest.raises(NotFound):
        await keyring.revoke_token(server.core.store, session[8 : 8 + len("ses_") + 24])


async def test_off_loopback_the_cookie_needs_tls_and_belongs_to_the_host(server):
    _, secret = await token_of(server)
    response = await server.http.post(
        "/api/session", json={"token": secret}, headers={"Host": "chat.example"}
    )
    given = response.headers["set-cookie"]
    assert given.startswith("__Host-perdure_session=")
    assert "Secure" in given
    assert "Domain" not in given


async def test_a_session_ends_with_the_token_it_began_with(server):
    """Guard: `_rests` of the keyring."""
    token, secret = await token_of(server)
    session = await signed_in(server, secret)
    assert (await me(server, session)).status_code == 200
    await keyring.revoke_token(server.core.store, token.id)
    assert (await me(server, session)).json()["code"] == "session_over"


async def test_a_session_of_another_mode_opens_nothing(server):
    """Guard: `mode` in `_rests`; who changes the way in wants people to take it."""
    _, secret = await token_of(server)
    session = await signed_in(server, secret)
    found = await server.core.store.credential(credentials.id_in(session))
    changed = msgspec.structs.replace(found, details=found.details | {"mode": "oidc"})
    assert await server.core.store.change_credential(changed, found.digest)
    assert (await me(server, session)).json()["code"] == "session_over"


async def test_signing_in_again_ends_the_session_before(server):
    """A session that was planted in a browser is of no use once its owner signs in."""
    _, secret = await token_of(server)
    first = await signed_in(server, secret)
    second = await signed_in(server, secret)
    assert (await me(server, first)).status_code == 401
    assert (await me(server, second)).status_code == 200


async def aged(server, secret, seconds):
    """Make a session look older than it is."""
    store = server.core.store
    found = await store.credential(credentials.id_in(secret))
    details = dict(found.details)
    for name in ("renewed_at", "previous_until"):
        if name in details:
            details[name] -= seconds
    changed = msgspec.structs.replace(found, details=details)
    assert await store.change_credential(changed, found.digest)


async def test_a_session_gets_a_fresh_secret_and_the_old_one_ends_once_that_is_used(server):
    _, token = await token_of(server)
    old = await signed_in(server, token)
    assert "set-cookie" not in (await me(server, old)).headers
    await aged(server, old, keyring.RENEW_S + 1)
    fresh = cookie_of(await me(server, old))[1]
    assert fresh != old
    assert (await me(server, old)).status_code == 200, "the answer may have been lost"
    assert (await me(server, fresh)).status_code == 200
    assert (await me(server, old)).status_code == 200, "calls under way still show it"
    await aged(server, fresh, keyring.GRACE_S + 1)
    assert (await me(server, old)).json()["code"] == "session_over"
    assert (await me(server, fresh)).status_code == 200


async def test_a_lost_answer_with_a_fresh_secret_signs_nobody_out(server):
    """Guard: the secret before the last stays good until the new one was seen."""
    _, token = await token_of(server)
    old = await signed_in(server, token)
    await aged(server, old, keyring.RENEW_S + 1)
    lost = cookie_of(await me(server, old))[1]
    await aged(server, old, keyring.GRACE_S + 1)
    newer = cookie_of(await me(server, old))[1]
    assert newer not in (old, lost)
    assert (await me(server, newer)).status_code == 200


async def test_an_unused_session_ends(tmp_path):
    auth = Auth(mode="token", session_idle_hours=1e-7)
    async with serving(tmp_path, auth=auth) as server:
        _, token = await token_of(server)
        session = await signed_in(server, token)
        assert (await me(server, session)).json()["code"] == "session_over"


async def test_a_stream_and_a_socket_end_with_their_token(server, monkeypatch):
    """Guard: the watch in `arriving` and in `sockets.ends`; else a revoked token reads on."""
    monkeypatch.setattr(identity, "LOOK_AGAIN_S", 0.05)
    token, secret = await token_of(server)
    async with Bearer(server, secret) as ann:
        asked = await ann.ask("hi", "steered")
        stream = await ann.stream(f"/api/requests/{asked['request_id']}/stream")
        async with ann.socket("/api/live") as socket:
            assert json.loads(await socket.recv())["op"] == "hello"
            await keyring.revoke_token(server.core.store, token.id)
            assert json.loads(await socket.recv())["error"]["code"] == "session_over"
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 4401
        body = await asyncio.wait_for(stream.body(), 10)
        assert b"response.completed" not in body
        await stream.close()
    request = await server.core.store.request(asked["request_id"])
    assert not request.status.terminal, "leaving is never stopping"


async def chatter(messages, context):
    """Talk without a pause, for longer than any test."""
    for _ in range(3000):
        yield "word "
        await asyncio.sleep(0.01)  # its pace


async def test_a_stream_that_never_rests_ends_with_its_token_as_well(tmp_path, monkeypatch):
    """Where events go straight to the socket. Guard: the look at `_leaving` in `_write`."""
    monkeypatch.setattr(identity, "LOOK_AGAIN_S", 0.05)
    auth, agents = Auth(mode="token"), {"chatter": chatter}
    async with serving(tmp_path, auth=auth, agents=agents, http=Connection) as server:
        token, secret = await token_of(server)
        async with Bearer(server, secret) as ann:
            asked = await ann.ask("hi", "chatter")
            stream = await ann.stream(f"/api/requests/{asked['request_id']}/stream")
            await ann.shown_some(asked["request_id"])
            await keyring.revoke_token(server.core.store, token.id)
            body = await asyncio.wait_for(stream.body(), 15)
            assert b"output_text.delta" in body
            await stream.close()
        request = await server.core.store.request(asked["request_id"])
        assert not request.status.terminal, "leaving is never stopping"


async def test_one_makes_and_revokes_ones_own_tokens_only(server):
    """Guard: `_own` and the look at scopes in `routers/tokens`."""
    _, secret = await token_of(server)
    _, his = await token_of(server, "bob")
    _, olgas = await token_of(server, "olga", scopes=("read", "write", "admin"))
    async with Bearer(server, secret) as ann, Bearer(server, his) as bob:
        made = await ann.http.post("/api/tokens", json={"name": "cron", "days": 30})
        assert made.status_code == 201
        cron = made.json()
        assert cron["token"]["scopes"] == ["read", "write"]
        async with Bearer(server, cron["secret"]) as program:
            assert (await program.get("/api/me"))["user_id"] == "ann"
        listed = await ann.http.get("/api/tokens")
        assert [one["name"] for one in listed.json()["tokens"]] == ["test", "cron"]
        assert "perdure_tok" not in listed.text
        for body in ({"name": "x", "scopes": ["admin"]}, {"name": "x", "user_id": "bob"}):
            assert (await ann.http.post("/api/tokens", json=body)).status_code == 403
        assert (await ann.http.get("/api/tokens?user=bob")).status_code == 403
        path = f"/api/tokens/{cron['token']['id']}"
        foreign, unknown = await bob.http.delete(path), await bob.http.delete("/api/tokens/tok_0")
        assert foreign.status_code == unknown.status_code == 404
        assert (await ann.http.delete(path)).status_code == 204
        gone = {"Authorization": f"Bearer {cron['secret']}"}
        assert (await server.http.get("/api/me", headers=gone)).status_code == 401
    async with Bearer(server, olgas) as admin:
        everyones = (await admin.get("/api/tokens", user=""))["tokens"]
        assert {one["user_id"] for one in everyones} == {"ann", "bob", "olga"}
        made = await admin.http.post("/api/tokens", json={"name": "new", "user_id": "carl"})
        assert made.json()["token"]["user_id"] == "carl"


async def test_where_others_sign_people_in_there_are_no_tokens(tmp_path):
    async with serving(tmp_path, user="ann") as server:
        for response in (
            await server.http.get("/api/tokens"),
            await server.http.post("/api/tokens", json={"name": "x"}),
            await server.http.post("/api/session", json={"token": "x"}),
            await server.http.get("/auth/login"),
        ):
            assert response.status_code == 404
        assert (await server.get("/api/session"))["signed_in"] is True


async def test_who_tries_tokens_without_end_is_slowed_down_by_address(tmp_path, monkeypatch):
    """Behind a trusted proxy the address is the one that it names last, not what a client says."""
    monkeypatch.setattr(rates, "SIGN_INS_PER_MINUTE", 20)
    async with serving(tmp_path, auth=Auth(mode="token")) as server:

        async def tried(address):
            headers = {"X-Forwarded-For": f"9.9.9.9, {address}"}
            body = {"token": "x"}
            return (await server.http.post("/api/session", json=body, headers=headers)).status_code

        codes = {await tried("1.1.1.1") for _ in range(20)}
        assert codes == {401}
        assert await tried("1.1.1.1") == 429
        assert await tried("2.2.2.2") == 401


async def test_who_comes_through_no_proxy_of_ours_is_not_another_address_each_time(
    tmp_path, monkeypatch
):
    """Guard: `trusted` in `_peer`; anybody can write that header."""
    monkeypatch.setattr(rates, "SIGN_INS_PER_MINUTE", 5)
    auth = Auth(mode="token", trusted_proxies=["10.0.0.0/8"])
    async with serving(tmp_path, auth=auth) as server:
        tries = [
            await server.http.post(
                "/api/session", json={"token": "x"}, headers={"X-Forwarded-For": f"1.1.1.{n}"}
            )
            for n in range(6)
        ]
        assert [one.status_code for one in tries] == [401] * 5 + [429]
