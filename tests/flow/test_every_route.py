"""No route without an owner check or a public mark: told of every route there is, not of a list."""

import json
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIWebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus

from perdure.app import create_app
from perdure.routers.identity import admin_of, asker_of, person_of
from perdure.routers.public import is_public
from perdure.settings import Auth, Settings
from tests.flow.serving import serving

WHO = {person_of, asker_of, admin_of}
FRAMEWORK = {"/openapi.json"}
"""FastAPI's own route, which shows what the API is."""
PUBLIC = {
    "/",
    "/c/{chat_id}",
    "/operator",
    "/logo",
    "/assets/{name}",
    "/healthz",
    "/readyz",
    "/metrics",
    "/docs",
    "/api/session",
    "/auth/login",
    "/auth/callback",
}
IDS = {
    "request_id": "resp_0",
    "chat_id": "chat_0",
    "message_id": "msg_0",
    "webhook_id": "evt_0",
    "token_id": "tok_0",
    "response_id": "resp_0",
    "conversation_id": "conv_0",
    "item_id": "msg_0",
    "client_id": "c",
    "model": "guide",
    "name": "x",
}


def routes() -> list[Any]:
    """Return every route as FastAPI itself matches it."""
    return list(create_app(settings=Settings()).routes)


def asks_who(dependant: Dependant) -> bool:
    return any(one.call in WHO or asks_who(one) for one in dependant.dependencies)


def test_every_route_asks_who_is_calling_or_is_marked_public():
    """Guard: `Who`, `Asker` or `Admin` in the route's parameters, else `@public`."""
    found = routes()
    assert len(found) > 50
    for route in found:
        if isinstance(route, APIRoute):
            asks = asks_who(route.dependant)
            assert asks != is_public(route.endpoint), f"{route.methods} {route.path}"
        else:
            assert isinstance(route, APIWebSocketRoute) or route.path in FRAMEWORK, route


def test_what_is_public_is_this_and_no_more():
    """The files of the built page aside: they are the same for everybody."""
    found = {
        route.path
        for route in routes()
        if isinstance(route, APIRoute) and is_public(route.endpoint) and "." not in route.path
    }
    assert found <= PUBLIC, found - PUBLIC


@pytest.mark.parametrize("mode", ["proxy", "token"])
async def test_nobody_gets_anything_from_any_other_route_or_socket(tmp_path, mode):
    """As the test above, but asked of the running server: what counts is what goes out."""
    tried = sockets = 0
    async with serving(tmp_path, auth=Auth(mode=mode)) as server:
        for route in routes():
            path = route.path.format(**IDS)
            if isinstance(route, APIRoute) and not is_public(route.endpoint):
                for method in route.methods or ():
                    response = await server.http.request(method, path)
                    assert response.status_code == 401, f"{method} {path}: {response.text}"
                    tried += 1
            elif isinstance(route, APIWebSocketRoute):
                assert await refusal_of(server, path) == 401, path
                sockets += 1
    assert tried > 40
    assert sockets >= 4


async def refusal_of(server, path):
    """Return the status with which a socket is refused: at the handshake, or told inside."""
    try:
        async with server.socket(path) as socket:
            status = json.loads(await socket.recv())["error"]["status"]
            with pytest.raises(ConnectionClosed):
                await socket.recv()
    except InvalidStatus as refused:
        return refused.response.status_code
    return status
