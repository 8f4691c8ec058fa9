"""The promise of the port `Handler`, kept by every adapter: text, end, failure, close."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any, Protocol

import pytest

from perdure.deltas import Delta, Finish, Text, Usage
from perdure.errors import AnswerError
from perdure.handlers.anthropic import AnthropicHandler
from perdure.handlers.databricks import Credentials, DatabricksHandler
from perdure.handlers.openai import OpenAIHandler
from perdure.handlers.python import PythonHandler
from perdure.handlers.responses import ResponsesHandler
from perdure.ports import Call, Handler
from tests.upstream import Upstream


class Far(Protocol):
    """An agent of some dialect that does what a test needs, and can tell when it was closed."""

    def answering(self, pieces: int) -> Handler: ...

    def failing(self, pieces: int) -> Handler: ...

    def stalling(self, pieces: int) -> Handler: ...

    async def closed(self) -> None: ...

    def end(self) -> None: ...


class FarUpstream:
    def __init__(self) -> None:
        self.upstream = Upstream().__enter__()

    def handler(self, **script: Any) -> Handler:
        return OpenAIHandler(self.upstream.url, json.dumps(script))

    def answering(self, pieces: int) -> Handler:
        return self.handler(chunks=pieces)

    def failing(self, pieces: int) -> Handler:
        return self.handler(error_at=pieces)

    def stalling(self, pieces: int) -> Handler:
        return self.handler(stall_at=pieces)

    async def closed(self) -> None:
        await self.upstream.until(lambda calls: calls[-1].closed_by == "client", 1)

    def end(self) -> None:
        self.upstream.__exit__()


class FarFrames(FarUpstream):
    """A server of another dialect: its frames are written down here."""

    def __init__(self, dialect: str) -> None:
        super().__init__()
        self.dialect = dialect

    def frames(self, pieces: int, *last: Any, **more: Any) -> Handler:
        first, said, _ = FRAMES[self.dialect]
        script = {"frames": [first, *(said(n) for n in range(pieces)), *last], **more}
        if self.dialect == "databricks":
            host = self.upstream.url.removesuffix("/v1")
            credentials = Credentials(host, token="dapi-of-the-test")
            return DatabricksHandler("demo", credentials, params={"model": json.dumps(script)})
        if self.dialect == "responses":
            return ResponsesHandler(self.upstream.url, json.dumps(script))
        return AnthropicHandler(self.upstream.url, json.dumps(script))

    def answering(self, pieces: int) -> Handler:
        return self.frames(pieces, *FRAMES[self.dialect][2])

    def failing(self, pieces: int) -> Handler:
        return self.frames(pieces, {"type": "error", "error": {"message": "it exploded"}})

    def stalling(self, pieces: int) -> Handler:
        return self.frames(pieces, hold=True)


FRAMES: dict[str, tuple[Any, Callable[[int], Any], list[Any]]] = {
    "responses": (
        {"type": "response.created", "response": {"id": "resp_up"}},
        lambda n: {"type": "response.output_text.delta", "item_id": "m", "delta": f"w{n} "},
        [{"type": "response.completed", "response": {"id": "resp_up", "output": []}}],
    ),
    "databricks": (
        {"type": "agent.begins", "custom_outputs": {}},
        lambda n: {"type": "response.output_text.delta", "item_id": "m", "delta": f"w{n} "},
        ["[DONE]"],
    ),
    "anthropic": (
        {"type": "message_start", "message": {"usage": {"input_tokens": 1}}},
        lambda n: {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": f"w{n} "},
        },
        [
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
            {"type": "message_stop"},
        ],
    ),
}


class FarFunction:
    """Functions of one kind; `gate` lets blocking ones go when the test is over."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.left = threading.Event()
        self.gate = threading.Event()

    def answering(self, pieces: int) -> Handler:
        return self.handler(pieces, lambda: None)

    def failing(self, pieces: int) -> Handler:
        def fail() -> None:
            raise ValueError("agent exploded")

        return self.handler(pieces, fail)

    def stalling(self, pieces: int) -> Handler:
        return self.handler(pieces, None)

    def handler(self, pieces: int, then: Callable[[], None] | None) -> Handler:
        async def flowing(messages: Any, context: Any) -> AsyncIterator[str]:
            try:
                for index in range(pieces):
                    yield f"w{index} "
                await asyncio.Event().wait() if then is None else then()
            finally:
                self.left.set()

        def blocking(messages: Any, context: Any) -> Iterator[str | None]:
            try:
                for index in range(pieces):
                    yield f"w{index} "
                while then is None:
                    yield None
                then()
            finally:
                self.left.set()

        return PythonHandler(flowing if self.kind == "async generator" else blocking)

    async def closed(self) -> None:
        assert await asyncio.to_thread(self.left.wait, 1)

    def end(self) -> None:
        self.gate.set()


