"""`/v1` on the wire: frames, shapes, refusals, conversations, and what is not stored."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from perdure.ports import Topic
from perdure.settings import Limits
from perdure.stores.sqlite import SqliteStore
from tests.flow.serving import JSON, serving
from tests.unit import published, shapes
from tests.world import wire
from tests.world.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory):
    async with serving(tmp_path_factory.mktemp("v1"), user="ann", keepalive_s=0.5) as running:
        yield running


async def created(served, status=200, **body: Any) -> JSON:
    answer = await served.http.post("/v1/responses", json={"model": "echo", **body})
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def ended(served, response_id: str) -> JSON:
    async def whole():
        body = (await served.http.get(f"/v1/responses/{response_id}")).json()
        return body if body["status"] not in ("queued", "in_progress") else None

    return await eventually(whole, within_s=10, what="the response ended")


def frames(body: str) -> list[bytes]:
    """Return the events of a body, each frame checked: `event` and `data`, then `[DONE]`."""
    *events, done, rest = body.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    found = []
    for frame in events:
        if frame.startswith(":"):
            continue
        name, data = frame.split("\n")
        event = data.removeprefix("data: ")
        assert name == f"event: {json.loads(event)['type']}"
        found.append(event.encode())
    return found


@pytest.mark.parametrize("background", [False, True])
async def test_a_stream_speaks_open_responses_in_frames_of_event_and_data(served, background):
    """Guard: frames never carry `id` or `retry`; each event has its published shape."""
    answer = await served.http.post(
        "/v1/responses",
        json={"model": "echo", "input": "hello", "stream": True, "background": background},
    )
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-request-id"]
    for event in frames(answer.text):
        published.check_event(json.loads(event))
    events = [shapes.parse(event) for event in frames(answer.text)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert all(event.response.background is background for event in (events[0], events[-1]))
    assert events[-1].response.output[0].content[0].text == "hello"
    kept = (await served.http.get(f"/v1/responses/{events[0].response.id}")).json()
    assert msgspec.convert(kept, shapes.Response) == events[-1].response


async def test_each_event_is_a_piece_of_its_own_however_fast_they_come(served):
    """Guard: `_chunks`, `fill`: some clients parse piece by piece. Live, and told again."""
    body = {"model": "steered", "input": "hello", "background": True}
    made = (await served.http.post("/v1/responses", json=body)).json()
    path = f"{served.url}/v1/responses/{made['id']}?stream=true"
    live = await wire.request("GET", path, served.headers)
    served.steered.say(*("word " for _ in range(50)))
    served.steered.end()
    for response in (live, await wire.request("GET", path, served.headers)):
        pieces = [piece async for piece in response.blocks() if not piece.startswith(b":")]
        assert response.ended == "whole"
        assert pieces.pop() == b"data: [DONE]\n\n"
        assert all(piece.count(b"\n\n") == 1 and piece.endswith(b"\n\n") for piece in pieces)
        assert [json.loads(one.split(b"data: ")[1])["sequence_number"] for one in pieces] == list(
            range(len(pieces))
        )
        await response.close()


async def test_a_foreground_response_may_be_cancelled_while_it_runs(served):
    body = {"model": "steered", "input": "hello", "stream": True}
    async with served.http.stream("POST", "/v1/responses", json=body) as answer:
        lines = (line async for line in answer.aiter_lines() if line.startswith("data: {"))
        response_id = json.loads((await anext(lines)).removeprefix("data: "))["response"]["id"]
        cancelled = await served.http.post(f"/v1/responses/{response_id}/cancel")
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        last = [json.loads(line.removeprefix("data: ")) async for line in lines][-1]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "cancelled")


@pytest.mark.parametrize("agent", ["echo", "broken"])
async def test_a_retrieved_response_has_the_shape_of_the_specification(served, agent):
    made = await created(served, input="hello", model=agent, background=True)
    assert msgspec.convert(made, shapes.Response).output == []
    done = await ended(served, made["id"])
    for response in (made, done):
        published.check_response(response)
    shaped = msgspec.convert(done, shapes.Response)
    assert shaped.status == {"echo": "completed", "broken": "failed"}[agent]
    assert (shaped.error is None) == (agent == "echo")


async def test_a_failed_response_is_one_that_the_ai_sdk_can_read(served):
    """Guard: the error's `type`, without which its provider says "Invalid JSON response"."""
    made = await created(served, input="hello", model="broken")
    told = "The agent raised RuntimeError: no more"
    known = {"code": "agent_error", "message": told, "type": "server_error", "param": None}
    assert (made["status"], made["error"]) == ("failed", known)


