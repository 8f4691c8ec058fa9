"""Calls of `/v1` as the official client makes and retries them, forks and forms; refusals."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from perdure.routers.v1 import params, retries
from perdure.settings import Limits
from perdure.stores.sqlite import SqliteStore
from tests import databases, valkeys
from tests.flow.serving import JSON, Served, serving
from tests.world.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calls")
    limits = Limits(running_per_user_max=2, queued_per_user_max=1)
    async with serving(folder, user="ann", limits=limits) as running:
        yield running


@contextlib.asynccontextmanager
async def client_of(served: Served, **more: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    given = {"api_key": "none", "max_retries": 0, "default_headers": served.headers, **more}
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", **given) as client:
        yield client


async def requests(served: Served, user: str = "ann") -> list[Any]:
    return (await served.core.store.requests(user, limit=200))[0]


# Retries


async def test_a_call_that_timed_out_is_answered_once_and_to_its_retry(served: Served):
    """Guard: `retries.first_try`. The client sends no key: each timeout would pay once more."""
    before = len(await requests(served))
    async with client_of(served, timeout=0.5, max_retries=5) as client:
        call = asyncio.create_task(client.responses.create(model="steered", input="slow"))

        async def left() -> bool:
            store = served.core.store
            assert isinstance(store, SqliteStore)
            return bool(store.db.look("SELECT 1 FROM idempotency WHERE fingerprint = ''"))

        await eventually(left, within_s=10, what="the first try was given up")
        served.steered.say("at last")
        served.steered.end()
        assert (await call).output_text == "at last"
    assert len(await requests(served)) == before + 1


async def test_an_absurd_count_of_retries_is_a_retry(tmp_path):
    """Guard: `[:9]` in `is_retry`; `int` refuses thousands of digits."""
    body, odd = {"model": "echo", "input": "x"}, {"x-stainless-retry-count": "9" * 5000}
    async with serving(tmp_path) as served:
        answer = await served.http.post("/v1/responses", json=body, headers=odd)
        assert answer.status_code == 200


SERVERS = {"postgres": databases, "redis": valkeys}
RETRY = {"x-stainless-retry-count": "1"}


@pytest.mark.parametrize("end", ["left", "drained"])
@pytest.mark.parametrize("kind", ["postgres", "redis"])
async def test_a_retry_that_reaches_another_server_is_joined_as_well(tmp_path, kind: str, end: str):
    """Guard: the note is in the store; in the memory of a process it would be lost to others."""
    body = {"model": "steered", "input": "slow"}
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(SERVERS[kind].fresh())
        first, second = [
            await stack.enter_async_context(serving(tmp_path / name, store_url=url))
            for name in ("first", "second")
        ]
        call = asyncio.create_task(first.http.post("/v1/responses", json=body, timeout=20))
        await eventually(lambda: requests(first, "local"), within_s=10, what="it runs")
        if end == "drained":
            first.core.tails.drain()
            assert (await call).status_code == 503
        else:
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled(), f"it was answered before: {call.result().text}"
            await eventually(lambda: noted(first, body), within_s=10, what="it was noted")
        first.steered.say("at last")
        first.steered.end()
        answer = await second.http.post("/v1/responses", json=body, headers=RETRY)
        (row,) = await requests(second, "local")
        assert answer.json()["id"] == row.id
        assert answer.json()["output"][0]["content"][0]["text"] == "at last"
        assert await second.core.store.rejoin("local", params.read(body).fingerprint) is None


@pytest.mark.parametrize("kind", ["postgres", "redis"])
async def test_a_retry_joins_a_call_whose_server_was_killed_and_none_of_one_that_lives(
    tmp_path, monkeypatch, kind: str
):
    """Guards: `held` says that it lives; `ANSWERED`. A killed server writes nothing any more."""
    monkeypatch.setattr(retries, "HOLD_S", 0.2)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(SERVERS[kind].fresh())
        servers = [
            await stack.enter_async_context(serving(tmp_path / name, store_url=url))
            for name in ("first", "second")
        ]
        for end, made in (("killed", 1), ("lives", 2), ("answers", 2), ("leaves", 1)):
            with monkeypatch.context() as changed:
                assert await made_by_a_retry(servers, changed, end) == made, end


async def made_by_a_retry(servers: Any, changed: pytest.MonkeyPatch, end: str) -> int:
    """Hold a call on the first server, which goes on as told; retry it on the second one.

    Returns how many responses the two calls made.
    """
    first, second = servers
    before = len(await requests(second, "local"))
    body = {"model": "steered", "input": end}
    held = asyncio.create_task(first.http.post("/v1/responses", json=body, timeout=20))
    await watched(first.core.store, changed, mute=end == "killed")
    took = asyncio.Event()
    take = second.core.store.rejoin

    async def takes(user_id: str, mark: str) -> Any:
        found = await take(user_id, mark)
        if mark.startswith(retries.HELD):
            took.set()
        return found

    changed.setattr(second.core.store, "rejoin", takes)
    asked = second.http.post("/v1/responses", json=body, headers=RETRY, timeout=20)
    retry = asyncio.create_task(asked)
    await asyncio.wait_for(took.wait(), 10)

    async def both() -> bool:
        return len(await requests(second, "local")) == before + 2

    if end == "leaves":
        held.cancel()
    elif end == "lives":
        await eventually(both, within_s=10, what="the retry makes its own")
    for one in servers:
        one.steered.say("whole")
        one.steered.end()
        await asyncio.wait([held])  # the first one says it whole before the second
    assert (await retry).json()["output"][0]["content"][0]["text"] == "whole"
    for one in servers:
        one.steered.forget()
    return len(await requests(second, "local")) - before


async def watched(store: Any, changed: pytest.MonkeyPatch, *, mute: bool) -> None:
    """Wait until it was noted that a call is held; `mute`: write nothing after that."""
    said = asyncio.Event()
    write = store.unanswered

    async def writes(request_id: str, mark: str) -> None:
        if not (mute and said.is_set()):
            await write(request_id, mark)
        said.set()

    changed.setattr(store, "unanswered", writes)
    await asyncio.wait_for(said.wait(), 10)


async def noted(served: Served, body: JSON) -> bool:
    """Tell whether a call is known as unanswered, and leave it so."""
    mark = params.read(body).fingerprint
    row = await served.core.store.rejoin("local", mark)
    if row is not None:
        await served.core.store.unanswered(row.id, mark)
    return row is not None


async def test_the_retry_of_a_call_whose_server_ended_gets_the_same_response(tmp_path):
    """Over a restart: whatever was unfinished then was answered to nobody."""
    body = {"model": "steered", "input": "slow", "temperature": 0.5}
    async with serving(tmp_path) as served:
        call = asyncio.create_task(served.http.post("/v1/responses", json=body))

        async def runs() -> Any:
            return await requests(served, "local")

        (row,) = await eventually(runs, within_s=5, what="it runs")
        served.core.tails.drain()
        refused = await call
        assert (refused.status_code, "x-should-retry" in refused.headers) == (503, False)
        assert row.id in refused.json()["error"]["message"]
    async with serving(tmp_path) as served:
        served.steered.say("after all")
        served.steered.end()
        other = asyncio.create_task(served.http.post("/v1/responses", json=body))
        answer = await served.http.post("/v1/responses", json=body, headers=RETRY)
        assert answer.json()["id"] == row.id
        assert answer.json()["output"][0]["content"][0]["text"] == "after all"
        served.steered.end()
        assert (await other).json()["id"] != row.id


@pytest.mark.parametrize(
    "change",
    [{"input": "other"}, {"temperature": 0.1}, {"metadata": {"n": "1"}}, {"model": "echo"}],
)
async def test_another_call_is_no_retry(served: Served, change: JSON):
    body = {"model": "steered", "input": "slow", "background": True}
    first = (await served.http.post("/v1/responses", json=body)).json()
    whole = {**body, "background": False}
    await served.core.store.unanswered(first["id"], params.read(whole).fingerprint)
    body |= {"background": False, "model": "echo", **change}
    second = await served.http.post("/v1/responses", json=body, headers=RETRY)
    assert second.json()["id"] != first["id"]
    await served.http.post(f"/v1/responses/{first['id']}/cancel")


async def test_an_answered_call_is_not_joined_by_a_retry(served: Served):
    """Somebody else's first try may have failed before it arrived."""
    body = {"model": "echo", "input": "the same"}
    answers = [
        await served.http.post("/v1/responses", json=body, headers=headers)
        for headers in ({}, RETRY)
    ]
    assert answers[0].json()["id"] != answers[1].json()["id"]


