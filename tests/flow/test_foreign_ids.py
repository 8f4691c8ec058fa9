"""Foreign ids answer like unknown ones: on every route there is, `/v1` and the AI SDK's included,
and wherever else a call may name something: in queries, bodies and socket messages.
"""

import json
import re

import pytest
from fastapi.routing import APIRoute

from perdure import keyring
from perdure.routers.public import is_public
from perdure.settings import Webhooks
from tests.flow.serving import serving
from tests.flow.test_every_route import routes

NOBODY = Webhooks(url="http://127.0.0.1:9/", secret="s", allow_private=True)
ANY = {
    "title": "mine",
    "content": "mine",
    "metadata": {"a": "b"},
    "items": [{"type": "message", "role": "user", "content": "mine"}],
}
"""A body that fits every route that changes something named in its path."""
ANSWERS = {404, 403, 204}
"""403: for admins only; 204: the AI SDK's word for nothing to resume."""
UNKNOWN = {
    "request_id": "resp_" + "0" * 24,
    "response_id": "resp_" + "0" * 24,
    "chat_id": "chat_" + "0" * 24,
    "conversation_id": "chat_" + "0" * 24,
    "message_id": "msg_" + "0" * 24,
    "item_id": "msg_" + "0" * 24,
    "webhook_id": "evt_" + "0" * 24,
    "token_id": "tok_" + "0" * 24,
    "client_id": "nobodys-chat",
}
WITHOUT_OWNER = {"model", "name"}
"""Parts of paths that name what is the same for everybody."""


@pytest.fixture
async def people(tmp_path):
    """Serve Alice, who has one of everything, and Mallory, who knows all its ids."""
    async with serving(tmp_path, user="alice", webhooks=NOBODY) as alice:
        await alice.asked_and_ended()
        (webhook,) = (await alice.get("/api/webhooks"))["webhooks"]
        running = await alice.ask("secret", "steered")
        waiting = await alice.ask("secret too", "steered", chat_id=running["chat_id"])
        await _chat_of_sdk(alice)
        token, _ = await keyring.make_token(alice.core.store, "alice", "hers", ["read"], None)
        hers = {
            "request_id": running["request_id"],
            "response_id": running["request_id"],
            "chat_id": running["chat_id"],
            "conversation_id": running["chat_id"],
            "message_id": waiting["user_message_id"],
            "item_id": waiting["user_message_id"],
            "webhook_id": webhook["id"],
            "token_id": token.id,
            "client_id": "alices-chat",
        }
        mallory = alice.other("mallory")
        yield alice, mallory, hers
        await mallory.http.aclose()


async def _chat_of_sdk(alice):
    parts = [{"type": "text", "text": "hello"}]
    body = {"id": "alices-chat", "messages": [{"id": "m", "role": "user", "parts": parts}]}
    body["agent_id"] = "echo"
    response = await alice.http.post("/api/chat", json=body)
    assert response.status_code == 200, response.text


def normal(response):
    """Return what an answer tells, without the ids that the call named."""
    text = re.sub(r"(resp|chat|msg|evt|tok)_[0-9a-f]+", "ID", response.text)
    return text.replace("alices-chat", "ID").replace("nobodys-chat", "ID")


def calls():
    """Yield method and path of every call that names something, and is not the same for all."""
    for route in routes():
        names = set(re.findall(r"{(\w+)(?::\w+)?}", route.path))
        if isinstance(route, APIRoute) and names - WITHOUT_OWNER and not is_public(route.endpoint):
            for method in route.methods or ():
                yield method, route.path


async def test_on_every_route_a_foreign_id_answers_like_an_unknown_one(people):
    """Guard: the person in every store method. No route is listed here: all that exist are."""
    alice, mallory, hers = people
    tried = list(calls())
    assert len(tried) >= 30
    for method, path in tried:
        body = {} if method in ("GET", "HEAD", "DELETE") else {"json": ANY}
        foreign, unknown = [
            await mallory.http.request(method, path.format(**ids), **body)
            for ids in (hers, UNKNOWN)
        ]
        assert foreign.status_code == unknown.status_code, (method, path, foreign.text)
        assert foreign.status_code in ANSWERS, (method, path, foreign.text)
        assert normal(foreign) == normal(unknown), (method, path)
    status = (await alice.status(hers["request_id"]))["status"]
    assert status in ("queued", "streaming"), "and none of it changed anything"
    tree = await alice.get(f"/api/chats/{hers['chat_id']}/messages")
    assert "mine" not in str(tree)


def named(ids):
    """Return every other place of a call where one may name something: (method, path, body)."""
    answer = {
        "id": ids["client_id"],
        "trigger": "regenerate-message",
        "messages": [{"role": "user"}],
    }
    return [
        ("GET", f"/api/requests?chat_id={ids['chat_id']}", None),
        ("GET", f"/api/live?attach={ids['request_id']}:-1&since=x", None),
        ("POST", "/api/invoke_endpoint", {"message": "x", "chat_id": ids["chat_id"]}),
        ("POST", "/api/invoke_endpoint", {"message": "x", "parent_id": ids["message_id"]}),
        ("POST", "/api/log_assessment", {"name": "x", "value": 1, "request_id": ids["request_id"]}),
        ("POST", "/v1/responses", {"input": "x", "previous_response_id": ids["response_id"]}),
        ("POST", "/v1/responses", {"input": "x", "conversation": ids["chat_id"]}),
        (
            "POST",
            "/v1/responses",
            {"input": [{"type": "item_reference", "id": ids["item_id"]}]},
        ),
        ("POST", "/api/chat", answer),
    ]


async def test_in_queries_and_bodies_a_foreign_id_answers_like_an_unknown_one(people):
    _, mallory, hers = people
    for foreign_call, unknown_call in zip(named(hers), named(UNKNOWN), strict=True):
        foreign, unknown = [
            await mallory.http.request(method, path, json=body)
            if body
            else await mallory.http.request(method, path)
            for method, path, body in (foreign_call, unknown_call)
        ]
        assert foreign.status_code == unknown.status_code, (foreign_call, foreign.text)
        assert normal(foreign) == normal(unknown), foreign_call
        assert "secret" not in foreign.text


async def test_on_a_live_line_a_foreign_request_is_told_of_like_an_unknown_one(people):
    _, mallory, hers = people
    async with mallory.socket("/api/live") as socket:
        assert json.loads(await socket.recv())["op"] == "hello"
        told = []
        for ids in (hers, UNKNOWN):
            await socket.send(json.dumps({"op": "attach", "request_id": ids["request_id"]}))
            told.append(re.sub("resp_[0-9a-f]+", "ID", await socket.recv()))
    assert told[0] == told[1]