async def test_parameters_are_echoed_and_defaults_filled_in(served):
    tool = {"type": "function", "name": "find"}
    body = await created(
        served,
        input="hello",
        tools=[tool],
        tool_choice="none",
        temperature=0.3,
        reasoning={"effort": "low"},
        max_output_tokens=64,
        unheard_of="ignored",
        include=["reasoning.encrypted_content"],
        user="u1",
        safety_identifier="s1",
        prompt_cache_key="p1",
        service_tier="flex",
        text={"format": {"type": "json_schema", "name": "f", "schema": {}}, "verbosity": "low"},
    )
    form: JSON = {
        "type": "json_schema",
        "name": "f",
        "schema": {},
        "description": None,
        "strict": False,
    }
    assert body["text"] == {"format": form, "verbosity": "low"}
    # The published models take null alone here; its source has object or null, as OpenAI's clients.
    published.check_response({**body, "text": {"format": {**form, "schema": None}}})
    identities = [body[key] for key in ("user", "safety_identifier", "prompt_cache_key")]
    assert (identities, body["service_tier"]) == (["u1", "s1", "p1"], "flex")
    assert body["tools"] == [{**tool, "description": None, "parameters": None, "strict": None}]
    assert body["reasoning"] == {"effort": "low", "summary": None}
    assert (body["temperature"], body["tool_choice"], body["max_output_tokens"]) == (
        0.3,
        "none",
        64,
    )
    assert "unheard_of" not in body
    assert "include" not in body


REFUSALS = {
    "no JSON": ("{", 400, None, "invalid_json"),
    "an array": ("[]", 400, None, "invalid_type"),
    "no input": ("{}", 400, "input", "missing_required_parameter"),
    "a number as input": ('{"input": 5}', 400, "input", "invalid_type"),
    "a strange role": (
        '{"input": [{"role": "king", "content": "x"}]}',
        400,
        "input[0].role",
        "invalid_value",
    ),
    "a picture without an address": (
        '{"input": [{"role": "user", "content": [{"type": "input_image"}]}]}',
        400,
        "input[0].content[0]",
        "invalid_value",
    ),
    "an item as a part": (
        '{"input": [{"role": "user", "content": [{"type": "item", "item": {}}]}]}',
        400,
        "input[0].content[0]",
        "invalid_value",
    ),
    "an output without call": (
        '{"input": [{"type": "function_call_output", "output": "x"}]}',
        400,
        "input[0].call_id",
        "missing_required_parameter",
    ),
    "an unknown item": (
        '{"input": [{"type": "item_reference", "id": "msg_none"}]}',
        404,
        "input",
        "item_not_found",
    ),
    "an unknown model": ('{"input": "x", "model": "none"}', 400, "model", "model_not_found"),
    "background unstored": (
        '{"input": "x", "background": true, "store": false}',
        400,
        "background",
        "unsupported_parameter",
    ),
    "two histories": (
        '{"input": "x", "previous_response_id": "resp_1", "conversation": "chat_1"}',
        400,
        "previous_response_id",
        "mutually_exclusive_parameters",
    ),
    "an unknown response": (
        '{"input": "x", "previous_response_id": "resp_1"}',
        400,
        "previous_response_id",
        "previous_response_not_found",
    ),
    "an unknown conversation": ('{"input": "x", "conversation": "chat_1"}', 404, None, "not_found"),
    "too hot": ('{"input": "x", "temperature": 3}', 400, "temperature", "decimal_above_max_value"),
    "a string as number": ('{"input": "x", "top_p": "1"}', 400, "top_p", "invalid_type"),
    "long metadata": (
        json.dumps({"input": "x", "metadata": {"k": "v" * 513}}),
        400,
        "metadata.k",
        "string_above_max_length",
    ),
    "too much metadata": (
        json.dumps({"input": "x", "metadata": {str(n): "v" for n in range(17)}}),
        400,
        "metadata",
        "object_above_max_properties",
    ),
    "a long key of metadata": (
        json.dumps({"input": "x", "metadata": {"k" * 65: "v"}}),
        400,
        f"metadata.{'k' * 64}",
        "string_above_max_length",
    ),
    "a nameless tool": (
        '{"input": "x", "tools": [{"type": "function"}]}',
        400,
        "tools[0].name",
        "missing_required_parameter",
    ),
    "an empty question": ('{"input": " "}', 400, "input", "message_empty"),
    "no name for the model": ('{"input": "x", "model": ""}', 400, "model", "model_not_found"),
    "a conversation without a name": ('{"input": "x", "conversation": ""}', 404, None, "not_found"),
    "an unknown format": (
        '{"input": "x", "text": {"format": {"type": "yaml"}}}',
        400,
        "text.format.type",
        "invalid_value",
    ),
    "a format that is a string": (
        '{"input": "x", "text": {"format": "text"}}',
        400,
        "text.format",
        "invalid_type",
    ),
    "a schema without a name": (
        '{"input": "x", "text": {"format": {"type": "json_schema", "schema": {}}}}',
        400,
        "text.format.name",
        "missing_required_parameter",
    ),
    "a nameless schema's name": (
        '{"input": "x", "text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}}',
        400,
        "text.format.name",
        "invalid_value",
    ),
    "a strange verbosity": (
        '{"input": "x", "text": {"verbosity": "loud"}}',
        400,
        "text.verbosity",
        "invalid_value",
    ),
    "a strange effort": (
        '{"input": "x", "reasoning": {"effort": "heroic"}}',
        400,
        "reasoning.effort",
        "invalid_value",
    ),
    "a strange tier": (
        '{"input": "x", "service_tier": "gold"}',
        400,
        "service_tier",
        "invalid_value",
    ),
    "a strange inclusion": (
        '{"input": "x", "include": ["all"]}',
        400,
        "include[0]",
        "invalid_value",
    ),
    "a number to include": ('{"input": "x", "include": [1]}', 400, "include[0]", "invalid_type"),
    "a choice of no tool": (
        json.dumps(
            {
                "input": "x",
                "tools": [{"type": "function", "name": "f"}],
                "tool_choice": {"type": "function", "name": "g"},
            }
        ),
        400,
        "tool_choice",
        "invalid_value",
    ),
    "tools required and none given": (
        '{"input": "x", "tool_choice": "required"}',
        400,
        "tool_choice",
        "invalid_value",
    ),
    "a strange choice": (
        '{"input": "x", "tool_choice": "any"}',
        400,
        "tool_choice",
        "invalid_value",
    ),
    "a long cache key": (
        json.dumps({"input": "x", "prompt_cache_key": "k" * 65}),
        400,
        "prompt_cache_key",
        "string_above_max_length",
    ),
    "a bad truncation": (
        '{"input": "x", "truncation": "some"}',
        400,
        "truncation",
        "invalid_value",
    ),
}