# Refusals, as the client tells them


async def test_every_status_is_the_exception_of_its_class(served: Served):
    """Each with message and request id. Statuses 400 and 404: `test_openai_clients.py`."""
    async with client_of(served) as client, client_of(served, default_headers={}) as nobody:
        with pytest.raises(openai.AuthenticationError) as unknown:
            await nobody.responses.create(model="echo", input="x")
        key = {"Idempotency-Key": "k1"}
        await client.responses.create(model="echo", input="x", extra_headers=key)
        with pytest.raises(openai.ConflictError) as reused:
            await client.responses.create(model="echo", input="y", extra_headers=key)
        begun = [
            await client.responses.create(model="steered", input="x", background=True)
            for _ in range(3)
        ]
        with pytest.raises(openai.RateLimitError) as full:
            await client.responses.create(model="steered", input="x", background=True)
        for response in begun:
            await client.responses.cancel(response.id)
        served.core.acceptance.draining = True
        with pytest.raises(openai.InternalServerError) as away:
            await client.responses.create(model="echo", input="x")
        served.core.acceptance.draining = False
    told = [error.value for error in (unknown, reused, full, away)]
    assert [(error.status_code, error.code, error.type) for error in told] == [
        (401, "unauthenticated", "authentication_error"),
        (409, "idempotency_key_reused", "invalid_request_error"),
        (429, "user_queue_full", "rate_limit_error"),
        (503, "draining", "server_error"),
    ]
    assert all(error.message and error.request_id for error in told)
    assert reused.value.response.headers["x-should-retry"] == "false"
    assert {"retry-after"} <= full.value.response.headers.keys()


