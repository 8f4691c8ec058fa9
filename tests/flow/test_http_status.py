"""Polling: short, long, and with entity tags; and what one can do with a request."""

import asyncio
import time

import pytest

from tests.flow.serving import serving
from tests.world.waiting import eventually


@pytest.fixture
async def server(tmp_path):
    async with serving(tmp_path) as served:
        yield served


async def test_the_polling_sketch_runs_to_the_end(server):
    """POST, then the status each moment: `partial_content` while streaming, then the whole."""
    body = {"messages": [{"role": "user", "content": "hi"}], "agent_id": "steered"}
    answer = await server.http.post("/api/invoke_endpoint", json=body)
    request_id = answer.json()["request_id"]
    partials, final = [], None
    while final is None:
        status = (await server.http.get(f"/api/requests/{request_id}/status")).json()
        if status["status"] == "completed":
            final = (status["final_response"], status["trace_id"])
        elif status["status"] == "streaming":
            partials.append(status["partial_content"])
            if len(partials) == 1:
                server.steered.say("one ", "two")
            elif partials[-1] == "one two":
                server.steered.end()
        await asyncio.sleep(0.01)  # the sketch asks once a second; any pace must do
    assert final == ("one two", None)
    assert all("one two".startswith(partial) for partial in partials)


async def test_a_long_poll_answers_as_soon_as_there_is_news(server):
    """Guard: `_news`; what comes is said when the call already waits, and not before."""

    async def heard():
        return server.core.tails.readers

    request_id = (await server.ask("hi", "steered"))["request_id"]
    server.steered.say("a")
    before = await server.shown(request_id, "a")
    waiting = asyncio.create_task(
        server.status(request_id, wait_s=20, after=before["sequence_number"])
    )
    await eventually(heard, within_s=15, what="the call waits")
    server.steered.say("b")
    begun = time.monotonic()
    after = await waiting
    assert time.monotonic() - begun < 5
    assert after["sequence_number"] > before["sequence_number"]
    assert after["partial_content"] == "ab"


async def test_a_long_poll_without_news_answers_after_its_time(server):
    request_id = (await server.ask("hi", "steered"))["request_id"]
    server.steered.say("a")
    before = await server.shown(request_id, "a")
    begun = time.monotonic()
    after = await server.status(request_id, wait_s=0.2, after=before["sequence_number"])
    assert after == before
    assert time.monotonic() - begun >= 0.2, "it was kept so long"


async def test_a_long_poll_of_what_has_ended_answers_at_once(server):
    request_id = (await server.asked_and_ended())["request_id"]
    begun = time.monotonic()
    status = await server.status(request_id, wait_s=20, after=10_000)
    assert status["status"] == "completed"
    assert time.monotonic() - begun < 5


async def test_an_entity_tag_saves_the_body_until_something_changes(server):
    request_id = (await server.ask("hi", "steered"))["request_id"]
    server.steered.say("a")
    await server.shown(request_id, "a")
    path = f"/api/requests/{request_id}/status"
    first = await server.http.get(path)
    tag = {"If-None-Match": f'"other", W/{first.headers["etag"]}'}
    same = await server.http.get(path, headers=tag)
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["etag"] == first.headers["etag"]
    anything = await server.http.get(path, headers={"If-None-Match": "*"})
    assert anything.status_code == 304
    server.steered.end()
    await server.ended(request_id)
    assert (await server.http.get(path, headers=tag)).status_code == 200


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [(f"wait_s={wait}", 422, "invalid_request") for wait in ("31", "-1", "nan")]
    + [(f"after={after}", 400, "invalid_cursor") for after in ("-2", "x", "9" * 40)],
)
async def test_a_wait_or_cursor_out_of_range_is_refused(server, query, status, code):
    request_id = (await server.asked_and_ended())["request_id"]
    response = await server.http.get(f"/api/requests/{request_id}/status?{query}")
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["request_id"] == request_id


async def test_a_failure_is_told_with_code_and_sentence_and_the_partial_is_kept(server):
    status = await server.ended((await server.ask("hi", "broken"))["request_id"])
    assert status["status"] == "failed"
    assert status["error"]["code"] == "agent_error"
    assert status["error"]["message"]
    assert (status["partial_content"], status["final_response"]) == ("half", None)


async def test_cancel_keeps_the_text_and_a_second_one_changes_nothing(server):
    request_id = (await server.ask("hi", "steered"))["request_id"]
    server.steered.say("so far")
    await server.shown(request_id, "so far")
    first = await server.http.post(f"/api/requests/{request_id}/cancel")
    second = await server.http.post(f"/api/requests/{request_id}/cancel")
    assert (first.status_code, first.json()["status"]) == (200, "cancelled")
    assert first.json()["partial_response"] == "so far"
    assert second.json() == first.json()


