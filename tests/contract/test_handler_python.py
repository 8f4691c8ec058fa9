"""Agents that are Python functions: every kind of function, every way to go wrong."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from perdure.deltas import Delta, Finish, Reasoning, Text, ToolCall, Trace, Usage
from perdure.errors import AgentError, AnswerError, SettingsError, UpstreamError
from perdure.handlers.python import About, PythonHandler, about, agent, load
from perdure.ports import Call

CALL = Call("resp_1", "chat_1", "user_1", "a", [{"role": "user", "content": "Hello?"}])


async def answer(function: Callable[..., Any], call: Call = CALL) -> list[Delta]:
    async with aclosing(PythonHandler(function).stream(call)) as deltas:
        return [delta async for delta in deltas]


async def flowing(messages: Any, context: Any) -> AsyncIterator[str]:
    yield messages[-1]["content"]
    yield context.user_id


async def once(messages: Any, context: Any) -> str:
    return str(messages[-1]["content"] + context.user_id)


def blocking(messages: Any, context: Any) -> Iterator[str]:
    yield messages[-1]["content"]
    yield context.user_id


def plain(messages: Any, context: Any) -> str:
    return str(messages[-1]["content"] + context.user_id)


def listing(messages: Any, context: Any) -> list[str]:
    return [messages[-1]["content"], context.user_id]


def indirect(messages: Any, context: Any) -> AsyncIterator[str]:
    return flowing(messages, context)


async def awaited(messages: Any, context: Any) -> AsyncIterator[str]:
    return flowing(messages, context)


class Callable_:  # noqa: N801 - an object that is called
    async def __call__(self, messages: Any, context: Any) -> AsyncIterator[str]:
        yield messages[-1]["content"] + context.user_id


def short(messages: Any) -> str:
    return str(messages[-1]["content"]) + "user_1"


KINDS: list[Callable[..., Any]] = [
    flowing,
    once,
    blocking,
    plain,
    listing,
    indirect,
    awaited,
    Callable_(),
    short,
    lambda *both: both[0][-1]["content"] + both[1].user_id,
]


@pytest.mark.parametrize("function", KINDS, ids=lambda one: getattr(one, "__name__", "object"))
async def test_every_kind_of_function_is_an_agent(function: Callable[..., Any]) -> None:
    *texts, last = await answer(function)
    assert "".join(text.text for text in texts if isinstance(text, Text)) == "Hello?user_1"
    assert last == Finish("stop")


VALUES: list[tuple[Any, list[Delta]]] = [
    ("a", [Text("a")]),
    (None, []),
    ({"text": "a"}, [Text("a")]),
    ({"type": "text", "text": "a", "item": "m"}, [Text("a", "m")]),
    ({"type": "reasoning", "text": "r"}, [Reasoning("r")]),
    ({"type": "tool_call", "key": "0", "name": "f"}, [ToolCall("0", "", "f")]),
    ({"type": "usage", "input_tokens": 1}, [Usage(1)]),
    ({"type": "trace", "trace_id": "tr-1"}, [Trace("tr-1")]),
    (Reasoning("r"), [Reasoning("r")]),
]


@pytest.mark.parametrize("pair", VALUES, ids=str)
async def test_text_deltas_and_dictionaries_may_be_yielded(pair: tuple[Any, list[Delta]]) -> None:
    value, deltas = pair

    async def function(messages: Any, context: Any) -> AsyncIterator[Any]:
        yield value

    assert await answer(function) == [*deltas, Finish()]


async def test_nothing_is_taken_behind_a_finish() -> None:
    left = []

    async def function(messages: Any, context: Any) -> AsyncIterator[Any]:
        try:
            yield "a"
            yield Finish("length")
            yield "b"
        finally:
            left.append(True)

    assert await answer(function) == [Text("a"), Finish("length")]
    assert left


def raising(error: BaseException) -> Callable[..., Any]:
    async def function(messages: Any, context: Any) -> AsyncIterator[str]:
        yield "a"
        raise error

    return function


def raising_in_a_thread(error: BaseException) -> Callable[..., Any]:
    def function(messages: Any, context: Any) -> str:
        raise error

    return function


ERRORS = {
    ValueError("no such parcel"): "The agent raised ValueError: no such parcel",
    KeyError(): "The agent raised KeyError.",
    SystemExit(3): "The agent raised SystemExit: 3",
    KeyboardInterrupt(): "The agent raised KeyboardInterrupt.",
    asyncio.CancelledError(): "The agent raised CancelledError.",
    RuntimeError("a\nb" + "x" * 1000): "The agent raised RuntimeError: a bxx",
    OSError("Bearer abcdefgh was refused"): "The agent raised OSError: … was refused",
}


@pytest.mark.parametrize("make", [raising, raising_in_a_thread])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_what_an_agent_raises_is_named_in_one_line(
    error: BaseException, make: Callable[[BaseException], Callable[..., Any]]
) -> None:
    with pytest.raises(AgentError) as failure:
        await answer(make(error))
    assert failure.value.detail.startswith(ERRORS[error])
    assert len(failure.value.detail) < 600
    assert not failure.value.retryable


async def test_an_agent_may_raise_our_errors_itself() -> None:
    with pytest.raises(UpstreamError, match="busy") as failure:
        await answer(raising(UpstreamError("busy", retryable=True)))
    assert failure.value.retryable


WRONG = {
    "a number": (7, "yielded a int"),
    "an unknown type": ({"type": "image"}, "unknown type 'image'"),
    "a wrong field": ({"text": 7}, "yielded a wrong 'text'"),
    "a type that is no name": ({"type": ["text"]}, "unknown type"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_cannot_be_a_delta_is_an_error(name: str) -> None:
    value, said = WRONG[name]

    async def function(messages: Any, context: Any) -> AsyncIterator[Any]:
        yield value

    with pytest.raises(AgentError, match=said):
        await answer(function)


async def test_an_agent_cannot_change_the_stored_messages() -> None:
    async def function(messages: Any, context: Any) -> str:
        messages[0]["content"] = "changed"
        messages.clear()
        return "a"

    await answer(function)
    assert CALL.messages == [{"role": "user", "content": "Hello?"}]


async def test_a_cancelled_agent_sees_it_and_is_not_an_error() -> None:
    waiting, seen = asyncio.Event(), []

    async def function(messages: Any, context: Any) -> str:
        try:
            waiting.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return ""

    run = asyncio.create_task(answer(function))
    await waiting.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert seen == ["cancelled"]


async def test_an_agent_that_raises_while_it_is_closed_is_only_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def function(messages: Any, context: Any) -> AsyncIterator[str]:
        try:
            yield "a"
        finally:
            raise ValueError("too late")

    async with aclosing(PythonHandler(function).stream(CALL)) as deltas:
        await anext(deltas)
    assert "ValueError: too late" in caplog.text


async def test_a_blocked_thread_holds_up_nothing() -> None:
    gate, entered = threading.Event(), threading.Event()

    def function(messages: Any, context: Any) -> str:
        entered.set()
        gate.wait(30)
        return "late"

    runs = [asyncio.create_task(answer(function)) for _ in range(20)]
    await asyncio.to_thread(entered.wait, 5)
    for run in runs:
        run.cancel()
    async with asyncio.timeout(5):
        ends = await asyncio.gather(*runs, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends)
    gate.set()


async def test_a_generator_is_closed_in_the_thread_it_ran_in() -> None:
    threads, left = [], threading.Event()

    def function(messages: Any, context: Any) -> Iterator[str]:
        try:
            threads.append(threading.get_ident())
            yield "a"
            yield "b"
        finally:
            threads.append(threading.get_ident())
            left.set()

    async with aclosing(PythonHandler(function).stream(CALL)) as deltas:
        await anext(deltas)
    assert await asyncio.to_thread(left.wait, 5)
    assert threads[0] == threads[1] != threading.get_ident()


BLOCKED = """
import asyncio, threading
from perdure.handlers.python import PythonHandler
from perdure.ports import Call
entered = threading.Event()
def agent(messages):
    entered.set()
    threading.Event().wait()