@pytest.mark.parametrize("name", list(REFUSALS))
async def test_what_openai_refuses_is_refused_in_its_words(served, name):
    body, status, param, code = REFUSALS[name]
    answer = await served.http.post("/v1/responses", content=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["param"], error["code"]) == (param, code)
    assert error["type"] == "invalid_request_error"
    assert error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/unknown", 404),
        ("PUT", "/v1/responses", 405),
        ("GET", "/v1/responses/resp_1", 404),
        ("GET", "/v1/responses/%20", 404),
        ("GET", "/v1/models/none", 404),
        ("GET", "/v1/conversations/chat_1", 404),
        ("POST", "/v1/responses/resp_1/cancel", 404),
        ("DELETE", "/v1/responses/resp_1", 404),
        ("POST", "/v1/responses/compact", 400),
    ],
)
async def test_every_error_comes_in_the_envelope(served, method, path, status):
    """Guard: `problems` asks `dialects` for each answer, also for those of the framework."""
    answer = await served.http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]


async def test_a_body_that_is_too_large_is_refused_in_the_envelope(served):
    answer = await served.http.post("/v1/responses", content=b'"' + b"x" * 4_100_000)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


async def test_nobody_without_a_name_comes_in(served):
    async with httpx.AsyncClient(base_url=served.url, trust_env=False) as nobody:
        answer = await nobody.get("/v1/models")
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"