async def test_the_output_of_a_call_that_nobody_made_is_refused(served: Served):
    output = {"type": "function_call_output", "call_id": "call_none", "output": "x"}
    call = {"type": "function_call", "call_id": "call_none", "name": "f", "arguments": "{}"}
    first = (await served.http.post("/v1/responses", json={"model": "echo", "input": "x"})).json()
    for more in ({}, {"previous_response_id": first["id"]}):
        body = {"model": "echo", "input": [output], **more}
        refused = await served.http.post("/v1/responses", json=body)
        error = refused.json()["error"]
        assert (refused.status_code, error["param"]) == (400, "input")
        assert error["message"] == (
            "No tool call found for function call output with call_id call_none."
        )
        body["input"] = [call, output]
        assert (await served.http.post("/v1/responses", json=body)).status_code == 200


# Forks


async def test_forks_of_a_response_are_answered_side_by_side(served: Served):
    """Guard: `Place.follows`. In a conversation they would wait for one another."""
    async with client_of(served) as client:
        root = await client.responses.create(model="echo", input="root")
        slow = await client.responses.create(
            model="steered", input="slow", previous_response_id=root.id, background=True
        )
        fast = await client.responses.create(
            model="echo", input="fast", previous_response_id=root.id, timeout=20
        )
        assert fast.output_text == "fast"
        assert (await client.responses.retrieve(slow.id)).status in ("queued", "in_progress")
        await client.responses.cancel(slow.id)


# Forms


async def form(served: Served, body: str) -> httpx.Response:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return await served.http.post("/v1/responses", content=body, headers=headers)


async def test_a_form_is_a_body_as_well(served: Served):
    """Source: Open Responses, `POST /responses`."""
    tools = json.dumps([{"type": "function", "name": "find"}])
    body = f"model=echo&input=a%20question&temperature=0.5&background=false&tools={tools}"
    body += "&metadata[topic]=x&include[]=reasoning.encrypted_content&instructions=[brief]"
    answer = (await form(served, body)).json()
    assert answer["output"][0]["content"][0]["text"] == "a question"
    assert (answer["temperature"], answer["metadata"]) == (0.5, {"topic": "x"})
    assert (answer["tools"][0]["name"], answer["instructions"]) == ("find", "[brief]")
    items = json.dumps([{"role": "user", "content": "in a list"}])
    answer = (await form(served, f"model=echo&input={items}")).json()
    assert answer["output"][0]["content"][0]["text"] == "in a list"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("nonsense", "invalid_form"),
        ("model=echo&input=x&temperature=hot", "invalid_type"),
        ("model=echo&input=x&stream=perhaps", "invalid_type"),
        ("model=echo&metadata[a]=1&metadata[]=2", "invalid_type"),
        ("model=echo&input=%00", "invalid_value"),
    ],
)
async def test_a_form_is_refused_in_the_same_words(served: Served, body: str, code: str):
    refused = await form(served, body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)


async def test_json_that_calls_itself_a_form_is_json(served: Served):
    """So does `curl -d`, unless it is told otherwise."""
    answer = await form(served, '{"model": "echo", "input": "hello"}')
    assert answer.json()["output"][0]["content"][0]["text"] == "hello"