ADAPTERS: dict[str, Callable[[], Far]] = {
    "openai": FarUpstream,
    "responses": lambda: FarFrames("responses"),
    "anthropic": lambda: FarFrames("anthropic"),
    "databricks": lambda: FarFrames("databricks"),
    "python": lambda: FarFunction("async generator"),
    "python in a thread": lambda: FarFunction("generator"),
}


@pytest.fixture(params=ADAPTERS)
def far(request: pytest.FixtureRequest) -> Iterator[Far]:
    far = ADAPTERS[request.param]()
    yield far
    far.end()


def call(**fields: Any) -> Call:
    question = {"role": "user", "content": "Hello?"}
    ids = {"request_id": "resp_1", "chat_id": "chat_1", "user_id": "u", "agent_id": "a"}
    return Call(**{"messages": [question], **ids, **fields})


async def collect(handler: Handler, got: list[Delta]) -> None:
    async with aclosing(handler.stream(call())) as deltas:
        async for delta in deltas:
            if isinstance(delta, Text):
                got.append(Text(delta.text))
            elif not isinstance(delta, Usage):
                got.append(delta)


async def test_an_answer_is_its_pieces_in_order_and_one_finish(far: Far) -> None:
    handler, got = far.answering(3), list[Delta]()
    await collect(handler, got)
    assert got == [Text("w0 "), Text("w1 "), Text("w2 "), Finish("stop")]
    await handler.close()


async def test_an_empty_answer_is_an_answer(far: Far) -> None:
    handler, got = far.answering(0), list[Delta]()
    await collect(handler, got)
    assert got == [Finish("stop")]
    await handler.close()


async def test_a_failure_comes_behind_what_was_said_and_without_a_finish(far: Far) -> None:
    handler, got = far.failing(2), list[Delta]()
    with pytest.raises(AnswerError, match="exploded") as failure:
        await collect(handler, got)
    assert got == [Text("w0 "), Text("w1 ")]
    assert not failure.value.retryable
    await handler.close()


async def test_a_second_answer_is_independent_of_the_first(far: Far) -> None:
    handler, first, second = far.answering(2), list[Delta](), list[Delta]()
    await asyncio.gather(collect(handler, first), collect(handler, second))
    assert first == second == [Text("w0 "), Text("w1 "), Finish("stop")]
    await handler.close()


async def test_closing_the_iterator_closes_the_far_side_at_once(far: Far) -> None:
    handler = far.stalling(2)
    async with aclosing(handler.stream(call())) as deltas:
        first = await anext(deltas)
        assert isinstance(first, Text)
        assert first.text == "w0 "
    await far.closed()
    await handler.close()


async def test_cancelling_the_reader_closes_the_far_side_at_once(far: Far) -> None:
    handler, got = far.stalling(2), list[Delta]()
    reading = asyncio.create_task(collect(handler, got))
    while len(got) < 2:  # noqa: ASYNC110 - a list wakes nobody
        await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await far.closed()
    await handler.close()


async def test_an_iterator_that_was_never_started_costs_nothing(far: Far) -> None:
    handler = far.answering(1)
    await handler.stream(call()).aclose()
    await handler.close()
