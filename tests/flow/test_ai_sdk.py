"""The AI SDK's endpoint with the real `useChat`: send, leave, resume, finish, stop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.flow.clients import NODE, run
from tests.flow.serving import serving
from tests.upstream import Upstream
from tests.world.server import Server

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

CONFIG = '[agents.demo]\nbase_url = "{url}"\nmodel = "demo"\n'


def words(count: int) -> str:
    return "".join(f"w{n} " for n in range(count))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Any]]:
    """What the page with `useChat` showed."""
    with Upstream() as upstream:
        folder = tmp_path_factory.mktemp("ai-sdk")
        server = Server(folder, CONFIG.format(url=upstream.url))
        try:
            await server.start()
            page = await run(NODE, "chat.mjs", server.url)
            try:
                await page.until("retried")
            finally:
                await page.end()
            yield page.told
        finally:
            server.end()


async def test_questions_are_answered_in_one_chat(told):
    assert told["sent"] == shown(["user", "assistant"], words(6))
    assert told["second"] == shown(["user", "assistant"] * 2, words(3))


def shown(roles: list[str], text: str, status: str = "ready") -> dict[str, Any]:
    return {"status": status, "error": None, "roles": roles, "text": text}


async def test_regenerating_makes_a_sibling(told):
    assert told["regenerated"]["text"] == words(3)
    assert told["branch"] == 4


async def test_a_partial_is_neither_lost_nor_doubled_when_the_page_comes_back(told):
    """Guard: a resume tells the whole answer again under the same message id."""
    assert told["meanwhile"] == shown(["user", "assistant"], words(2))
    assert told["partial"]
    assert words(40).startswith(told["partial"])
    assert told["resumed"] == shown(["user", "assistant"], words(40))


async def test_nothing_to_resume_is_204(told):
    assert told["idle"] == 204
    assert told["again"] == shown(["user", "assistant"], words(40))


async def test_a_disconnect_stops_nothing_and_stop_keeps_the_partial(told):
    assert told["disconnected"] == 200
    assert told["tail"] == ['data: {"type":"abort","reason":"cancelled"}', "data: [DONE]", ""]
    assert told["kept"]
    assert words(40).startswith(told["kept"])
    assert told["kept"] != words(40)


async def test_a_refusal_is_a_sentence(told):
    assert told["refused"]["error"] == "The message is empty."


async def test_a_second_attempt_replaces_the_first(told):
    """Guard: `reset-step`; without it the text of both attempts would be shown."""
    assert told["retried"] == shown(["user", "assistant"], words(8))


QUESTION = {"id": "q1", "role": "user", "parts": [{"type": "text", "text": "hello"}]}


def parts(body: str) -> list[dict[str, Any]]:
    data = [
        frame.removeprefix("data: ") for frame in body.split("\n\n") if frame.startswith("data")
    ]
    assert data[-1] == "[DONE]"
    return [json.loads(one) for one in data[:-1]]


async def test_the_same_question_twice_is_asked_once_and_other_people_see_nothing(tmp_path):
    """Guards: the client's message id is the idempotency key; the chat id is the owner's only."""
    async with serving(tmp_path, user="ann") as served:
        body = {"id": "c1", "messages": [QUESTION], "agent_id": "echo"}
        posts = [served.http.post("/api/chat", json=body) for _ in range(3)]
        answers = await asyncio.gather(*posts)
        assert {answer.headers["x-vercel-ai-ui-message-stream"] for answer in answers} == {"v1"}
        told = [parts(answer.text) for answer in answers]
        assert told[0] == told[1] == told[2]
        assert [part["type"] for part in told[0]] == [
            "start",
            "start-step",
            "text-start",
            "text-delta",
            "text-end",
            "finish-step",
            "finish",
        ]
        eve = served.other("eve")
        assert (await eve.http.get("/api/chat/c1/stream")).status_code == 204
        for method, path in (("GET", "/api/chat/c1"), ("POST", "/api/chat/c1/stop")):
            refused = await eve.http.request(method, path)
            assert (refused.status_code, refused.text) == (404, "There is no such chat.")
        await eve.http.aclose()


async def test_an_edited_question_makes_a_branch_behind_the_answer_before_it(tmp_path):
    async with serving(tmp_path) as served:
        body = {"id": "c1", "messages": [QUESTION], "agent_id": "echo"}
        first = parts((await served.http.post("/api/chat", json=body)).text)[0]["messageId"]
        answer = {"id": first, "role": "assistant", "parts": []}
        for name in ("two", "two edited"):
            asked = {"id": name, "role": "user", "parts": [{"type": "text", "text": name}]}
            body["messages"] = [QUESTION, answer, asked]
            await served.http.post("/api/chat", json=body)
        kept = (await served.get("/api/chat/c1"))["messages"]
        texts = [[p["text"] for p in one["parts"] if p["type"] == "text"] for one in kept]
        assert texts == [["hello"], ["hello"], ["two edited"], ["two edited"]]


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"id": "c"}', '{"id": "c", "messages": [1]}'])
async def test_nonsense_is_refused_in_a_sentence(tmp_path, body):
    async with serving(tmp_path) as served:
        answer = await served.http.post("/api/chat", content=body)
        assert answer.status_code == 400
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.text.endswith(".")
