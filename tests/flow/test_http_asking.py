"""POST /api/invoke_endpoint: what is accepted, what is refused, and that a repetition is none."""

import json

import pytest

from tests.flow.serving import events_of, serving


@pytest.fixture
async def server(tmp_path):
    async with serving(tmp_path) as served:
        yield served


async def test_202_names_what_was_stored_and_where_it_is(server):
    body = {"agent_id": "echo", "messages": [{"role": "user", "content": "hi there"}]}
    response = await server.http.post("/api/invoke_endpoint", json=body)
    assert response.status_code == 202
    accepted = response.json()
    assert response.headers["location"] == f"/api/requests/{accepted['request_id']}"
    assert accepted["status"] == "queued"
    assert [accepted[key].split("_")[0] for key in ("request_id", "chat_id", "message_id")] == [
        "resp",
        "chat",
        "msg",
    ]
    await server.ended(accepted["request_id"])
    request = await server.get(response.headers["location"])
    assert (request["id"], request["chat_id"]) == (accepted["request_id"], accepted["chat_id"])
    assert (request["user_message"], request["final_response"]) == ("hi there", "hi there")
    assert request["status"] == "completed"
    assert request["created_at"].endswith("Z")


async def test_a_body_without_a_json_content_type_is_json_all_the_same(server):
    """A plain `fetch` with a string body sends text/plain."""
    response = await server.http.post(
        "/api/invoke_endpoint",
        content=b'{"message": "hi"}',
        headers={"Content-Type": "text/plain;charset=UTF-8"},
    )
    assert response.status_code == 202


async def test_earlier_messages_become_the_history_of_a_new_chat(server):
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "1"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "Two"}]},
    ]
    response = await server.http.post("/api/invoke_endpoint", json={"messages": said})
    accepted = response.json()
    await server.ended(accepted["request_id"])
    tree = await server.get(f"/api/chats/{accepted['chat_id']}/messages")
    told = [(message["role"], message["content"]) for message in tree["messages"]]
    assert told[:4] == [
        ("system", "Be brief."),
        ("user", "One"),
        ("assistant", "1"),
        ("user", "Two"),
    ]
    assert tree["branch"] == [message["id"] for message in tree["messages"]]


async def test_in_a_chat_that_exists_only_the_question_of_messages_counts(server):
    first = await server.asked_and_ended("one")
    said = [{"role": "user", "content": "forged"}, {"role": "user", "content": "two"}]
    body = {"messages": said, "chat_id": first["chat_id"]}
    second = (await server.http.post("/api/invoke_endpoint", json=body)).json()
    await server.ended(second["request_id"])
    tree = await server.get(f"/api/chats/{first['chat_id']}/messages")
    assert [message["content"] for message in tree["messages"]] == ["one", "one", "two", "two"]


async def test_a_null_is_as_good_as_nothing(server):
    body = {"message": "hi", "agent_id": "echo"}
    nulls = dict.fromkeys(("chat_id", "parent_id", "from_root", "if_busy", "metadata", "messages"))
    headers = {"Idempotency-Key": "once"}
    first, again = [
        await server.http.post("/api/invoke_endpoint", json=sent, headers=headers)
        for sent in (body, body | nulls)
    ]
    assert (first.status_code, again.status_code, again.content) == (202, 202, first.content)
    made = await server.http.post("/api/chats", json={"agent_id": None, "title": None})
    assert (made.status_code, made.json()["title"]) == (201, "New chat")


async def test_the_same_key_and_body_make_one_request(server):
    headers = {"Idempotency-Key": "once"}
    answers = [
        await server.http.post("/api/invoke_endpoint", json=body, headers=headers)
        for body in ({"message": "hi", "agent_id": "echo"}, {"agent_id": "echo", "message": "hi"})
    ]
    await server.ended(answers[0].json()["request_id"])
    again = {"message": "hi", "agent_id": "echo"}
    answers.append(await server.http.post("/api/invoke_endpoint", json=again, headers=headers))
    # Also when it has ended: a repetition tells what the call did, not what became of it.
    assert len({answer.content for answer in answers}) == 1
    assert "idempotent-replayed" not in answers[0].headers
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert len((await server.get("/api/requests"))["requests"]) == 1