async def test_foreign_unknown_and_deleted_responses_look_alike(served):
    """Guard: the owner check of every route."""
    mine, gone = await created(served, input="hello"), await created(served, input="hello")
    conversation = (await served.http.post("/v1/conversations", json={})).json()["id"]
    await served.http.delete(f"/v1/responses/{gone['id']}")
    eve = served.other("eve")
    for client, response_id in ((eve, mine["id"]), (eve, "resp_1"), (served, gone["id"])):
        for method, end in (("GET", ""), ("POST", "/cancel"), ("GET", "/input_items")):
            path = f"/v1/responses/{response_id}{end}"
            answer = await client.http.request(method, path)
            told = answer.json()["error"]["message"]
            assert (answer.status_code, told) == (
                404,
                f"Response with id '{response_id}' not found.",
            )
    foreign = await eve.http.post(
        "/v1/responses", json={"input": "x", "conversation": conversation}
    )
    assert foreign.status_code == 404
    body = {"input": "x", "previous_response_id": mine["id"]}
    assert (await eve.http.post("/v1/responses", json=body)).status_code == 400
    await eve.http.aclose()


@pytest.mark.parametrize("after", ["x", "-2", "1.5", ""])
async def test_a_cursor_must_be_a_number(served, after):
    made = await created(served, input="hello")
    query = {"stream": "true", "starting_after": after}
    answer = await served.http.get(f"/v1/responses/{made['id']}", params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "starting_after")


async def test_a_finished_response_is_replayed_from_any_cursor(served):
    """Also one created without `stream` and `background`, and behind its end: only `[DONE]`."""
    made = await created(served, input="hello")
    path = f"/v1/responses/{made['id']}?stream=true"
    every = frames((await served.http.get(path)).text)
    for after in range(-1, len(every) + 2):
        rest = frames((await served.http.get(f"{path}&starting_after={after}")).text)
        assert rest == every[after + 1 :]


async def test_a_pruned_response_is_replayed_from_its_start(served):
    """Guard: `rebuild` knows the caller's parameters."""
    made = await created(served, input="hello", instructions="Be brief.", temperature=0.5)
    await served.core.store.prune(events_s=1e-9, requests_s=0, chats_s=0)
    told = frames((await served.http.get(f"/v1/responses/{made['id']}?stream=true")).text)
    events = [shapes.parse(event) for event in told]
    assert events[0].response.instructions == "Be brief."
    assert events[-1].response == msgspec.convert(made, shapes.Response)


async def test_a_dropped_foreground_call_goes_on(served):
    """Promise 6. Guard: only `store=false` ends with its connection."""
    body = {"model": "steered", "input": "hello", "stream": True}
    async with served.http.stream("POST", "/v1/responses", json=body) as answer:
        lines = answer.aiter_lines()
        created_event = await anext(line async for line in lines if line.startswith("data: "))
    response_id = json.loads(created_event.removeprefix("data: "))["response"]["id"]
    served.steered.say("still ", "here")
    served.steered.end()
    assert text_of(await ended(served, response_id)) == "still here"


def text_of(response: JSON) -> str:
    return "".join(p["text"] for item in response["output"] for p in item.get("content", ()))


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_not_stored_ends_with_its_connection(served, stream):
    """Guard: `ResponseStream.owned` and `_whole` discard it."""
    body = {"model": "steered", "input": "hello", "stream": stream, "store": False}
    call = asyncio.create_task(served.http.post("/v1/responses", json=body))

    async def running():
        # Behind the store's back: it lists none of them.
        return served.core.store.db.look("SELECT id, chat_id FROM request WHERE transient = 1")

    ((response_id, chat_id),) = await eventually(running, within_s=5, what="it runs")
    assert (await served.http.get(f"/v1/responses/{response_id}")).status_code == 404
    for listed in ("/api/chats", "/api/requests", "/api/chats?q=hello"):
        assert response_id not in (shown := (await served.http.get(listed)).text)
        assert chat_id not in shown
    assert (await served.http.post(f"/api/requests/{response_id}/retry")).status_code == 404
    call.cancel()

    async def forgotten():
        return not await running()

    await eventually(forgotten, within_s=10, what="it is stopped and removed")


async def test_what_is_not_stored_can_follow_what_is(served):
    """The stored talk is its context and does not grow."""
    first = await created(served, input="hello")
    made = await created(
        served, input="and?", previous_response_id=first["id"], store=False, stream=False
    )
    assert text_of(made) == "and?"
    row = await served.core.store.request(first["id"])
    assert len(await served.core.store.messages(row.chat_id, "ann")) == 2
    answer = await served.http.get(f"/v1/responses/{made['id']}")
    assert answer.status_code == 404


