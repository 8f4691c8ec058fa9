"""A real Chat Completions server that we did not write: the LiteLLM proxy, without a model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest

from perdure.deltas import Delta, Finish, Text, Usage
from perdure.errors import UpstreamError
from perdure.handlers.openai import OpenAIHandler
from perdure.ports import Call
from tests.early import START_S
from tests.litellm import KEY, SAID, running
from tests.world.server import Server

pytestmark = pytest.mark.timeout(START_S + 60)


@pytest.fixture(scope="module")
def litellm() -> str:
    """Return the base URL of a running proxy that always answers `SAID`."""
    return running()


async def ask(handler: OpenAIHandler) -> list[Delta]:
    call = Call("resp_1", "chat_1", "u", "a", [{"role": "user", "content": "Hello?"}])
    try:
        async with aclosing(handler.stream(call)) as deltas:
            return [delta async for delta in deltas]
    finally:
        await handler.close()


async def test_litellm_streams_its_whole_text_with_usage_and_an_end(litellm: str) -> None:
    *said, usage, end = await ask(OpenAIHandler(litellm, "demo", KEY))
    assert "".join(delta.text for delta in said if isinstance(delta, Text)) == SAID
    assert len(said) > 100  # three characters each
    assert isinstance(usage, Usage)
    assert usage.output_tokens > 0
    assert end == Finish("stop")


async def test_litellm_answers_in_one_piece_when_asked_to(litellm: str) -> None:
    said, _, end = await ask(OpenAIHandler(litellm, "demo", KEY, params={"stream": False}))
    assert (said, end) == (Text(SAID), Finish("stop"))


async def test_litellm_refuses_an_unknown_model_in_a_sentence(litellm: str) -> None:
    with pytest.raises(UpstreamError, match="Invalid model name") as refusal:
        await ask(OpenAIHandler(litellm, "nobody", KEY))
    assert (refusal.value.code, refusal.value.retryable) == ("upstream_refused", False)
    assert KEY not in refusal.value.detail


async def test_an_answer_of_litellm_outlasts_the_connection_that_asked_for_it(
    litellm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promises 4 and 6 over two real servers: ask, drop, come back for exactly the rest."""
    monkeypatch.setenv("DEMO_KEY", KEY)
    agent = f'handler = "openai"\nbase_url = "{litellm}"\nmodel = "demo"\napi_key_env = "DEMO_KEY"'
    server = Server(tmp_path, f"[agents.demo]\n{agent}\n")
    try:
        await server.start(within_s=60)
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            asking = client.stream(
                "POST",
                "/api/invoke_endpoint",
                json={"message": "Hello?"},
                headers={"Accept": "text/event-stream"},
            )
            async with asking as response:
                request_id = response.headers["perdure-request-id"]
                seen = [line async for line in first_events(response, 8)]
            cursor = seen[-1][0]
            path = f"/api/requests/{request_id}/stream"
            rest = frames((await client.get(path, headers={"Last-Event-ID": str(cursor)})).text)
            whole = frames((await client.get(path)).text)
            answer = (await client.get(f"/api/requests/{request_id}")).json()
        assert [*seen, *rest] == whole
        assert [number for number, _ in whole] == list(range(len(whole)))
        assert (answer["status"], answer["final_response"]) == ("completed", SAID)
    finally:
        server.end()


def frames(text: str) -> list[tuple[int, str]]:
    """Return `(number, data)` of each event of a stream."""
    lines = text.splitlines()
    numbers = [int(line[4:]) for line in lines if line.startswith("id: ")]
    return list(zip(numbers, (x[6:] for x in lines if x.startswith("data: ")), strict=True))


async def first_events(response: httpx.Response, count: int) -> AsyncIterator[tuple[int, str]]:
    """Yield the first events of a stream, then let go of it."""
    number = -1
    async for line in response.aiter_lines():
        if line.startswith("id: "):
            number = int(line[4:])
        elif line.startswith("data: "):
            yield number, line[6:]
            if number == count - 1:
                return