async def test_cancel_of_what_completed_tells_that_it_completed(server):
    request_id = (await server.asked_and_ended())["request_id"]
    response = await server.http.post(f"/api/requests/{request_id}/cancel")
    assert (response.status_code, response.json()["status"]) == (200, "completed")


async def test_a_retry_makes_a_sibling_answer_of_the_same_question(server):
    first = await server.asked_and_ended()
    response = await server.http.post(f"/api/requests/{first['request_id']}/retry")
    assert response.status_code == 202
    second = response.json()
    assert response.headers["location"] == f"/api/requests/{second['request_id']}"
    await server.ended(second["request_id"])
    tree = await server.get(f"/api/chats/{first['chat_id']}/messages")
    parents = {message["id"]: message["parent_id"] for message in tree["messages"]}
    assert parents[first["message_id"]] == parents[second["message_id"]] == first["user_message_id"]
    assert tree["branch"][-1] == second["message_id"]


async def test_the_same_key_makes_one_retry(server):
    """Failure table, double click. Guard: the key that `again` hands on."""
    first = await server.asked_and_ended()
    path, key = f"/api/requests/{first['request_id']}/retry", {"Idempotency-Key": "click"}
    answers = await asyncio.gather(*(server.http.post(path, headers=key) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 9
    other = await server.asked_and_ended()
    reused = await server.http.post(f"/api/requests/{other['request_id']}/retry", headers=key)
    assert (reused.status_code, reused.json()["code"]) == (409, "idempotency_key_reused")


async def test_a_deleted_request_is_gone_and_its_messages_stay(server):
    accepted = await server.asked_and_ended()
    path = f"/api/requests/{accepted['request_id']}"
    assert (await server.http.delete(path)).status_code == 204
    assert (await server.http.get(path)).status_code == 404
    tree = await server.get(f"/api/chats/{accepted['chat_id']}/messages")
    assert [message["content"] for message in tree["messages"]] == ["hello", "hello"]


async def test_requests_are_listed_newest_first_in_pages_and_by_state_and_chat(server):
    ids = [(await server.asked_and_ended(str(n)))["request_id"] for n in range(3)]
    running = await server.ask("hi", "steered")
    page = await server.get("/api/requests", limit=2)
    rest = await server.get("/api/requests", limit=2, cursor=page["next_cursor"])
    listed = [request["id"] for request in page["requests"] + rest["requests"]]
    assert listed == [running["request_id"], *reversed(ids)]
    assert rest["next_cursor"] is None
    done = await server.get("/api/requests", status="completed")
    assert [request["id"] for request in done["requests"]] == ids[::-1]
    of_chat = await server.get("/api/requests", chat_id=running["chat_id"])
    assert [request["id"] for request in of_chat["requests"]] == [running["request_id"]]


async def test_an_empty_parameter_of_the_list_is_none(server):
    accepted = await server.asked_and_ended()
    page = await server.get("/api/requests", status="", chat_id="", limit="", cursor="")
    assert [request["id"] for request in page["requests"]] == [accepted["request_id"]]
    assert page["next_cursor"] is None


@pytest.mark.parametrize("query", ["cursor=nonsense", "cursor=%00", "limit=0", "status=happy"])
async def test_a_bad_page_is_refused(server, query):
    response = await server.http.get(f"/api/requests?{query}")
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_verdict_is_kept_and_a_later_one_of_the_same_name_replaces_it(server):
    request_id = (await server.asked_and_ended())["request_id"]
    for value in (False, True):
        verdict = {"request_id": request_id, "name": "thumbs", "value": value, "rationale": "ok"}
        response = await server.http.post("/api/log_assessment", json=verdict)
        assert (response.status_code, response.json()["value"]) == (201, value)
    kept = await server.get(f"/api/requests/{request_id}/feedback")
    assert [(one["name"], one["value"]) for one in kept["feedback"]] == [("thumbs", True)]


@pytest.mark.parametrize(
    "wrong",
    [{}, {"value": None}, {"name": ""}, {"value": 10**30}, {"trace_id": "tr-1"}, {"name": "\x00"}],
)
async def test_a_verdict_that_cannot_be_kept_is_refused(server, wrong):
    verdict = {"request_id": "resp_1", "name": "thumbs", "value": True, **wrong}
    if not wrong:
        del verdict["request_id"]
    response = await server.http.post("/api/log_assessment", json=verdict)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