async def test_the_same_key_with_another_body_is_a_conflict(server):
    headers = {"Idempotency-Key": "once"}
    await server.http.post("/api/invoke_endpoint", json={"message": "hi"}, headers=headers)
    other = await server.http.post("/api/invoke_endpoint", json={"message": "ho"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


@pytest.mark.parametrize("noun", ["requests", "chats"])
async def test_a_late_repetition_of_what_was_deleted_asks_nobody(server, noun):
    body, headers = {"message": "hi", "agent_id": "echo"}, {"Idempotency-Key": "once"}
    made = await server.http.post("/api/invoke_endpoint", json=body, headers=headers)
    object_id = made.json()[{"requests": "request_id", "chats": "chat_id"}[noun]]
    assert (await server.http.delete(f"/api/{noun}/{object_id}")).status_code == 204
    again = await server.http.post("/api/invoke_endpoint", json=body, headers=headers)
    assert (again.status_code, again.json()["code"]) == (409, "idempotency_key_reused")
    assert "deleted" in again.json()["detail"]
    assert (await server.get("/api/requests"))["requests"] == []


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_must_have_1_to_255_characters(server, key):
    answer = await server.http.post(
        "/api/invoke_endpoint", json={"message": "hi"}, headers={"Idempotency-Key": key}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_idempotency_key")


async def test_with_accept_event_stream_the_same_call_streams(server):
    async with server.http.stream(
        "POST",
        "/api/invoke_endpoint",
        json={"message": "hi", "agent_id": "echo"},
        headers={"Accept": "text/event-stream"},
    ) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        events = events_of(await response.aread())
    assert events[-1]["type"] == "response.completed"
    assert response.headers["perdure-request-id"] == events[0]["response"]["id"]


async def test_leaving_a_streaming_post_changes_nothing(server):
    async with server.http.stream(
        "POST",
        "/api/invoke_endpoint",
        json={"message": "hi", "agent_id": "steered"},
        headers={"Accept": "text/event-stream"},
    ) as response:
        request_id = response.headers["perdure-request-id"]
    server.steered.say("still ", "here")
    server.steered.end()
    assert (await server.ended(request_id))["final_response"] == "still here"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid_request"),
        (b"{", 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b"[" * 100_000, 400, "json_too_deep"),
        (b'{"message": ' + b"1" * 5000 + b"}", 400, "invalid_json"),
        (b"null", 422, "invalid_request"),
        ([], 422, "invalid_request"),
        ({}, 422, "invalid_request"),
        ({"message": 5}, 422, "invalid_request"),
        ({"message": "a\x00b"}, 422, "invalid_request"),
        (b'{"message": "\\ud800"}', 422, "invalid_request"),
        ({"message": "x", "messages": [{"role": "user", "content": "x"}]}, 422, "invalid_request"),
        ({"messages": []}, 422, "invalid_request"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 422, "invalid_request"),
        ({"messages": [{"role": "king", "content": "x"}]}, 422, "invalid_request"),
        ({"messages": [{"role": "user", "content": []}]}, 422, "invalid_request"),
        ({"message": "x", "if_busy": "hope"}, 422, "invalid_request"),
        ({"message": "x", "metadata": {"a": 1}}, 422, "invalid_request"),
        ({"message": "x", "metadata": {"a": "b" * 513}}, 422, "invalid_request"),
        ({"message": "   "}, 400, "message_empty"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, 422, "invalid_request"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_text", "text": " "}] * 2}]},
            400,
            "message_empty",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "bogus"}]}]}, 400, "message_empty"),
        ({"message": "x" * 1_000_001}, 413, "message_too_large"),
        ({"message": "x" * 5_000_000}, 413, "body_too_large"),
        ({"message": "x", "agent_id": "nobody"}, 400, "unknown_agent"),
        ({"message": "x", "chat_id": "chat_unknown"}, 404, None),
        ({"message": "x", "parent_id": "msg_1"}, 422, "invalid_request"),
        ({"message": "x", "from_root": True}, 422, "invalid_request"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_what_cannot_be_asked_is_refused_in_a_sentence(server, body, status, code):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = await server.http.post("/api/invoke_endpoint", content=content)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert code in (None, problem["code"])
    assert (await server.get("/api/requests"))["requests"] == []


async def test_a_picture_alone_is_a_question(server):
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    messages = [{"role": "user", "content": [{"type": "text", "text": ""}, picture]}]
    body = {"messages": messages, "agent_id": "echo"}
    answer = await server.http.post("/api/invoke_endpoint", json=body)
    assert answer.status_code == 202, answer.text
    assert "data:image" in (await server.ended(answer.json()["request_id"]))["final_response"]


@pytest.mark.parametrize(
    "extra", [b"1e999", b'"\\u0000"', b'"\\udfff"', b"[" * 40 + b"]" * 40, b"9" * 30]
)
async def test_parts_that_a_store_cannot_keep_are_refused(server, extra):
    body = b'{"messages":[{"role":"user","content":[{"type":"text","text":"x","more":%b}]}]}'
    response = await server.http.post("/api/invoke_endpoint", content=body % extra)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text"},
        {"type": "image_url"},
        {"type": "image_url", "image_url": {"url": 5}},
        {"type": "input_image", "image_url": {}},
        {"type": "item", "item": {"type": "function_call"}},
    ],
)
async def test_parts_that_no_agent_could_be_told_are_refused(server, part):
    """Guard: `flaw` in `_can_be_kept`; every later question of the chat would fail with it."""
    content = [{"type": "text", "text": "x"}, part]
    body = {"messages": [{"role": "user", "content": content}]}
    response = await server.http.post("/api/invoke_endpoint", json=body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("method", "path", "body", "told"),
    [
        ("POST", "/api/invoke_endpoint", {"message": "x", "messages": 5}, "body.messages: "),
        ("POST", "/api/invoke_endpoint", {"message": "x", "chat_id": 5}, "body.chat_id: "),
        ("POST", "/v1/responses", {"input": 5}, "for 'input': "),
        ("GET", "/api/requests?limit=many", None, "query.limit: "),
        ("GET", "/api/requests/resp_x/status?wait_s=long", None, "query.wait_s: "),
    ],
)
async def test_a_refusal_names_the_field_as_its_caller_wrote_it(server, method, path, body, told):
    """Guard: `problems._place`, which leaves out the functions that checked a field."""
    response = await server.http.request(method, path, json=body)
    assert response.status_code in {400, 422}, response.text
    assert told in response.text
    for inner in ("function-", "()]", "pydantic", "Value error", "type="):
        assert inner not in response.text


async def test_a_refusal_never_echoes_what_was_sent(server):
    secret = "hunter2-hunter2"
    response = await server.http.post("/api/invoke_endpoint", json={"message": {"key": secret}})
    assert response.status_code == 422
    assert secret not in response.text


async def test_reject_answers_409_while_the_chat_is_busy(server):
    first = await server.ask("one", "steered")
    body = {"message": "two", "chat_id": first["chat_id"], "if_busy": "reject"}
    response = await server.http.post("/api/invoke_endpoint", json=body)
    assert (response.status_code, response.json()["code"]) == (409, "chat_busy")


async def test_a_full_queue_answers_429_and_says_when_to_come_back(tmp_path):
    limits = {"running_max": 1, "queued_max": 1}
    async with serving(tmp_path, limits=limits) as server:
        await server.ask("one", "steered")
        await server.ask("two", "steered")
        body = {"message": "three", "agent_id": "steered"}
        response = await server.http.post("/api/invoke_endpoint", json=body)
        assert response.status_code == 429
        assert int(response.headers["retry-after"]) >= 1
