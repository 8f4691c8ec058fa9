"""One person's things are invisible to another: on every route, foreign answers like unknown."""

import json
import re

import pytest
from websockets.exceptions import ConnectionClosed

from perdure import keyring
from perdure.settings import Auth, Webhooks
from tests.flow.serving import serving

BODIES = {
    "updateChat": {"title": "mine now"},
    "editMessage": {"content": "mine now"},
}
UNKNOWN = {
    "request_id": "resp_" + "0" * 24,
    "chat_id": "chat_" + "0" * 24,
    "message_id": "msg_0",
    "webhook_id": "evt_0",
    "token_id": "tok_0",
}
NOBODY = Webhooks(url="http://127.0.0.1:9/", secret="s", allow_private=True)


@pytest.fixture
async def people(tmp_path):
    """Serve Alice, who has an answer that runs and a question that waits, and Mallory."""
    async with serving(tmp_path, user="alice", webhooks=NOBODY) as alice:
        ended = await alice.asked_and_ended()
        (webhook,) = (await alice.get("/api/webhooks"))["webhooks"]
        await alice.http.delete(f"/api/chats/{ended['chat_id']}")
        running = await alice.ask("secret", "steered")
        waiting = await alice.ask("secret too", "steered", chat_id=running["chat_id"])
        token, _ = await keyring.make_token(alice.core.store, "alice", "hers", ["read"], None)
        hers = {
            "request_id": running["request_id"],
            "chat_id": running["chat_id"],
            "message_id": waiting["user_message_id"],
            "webhook_id": webhook["id"],
            "token_id": token.id,
        }
        mallory = alice.other("mallory")
        yield alice, mallory, hers
        await mallory.http.aclose()


def normal(response):
    """Return what an answer tells, without the ids that the call named."""
    return re.sub(r"(resp|chat|msg|evt|tok)_[0-9a-f]+", "ID", response.text)


async def test_none_of_that_changed_anything(people):
    alice, mallory, hers = people
    before = await alice.get(f"/api/chats/{hers['chat_id']}/messages")
    await mallory.http.post(f"/api/requests/{hers['request_id']}/cancel")
    await mallory.http.delete(f"/api/chats/{hers['chat_id']}")
    await mallory.http.delete(f"/api/messages/{hers['message_id']}")
    assert await alice.get(f"/api/chats/{hers['chat_id']}/messages") == before
    alice.steered.say("a")
    await alice.shown(hers["request_id"], "a")


async def test_lists_and_searches_show_ones_own_things_only(people):
    alice, mallory, hers = people
    assert len((await alice.get("/api/chats", q="secret"))["chats"]) == 1
    for path in (
        "/api/chats",
        "/api/chats?q=secret",
        "/api/requests",
        f"/api/requests?chat_id={hers['chat_id']}",
    ):
        listed = await mallory.get(path)
        assert listed.get("chats", listed.get("requests")) == []


async def test_a_foreign_chat_cannot_be_asked_in_and_a_foreign_answer_not_judged(people):
    _, mallory, hers = people
    for url, body in (
        ("/api/invoke_endpoint", {"message": "hi", "chat_id": hers["chat_id"]}),
        (
            "/api/log_assessment",
            {"name": "thumbs", "value": True, "request_id": hers["request_id"]},
        ),
    ):
        response = await mallory.http.post(url, json=body)
        assert response.status_code == 404, url


async def test_a_foreign_request_is_closed_to_sockets_as_an_unknown_one(people):
    _, mallory, hers = people
    told = []
    for request_id in (hers["request_id"], UNKNOWN["request_id"]):
        async with mallory.socket(f"/api/requests/{request_id}/stream") as socket:
            told.append(re.sub("resp_[0-9a-f]+", "ID", await socket.recv()))
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 4404
    assert told[0] == told[1]


async def test_a_live_line_tells_nothing_of_other_people(people):
    alice, mallory, hers = people
    async with mallory.socket("/api/live?since=0") as socket:
        assert json.loads(await socket.recv())["op"] == "hello"
        for request_id in (hers["request_id"], UNKNOWN["request_id"]):
            await socket.send(json.dumps({"op": "attach", "request_id": request_id}))
            told = json.loads(await socket.recv())
            assert (told["request_id"], told["error"]["status"]) == (request_id, 404)
        alice.steered.say("secret")
        alice.steered.end()
        await alice.shown(hers["request_id"], "secret")
        await socket.send('{"op": "ping"}')
        assert json.loads(await socket.recv()) == {"op": "pong"}


async def test_the_same_idempotency_key_of_two_people_are_two_keys(people):
    alice, mallory, _ = people
    ids = set()
    for person in (alice, mallory):
        response = await person.http.post(
            "/api/invoke_endpoint", json={"message": "hi"}, headers={"Idempotency-Key": "k"}
        )
        assert response.status_code == 202
        ids.add(response.json()["request_id"])
    assert len(ids) == 2


async def test_nobody_without_a_name_gets_in(people):
    alice, *_ = people
    nobody = alice.other("")
    for path in (
        "/api/chats",
        "/api/me",
        "/api/agents",
        "/api/live",
        "/api/requests/resp_1/stream",
    ):
        response = await nobody.http.get(path)
        assert (response.status_code, response.json()["code"]) == (401, "unauthenticated"), path
    async with nobody.socket("/api/live") as socket:
        assert json.loads(await socket.recv())["error"]["status"] == 401
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 4401
    assert (await nobody.http.get("/healthz")).status_code == 200
    await nobody.http.aclose()


async def test_what_is_no_name_is_nobody(people):
    """Guard: `identity._name`. Such a name would stand in logs, keys and lists of people."""
    alice, *_ = people
    for name in ("x" * 257, "a\xadb", "\x85", "\xa0"):
        headers = {"X-Forwarded-User": name.encode("latin-1")}
        response = await alice.http.get("/api/me", headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "unauthenticated"), name


async def test_the_proxys_names_are_shown(people):
    alice, *_ = people
    headers = {"X-Forwarded-Email": "alice@example.com"}
    me = (await alice.http.get("/api/me", headers=headers)).json()
    assert me == {
        "user_id": "alice",
        "display": "alice@example.com",
        "auth_mode": "proxy",
        "admin": False,
    }


async def test_names_from_an_address_that_is_no_proxy_are_not_believed(tmp_path):
    auth = Auth(mode="proxy", trusted_proxies=["10.0.0.0/8"])
    async with serving(tmp_path, auth=auth) as server:
        response = await server.http.get("/api/me", headers={"X-Forwarded-User": "alice"})
        assert (response.status_code, response.json()["code"]) == (401, "untrusted_proxy")