async def test_a_key_makes_one_response(served):
    body = {"model": "echo", "input": "hello"}
    headers = {"Idempotency-Key": "once"}
    posts = [served.http.post("/v1/responses", json=body, headers=headers) for _ in range(4)]
    answers = await asyncio.gather(*posts)
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = await served.http.post(
        "/v1/responses", json={**body, "input": "other"}, headers=headers
    )
    assert (other.status_code, other.headers["x-should-retry"]) == (409, "false")
    assert other.json()["error"]["code"] == "idempotency_key_reused"


async def test_an_unfinished_response_tells_pollers_when_to_come_back(served):
    made = await created(served, model="steered", input="hello", background=True)
    answer = await served.http.get(f"/v1/responses/{made['id']}")
    assert int(answer.headers["openai-poll-after-ms"]) > 0
    gone = await served.http.delete(f"/v1/responses/{made['id']}")
    assert gone.json() == {"id": made["id"], "object": "response", "deleted": True}


async def test_input_items_are_listed_as_given_newest_first(served):
    given: list[Any] = [
        {"role": "system", "content": "Be kind."},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
                {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain,hi"},
            ],
        },
    ]
    made = await created(served, input=given)
    path = f"/v1/responses/{made['id']}/input_items"
    listed = (await served.http.get(path)).json()
    assert [item["role"] for item in listed["data"]] == ["user", "system"]
    assert listed["data"][0]["content"] == given[1]["content"]
    assert (listed["first_id"], listed["has_more"]) == (listed["data"][0]["id"], False)
    first = (await served.http.get(path, params={"limit": 1, "order": "asc"})).json()
    assert (first["data"][0]["role"], first["has_more"]) == ("system", True)
    rest = await served.http.get(path, params={"order": "asc", "after": first["last_id"]})
    assert [item["role"] for item in rest.json()["data"]] == ["user"]


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [
        ("limit=0", "limit", "integer_below_min_value"),
        ("limit=101", "limit", "integer_above_max_value"),
        ("limit=ten", "limit", "invalid_type"),
        ("order=random", "order", "invalid_value"),
        ("after=msg_none", "after", "invalid_value"),
    ],
)
async def test_a_page_that_cannot_be_is_refused_with_its_parameter(served, query, param, code):
    made = await created(served, input="hello")
    refused = await served.http.get(f"/v1/responses/{made['id']}/input_items?{query}")
    error = refused.json()["error"]
    assert (refused.status_code, error["param"], error["code"]) == (400, param, code)


async def test_a_conversation_is_kept_item_by_item(served):
    body = {"items": [{"role": "user", "content": "one"}], "metadata": {"topic": "x"}}
    made = (await served.http.post("/v1/conversations", json=body)).json()
    assert (made["object"], made["metadata"]) == ("conversation", {"topic": "x"})
    response = await created(served, input="two", conversation={"id": made["id"]})
    assert response["conversation"] == {"id": made["id"]}
    path = f"/v1/conversations/{made['id']}"
    items = (await served.http.get(f"{path}/items", params={"order": "asc"})).json()["data"]
    texts = [item["content"][0]["text"] for item in items]
    assert texts == ["one", "two", "two"]
    one = await served.http.get(f"{path}/items/{items[0]['id']}")
    assert one.json() == items[0]
    dropped = await served.http.delete(f"{path}/items/{items[1]['id']}")
    assert dropped.json()["id"] == made["id"]
    many = {"items": [{"role": "user", "content": "x"}] * 21}
    refused = (await served.http.post(f"{path}/items", json=many)).json()["error"]
    assert (refused["param"], refused["code"]) == ("items", "array_above_max_length")
    more = {"items": [{"role": "assistant", "content": "three"}]}
    added = (await served.http.post(f"{path}/items", json=more)).json()
    assert added["data"][0]["role"] == "assistant"
    items = (await served.http.get(f"{path}/items", params={"order": "asc"})).json()["data"]
    assert [item["content"][0]["text"] for item in items] == ["one", "two", "three"]
    changed = await served.http.post(path, json={"metadata": {"topic": "y"}})
    assert changed.json()["metadata"] == {"topic": "y"}
    gone = (await served.http.delete(path)).json()
    assert gone == {"id": made["id"], "object": "conversation.deleted", "deleted": True}
    assert (await served.http.get(path)).status_code == 404


