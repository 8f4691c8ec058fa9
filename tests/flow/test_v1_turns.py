"""`/v1/responses` as a WebSocket: the cases of Open Responses, and the official client."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed, InvalidStatus

from perdure.errors import NotFound
from perdure.routers.v1 import turns
from tests.flow.serving import JSON, Served, serving
from tests.unit import published, shapes
from tests.world.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

TERMINAL = ("response.completed", "response.incomplete", "response.failed", "error")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory):
    async with serving(tmp_path_factory.mktemp("turns"), user="ann") as running:
        yield running


async def turn(socket: Any, **more: Any) -> list[JSON]:
    """Take a turn; return all that is told of it, each checked against the published schema."""
    message = {"type": "response.create", "model": "echo", "input": "hello", **more}
    published.check_turn(message)
    await socket.send(json.dumps(message))
    return await told(socket)


async def told(socket: Any) -> list[JSON]:
    events: list[JSON] = []
    while not events or events[-1]["type"] not in TERMINAL:
        event = json.loads(text := await socket.recv())
        published.check_event(event)
        if event["type"] != "error":
            shapes.parse(text.encode())
        events.append(event)
    return events


def text_of(events: list[JSON]) -> str:
    (item,) = events[-1]["response"]["output"]
    return str(item["content"][0]["text"])


def code_of(events: list[JSON]) -> str:
    (error,) = events
    assert error["type"] == "error"
    assert error["error"].keys() == {"message", "type", "param", "code"}
    return f"{error['status']} {error['error']['code']}"


async def test_turns_are_told_by_the_events_of_their_responses(served: Served):
    """They are the log, byte for byte, as its stream tells it."""
    async with served.socket("/v1/responses") as socket:
        events = await turn(socket)
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert (events[0]["type"], text_of(events)) == ("response.created", "hello")
        again = await turn(socket, input="and?", metadata={"n": "2"})
        assert text_of(again) == "and?"
    response = events[-1]["response"]
    assert (response["background"], response["store"]) == (False, True)
    assert (await served.get(f"/v1/responses/{response['id']}")) == response


async def test_turns_are_taken_one_after_another(served: Served):
    """Guard: the queue; two at once would mix their events."""
    async with served.socket("/v1/responses") as socket:
        for text in ("one", "two"):
            body = {"type": "response.create", "model": "steered", "input": text}
            await socket.send(json.dumps(body))
        served.steered.say("first")
        served.steered.end()
        assert text_of(await told(socket)) == "first"
        served.steered.say("second")
        served.steered.end()
        second = await told(socket)
        assert (second[0]["sequence_number"], text_of(second)) == (0, "second")


async def test_what_is_not_stored_can_be_followed_on_its_own_connection_only(served: Served):
    async with served.socket("/v1/responses") as socket:
        first = (await turn(socket, store=False))[-1]["response"]["id"]
        assert (await served.http.get(f"/v1/responses/{first}")).status_code == 404
        second = await turn(socket, store=False, previous_response_id=first, input="and?")
        assert second[-1]["response"]["previous_response_id"] == first
        third = second[-1]["response"]["id"]
        kept = await turn(socket, previous_response_id=third, input="store this")
        row = await served.core.store.request(kept[-1]["response"]["id"])
        talk = [one.text for one in await served.core.store.messages(row.chat_id, "ann")]
        assert talk == ["hello", "hello", "and?", "and?", "store this", "store this"]
    async with served.socket("/v1/responses") as socket:
        missed = await turn(socket, store=False, previous_response_id=third)
        assert code_of(missed) == "400 previous_response_not_found"
        assert text_of(await turn(socket, store=False, input="recovered")) == "recovered"


async def test_a_failed_continuation_forgets_what_it_followed(served: Served):
    """As the specification wants it. Guard: `_kept = None` in `_turns`."""
    output = {"type": "function_call_output", "call_id": "call_none", "output": "x"}
    async with served.socket("/v1/responses") as socket:
        first = (await turn(socket, store=False))[-1]["response"]["id"]
        failed = await turn(socket, store=False, previous_response_id=first, input=[output])
        assert code_of(failed) == "400 no_tool_call_found"
        retried = await turn(socket, store=False, previous_response_id=first)
        assert code_of(retried) == "400 previous_response_not_found"


async def test_what_is_stored_can_be_followed_from_everywhere(served: Served):
    async with served.socket("/v1/responses") as socket:
        first = (await turn(socket))[-1]["response"]["id"]
    async with served.socket("/v1/responses") as socket:
        assert text_of(await turn(socket, previous_response_id=first, input="and?")) == "and?"


REFUSED = {
    "no JSON": ("{", "400 invalid_json", None),
    "an array": ("[]", "400 invalid_type", None),
    "another type": ('{"type": "response.cancel"}', "400 invalid_value", "type"),
    "no model": ('{"type": "response.create"}', "400 missing_required_parameter", "model"),
    "a warm-up": (
        '{"type": "response.create", "model": "echo", "generate": false}',
        "400 unsupported_parameter",
        "generate",
    ),
    "no input": (
        '{"type": "response.create", "model": "echo"}',
        "400 missing_required_parameter",
        "input",
    ),
    "an unknown model": (
        '{"type": "response.create", "model": "none", "input": "x"}',
        "400 model_not_found",
        "model",
    ),
}


@pytest.mark.parametrize("name", list(REFUSED))
async def test_a_refusal_is_an_error_and_the_connection_goes_on(served: Served, name: str):
    message, code, param = REFUSED[name]
    async with served.socket("/v1/responses") as socket:
        await socket.send(message)
        refused = await told(socket)
        assert (code_of(refused), refused[0]["error"]["param"]) == (code, param)
        assert text_of(await turn(socket)) == "hello"


async def test_more_turns_than_a_connection_may_have_waiting_are_refused(served: Served):
    async with served.socket("/v1/responses") as socket:
        body = json.dumps({"type": "response.create", "model": "steered", "input": "x"})
        for _ in range(turns.WAITING_MAX + 2):
            await socket.send(body)
        events: list[JSON] = []
        while not events or events[-1]["type"] != "error":
            events.append(json.loads(await socket.recv()))
        assert code_of(events[-1:]) == "429 too_many_turns"
    running, _ = await served.core.store.requests("ann", limit=1)
    await served.core.acceptance.cancel(running[0].id, "ann")


@pytest.mark.parametrize("store", [True, False])
async def test_leaving_stops_only_what_is_not_stored(served: Served, store: bool):
    """Promise 6. Guard: `discard` in `_answer`."""
    async with served.socket("/v1/responses") as socket:
        message = {"type": "response.create", "model": "steered", "input": "x", "store": store}
        await socket.send(json.dumps(message))
        created = json.loads(await socket.recv())["response"]["id"]
    if store:
        served.steered.say("still here")
        served.steered.end()
        assert (await served.ended(created))["final_response"] == "still here"
        return

    async def gone() -> bool:
        try:
            await served.core.store.request(created)
        except NotFound:
            return True
        return False

    await eventually(gone, within_s=10, what="it is stopped and removed")


async def test_a_connection_that_is_too_old_is_told_so_and_closed(served: Served, monkeypatch):
    monkeypatch.setattr(turns.Connection, "age_max_s", 0.05)
    async with served.socket("/v1/responses") as socket:
        assert code_of(await told(socket)) == "400 websocket_connection_limit_reached"
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


async def test_nobody_without_a_name_comes_in(served: Served):
    with pytest.raises(InvalidStatus) as refused:
        await served.other("").socket("/v1/responses")
    assert refused.value.response.status_code == 401
    error = json.loads(refused.value.response.body)["error"]
    assert error["type"] == "authentication_error"


async def test_a_page_of_another_site_is_refused_in_the_same_words(served: Served):
    """Guard: the path in `Guard._socket`; the middleware refuses before any route is chosen."""
    with pytest.raises(InvalidStatus) as refused:
        await served.socket("/v1/responses", headers={"Origin": "http://elsewhere.example"})
    assert refused.value.response.status_code == 403
    error = json.loads(refused.value.response.body)["error"]
    assert (error["type"], error["code"]) == ("permission_error", "origin_forbidden")


async def test_a_stopping_server_closes_with_the_code_for_coming_back(tmp_path):
    async with serving(tmp_path) as served, served.socket("/v1/responses") as socket:
        body = {"type": "response.create", "model": "steered", "input": "x"}
        await socket.send(json.dumps(body))
        await socket.recv()
        served.core.tails.drain()
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(told(socket), 10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


async def test_the_official_client_takes_turns(served: Served):
    """Unmodified: `client.responses.connect()`."""
    client = openai.AsyncOpenAI(
        base_url=f"{served.url}/v1", api_key="none", default_headers=served.headers
    )
    async with client.responses.connect() as connection:
        await connection.response.create(model="echo", input="hello", store=False)
        events = [event async for event in _turn_of(connection)]
        assert events[0].type == "response.created"
        assert events[-1].response.output_text == "hello"
        await connection.response.create(model="none", input="x")
        (error,) = [event async for event in _turn_of(connection)]
        assert (error.type, error.error.code, error.error.param) == (
            "error",
            "model_not_found",
            "model",
        )
    await client.close()


async def _turn_of(connection: Any) -> Any:
    while True:
        event = await connection.recv()
        yield event
        if event.type in TERMINAL:
            return