async def main():
    deltas = PythonHandler(agent).stream(Call("r", "c", "u", "a", []))
    run = asyncio.create_task(anext(deltas))
    await asyncio.to_thread(entered.wait)
    run.cancel()
asyncio.run(main())
"""


def test_a_blocked_agent_does_not_hold_up_the_end_of_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], timeout=20, check=True)
    assert done.returncode == 0


async def test_no_thread_outlives_its_run() -> None:
    await asyncio.gather(answer(plain), answer(blocking))
    threads = [one for one in threading.enumerate() if one.name == "perdure-agent"]
    for thread in threads:
        await asyncio.to_thread(thread.join, 5)
    assert not any(thread.is_alive() for thread in threads)


async def test_agents_in_threads_run_side_by_side() -> None:
    together = threading.Barrier(20, timeout=10)

    def function(messages: Any, context: Any) -> str:
        together.wait()
        return "a"

    answers = await asyncio.gather(*(answer(function) for _ in range(20)))
    assert answers == [[Text("a"), Finish()]] * 20


def test_a_function_without_arguments_is_refused() -> None:
    with pytest.raises(SettingsError, match="this one takes none"):
        PythonHandler(lambda: "a")


# How an agent presents itself, and how it is found.


@agent(name="Support", description="Knows parcels", examples=["Where is it?"], continues=True)
async def support(messages: Any, context: Any) -> AsyncIterator[str]:
    """Answer about parcels."""
    yield context.partial


@agent
def echo_loudly(messages: Any) -> str:
    """Say it again.

    And more.
    """
    return str(messages[-1]["content"]).upper()


async def test_a_marked_agent_is_still_a_function() -> None:
    assert echo_loudly([{"content": "a"}]) == "A"
    assert await answer(echo_loudly) == [Text("HELLO?"), Finish()]


def test_an_agent_says_how_it_is_shown() -> None:
    told = About(
        name="Support", description="Knows parcels", examples=["Where is it?"], continues=True
    )
    assert about(support) == told
    assert about(echo_loudly) == About(name="Echo loudly", description="Say it again.")
    assert PythonHandler(support).can_continue
    assert not PythonHandler(echo_loudly).can_continue


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "agent_fine.py").write_text("def ask(messages): return 'a'\nclass Box: ask = ask\n")
    (tmp_path / "agent_broken.py").write_text("raise ValueError('half written')\n")
    (tmp_path / "agent_lacking.py").write_text("import agent_nowhere\n")
    (tmp_path / "agent_typo.py").write_text("def ask(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "path", [path for path in sys.path if path not in {"", str(Path.cwd())}]
    )
    yield
    for name in [name for name in sys.modules if name.startswith("agent_")]:
        del sys.modules[name]


@pytest.mark.usefixtures("modules")
async def test_an_agent_is_found_in_the_working_directory() -> None:
    assert await answer(load("agent_fine:ask")) == [Text("a"), Finish()]
    assert await answer(load("agent_fine:Box.ask")) == [Text("a"), Finish()]


PATHS = {
    "agent_fine": "write it as module:function",
    ":ask": "write it as module:function",
    "agent_absent:ask": "there is no module 'agent_absent'",
    "agent_lacking:ask": "there is no module 'agent_nowhere'",
    "agent_broken:ask": "importing 'agent_broken' raised ValueError: half written",
    "agent_typo:ask": "importing 'agent_typo' raised SyntaxError",
    "agent_fine:answer": "'agent_fine' has no function 'answer'",
    "agent_fine:__name__": "'agent_fine' has no function '__name__'",
}


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize("path", PATHS)
def test_what_is_wrong_with_an_agents_path_is_said(path: str) -> None:
    with pytest.raises(SettingsError) as failure:
        load(path)
    assert PATHS[path] in failure.value.detail


def test_the_error_of_an_agent_is_an_answers_error() -> None:
    assert issubclass(AgentError, AnswerError)