async def test_what_is_put_into_a_conversation_is_limited_and_told(tmp_path):
    """Guard: `Acceptance.add_messages` and `create_chat`; else it could grow without an end."""
    limits = Limits(messages_max=3, message_bytes_max=1024)
    async with serving(tmp_path, limits=limits) as served:
        told: list[str] = []
        served.core.bus.subscribe(told.extend)

        async def put(path: str, content: str, count: int = 1) -> tuple[int, str | None]:
            body = {"items": [{"role": "user", "content": content}] * count}
            answer = await served.http.post(f"/v1/conversations{path}", json=body)
            return answer.status_code, (answer.json().get("error") or {}).get("code")

        assert await put("", "x" * 1025) == (413, "message_too_large")
        assert await put("", "x", 4) == (409, "chat_full")
        assert (await served.get("/api/chats"))["chats"] == []
        made = (await served.http.post("/v1/conversations", json={})).json()
        place = f"/{made['id']}/items"
        assert await put(place, "x" * 1025) == (413, "message_too_large")
        told.clear()
        assert await put(place, "x", 2) == (200, None)
        assert told == [Topic.chats("local")]
        assert await put(place, "x", 2) == (409, "chat_full")


async def test_the_conversation_so_far_is_answered_when_there_is_no_new_input(served):
    body = {"items": [{"role": "user", "content": "already asked"}]}
    made = (await served.http.post("/v1/conversations", json=body)).json()
    answer = await served.http.post(
        "/v1/responses", json={"model": "echo", "conversation": made["id"]}
    )
    assert text_of(answer.json()) == "already asked"


async def test_a_reference_stands_for_the_item_it_names(served):
    """Clients that send the whole talk name answers by their ids."""
    first = await created(served, input="hello")
    reference = {"type": "item_reference", "id": first["output"][0]["id"]}
    asked = [{"role": "user", "content": "hello"}, reference, {"role": "user", "content": "and?"}]
    second = await created(served, input=asked)
    row = await served.core.store.request(second["id"])
    told = await served.core.store.messages(row.chat_id, "ann")
    assert [(message.role, message.text) for message in told[:2]] == [
        ("user", "hello"),
        ("assistant", "hello"),
    ]


async def test_answers_whose_items_have_ids_of_an_older_form_are_read_and_followed(served):
    """Stored chats keep what clients were told: such an id names no request, see `request_of`."""
    made = await created(served, input="hello")
    row = await served.core.store.request(made["id"])
    new, old = made["output"][0]["id"], "msg_0123456789abcdef01234567"
    assert isinstance(served.core.store, SqliteStore)
    for renamed, name in (
        ("UPDATE message SET output = replace(output, ?, ?) WHERE id = ?", row.message_id),
        ("UPDATE request SET output = replace(output, ?, ?) WHERE id = ?", row.id),
    ):
        served.core.store.db.writer.execute(renamed, (new, old, name))
    shown = (await served.http.get(f"/v1/responses/{made['id']}")).json()
    assert shown["output"][0]["id"] == old
    given = [{"type": "item_reference", "id": old}, {"role": "user", "content": "again"}]
    after = await created(served, input=given, previous_response_id=made["id"])
    assert after["output"][0]["content"][0]["text"] == "again"
    place = f"/v1/conversations/{row.chat_id}/items"
    assert (await served.http.get(f"{place}/{old}")).json()["id"] == old
    assert (await served.http.delete(f"{place}/{old}")).status_code == 200
    listed = (await served.http.get(place)).json()["data"]
    assert old not in [item["id"] for item in listed]


async def test_agents_are_models(served):
    listed = (await served.http.get("/v1/models")).json()
    assert [model["id"] for model in listed["data"]] == ["echo", "steered", "broken"]
    one = (await served.http.get("/v1/models/echo")).json()
    assert one.keys() == {"id", "object", "created", "owned_by"}


async def test_another_model_may_go_on_with_a_conversation(served):
    first = await created(served, input="hello")
    second = await created(
        served, status=200, model="broken", input="x", previous_response_id=first["id"]
    )
    assert (second["status"], second["previous_response_id"]) == ("failed", first["id"])


async def test_a_stopping_server_cuts_streams_off_and_never_ends_them_clean(tmp_path):
    """Guard: `EventStream.hints`: a clean end would be taken for the whole answer."""
    async with serving(tmp_path) as served:
        made = await created(served, model="steered", input="hello", background=True)
        path = f"/v1/responses/{made['id']}?stream=true"
        response = await wire.request("GET", served.url + path, served.headers)
        served.core.tails.drain()
        body = await response.body()
        assert b"retry" not in body
        assert response.ended == "cut"
        await response.close()
