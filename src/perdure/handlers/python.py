"""Agents that are Python functions: async generators first, and whatever else people write.

@agent(name="Support", description="Knows our products", examples=["Where is my parcel?"])
async def support(messages, context):
    yield "text"
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
import logging
import os
import queue
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any, TypeVar, overload

import msgspec

from perdure import deltas
from perdure.deltas import Delta, Finish, Text
from perdure.errors import AgentError, AnswerError, SettingsError
from perdure.handlers.failures import clean
from perdure.ports import Call

CLOSE_S = 5.0
KINDS: dict[str, type[Any]] = {
    "text": deltas.Text,
    "reasoning": deltas.Reasoning,
    "refusal": deltas.Refusal,
    "tool_call": deltas.ToolCall,
    "tool_result": deltas.ToolResult,
    "annotation": deltas.Annotation,
    "usage": deltas.Usage,
    "trace": deltas.Trace,
    "finish": deltas.Finish,
}
DELTAS = tuple(KINDS.values())

_log = logging.getLogger(__name__)
_END = object()
Function = TypeVar("Function", bound=Callable[..., Any])


class About(msgspec.Struct, frozen=True, kw_only=True):
    """How a Python agent is shown, and whether it goes on from `context.partial`."""

    name: str = ""
    description: str = ""
    examples: Sequence[str] = ()
    continues: bool = False


@overload
def agent(function: Function, /) -> Function: ...


@overload
def agent(
    *,
    name: str = "",
    description: str = "",
    examples: Sequence[str] = (),
    continues: bool = False,
) -> Callable[[Function], Function]: ...


def agent(function: Any = None, /, **about: Any) -> Any:
    """Mark a function as an agent and say how it is shown; it stays callable as it is.

    Args:
        function: the agent, when used without arguments.
        **about: `name`, `description`, `examples` (questions to start with) and `continues` (after
            an interruption the agent goes on behind `context.partial`), see `About`.

    """

    def mark(marked: Any) -> Any:
        marked.__perdure_agent__ = About(**about)
        return marked

    return mark if function is None else mark(function)


def about(function: Callable[..., Any]) -> About:
    """Return what `agent` attached; else the function's own name and docstring."""
    told = getattr(function, "__perdure_agent__", None) or About()
    plain = getattr(function, "__name__", type(function).__name__).replace("_", " ").strip()
    first_line = (inspect.getdoc(function) or "").partition("\n")[0]
    return msgspec.structs.replace(
        told,
        name=told.name or plain[:1].upper() + plain[1:],
        description=told.description or first_line,
    )


def load(path: str) -> Callable[..., Any]:
    """Import the agent at `module:attribute`, also from the working directory.

    Raises `SettingsError` with a sentence that says which half is wrong.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise SettingsError(f"{path!r} names no agent; write it as module:function.")
    if os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds strings
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        what = f"there is no module {error.name!r}"
        raise SettingsError(f"The agent {path!r} cannot be loaded: {what}.") from error
    except Exception as error:
        what = f"importing {module_name!r} raised {_told(error)}"
        raise SettingsError(f"The agent {path!r} cannot be loaded: {what}.") from error
    for name in attribute.split("."):
        found = getattr(found, name, None)  # type: ignore[assignment]
    if not callable(found):
        what = f"{module_name!r} has no function {attribute!r}"
        raise SettingsError(f"The agent {path!r} cannot be loaded: {what}.")
    return found


class PythonHandler:
    """Runs a function as an agent.

    Args:
        function: called with the messages (Chat Completions dictionaries, its own copies) and the
            `ports.Call` as context, or with the messages only if it takes one argument. It may be
            an async generator, a coroutine function, a generator or a plain function; the latter
            two run in a thread. It yields or returns text, deltas, or dictionaries such as
            `{"type": "reasoning", "text": "…"}`; None is passed over.

    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.can_continue = about(function).continues
        self._function = function
        self._arguments = _positional(function)

    async def stream(self, call: Call) -> AsyncGenerator[Delta, None]:
        """Yield the answer's deltas as they arrive; see `ports.Handler`."""
        values = self._values(call)
        try:
            async for value in values:
                delta = to_delta(value)
                if isinstance(delta, Finish):
                    yield delta
                    return
                if delta is not None:
                    yield delta
        except AnswerError:
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - foreign code may raise anything
            raise AgentError(f"The agent raised {_told(error)}") from None
        except asyncio.CancelledError as error:
            if _cancelled_from_outside():
                raise
            raise AgentError(f"The agent raised {_told(error)}") from None
        finally:
            await _close(values)
        yield Finish()

    async def close(self) -> None:
        """Nothing to let go of: every run closes its own function."""

    async def _values(self, call: Call) -> AsyncGenerator[Any, None]:
        """Yield what the function yields or returns, whatever kind of function it is."""
        thread = Thread()
        try:
            given = ([dict(message) for message in call.messages], call)[: self._arguments]
            if _quick(self._function):
                result = self._function(*given)
            else:
                result = await thread.run(lambda: self._function(*given))
            if inspect.isawaitable(result):
                result = await result
            async with aclosing(_each(result, thread)) as values:
                async for value in values:
                    yield value
        finally:
            thread.stop()


class Thread:
    """A thread for one run of a blocking function; it never holds up the end of the process."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._started = False
        self._context = contextvars.copy_context()

    async def run(self, function: Callable[[], Any]) -> Any:
        """Call it in the thread, with this task's context variables, and return its result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def job() -> None:
            try:
                result, error = self._context.run(function), None
            except BaseException as raised:  # noqa: BLE001 - it is raised again in the loop
                result, error = None, raised
            loop.call_soon_threadsafe(_settle, future, result, error)

        self._put(job)
        return await future

    def stop(self, last: Callable[[], None] | None = None) -> None:
        """End the thread after what runs in it now, and after `last`."""
        if last is not None and self._started:
            self._jobs.put(last)
        if self._started:
            self._jobs.put(None)

    def _put(self, job: Callable[[], None]) -> None:
        if not self._started:
            self._started = True
            threading.Thread(target=self._work, name="perdure-agent", daemon=True).start()
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception as error:  # noqa: BLE001 - the loop may be closed; nobody listens
                _log.debug("an agent's thread ended late: %s", _told(error))


def to_delta(value: Any) -> Delta | None:
    """Return what an agent yielded as a delta; None for None. Raises `AgentError`."""
    if isinstance(value, str):
        return Text(value)
    if value is None or isinstance(value, DELTAS):
        return value
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise AgentError(f"The agent yielded a {kind}; it may yield text, deltas and dictionaries.")
    fields = dict(value)
    kind = fields.pop("type", "text")
    try:
        delta: Delta = msgspec.convert(fields, KINDS[kind])
    except (KeyError, TypeError):
        known = ", ".join(KINDS)
        raise AgentError(f"The agent yielded the unknown type {kind!r}; known: {known}.") from None
    except msgspec.ValidationError as error:
        raise AgentError(f"The agent yielded a wrong {kind!r}: {error}.") from None
    return delta


async def _each(result: Any, thread: Thread) -> AsyncGenerator[Any, None]:
    """Yield the values of an async iterator, of an iterator (in its thread), or the one value."""
    if isinstance(result, AsyncIterator) or hasattr(result, "__aiter__"):
        try:
            async for value in result:
                yield value
        finally:
            await _close(result)
    elif isinstance(result, Iterator):
        try:
            while (value := await thread.run(lambda: next(result, _END))) is not _END:
                yield value
        finally:
            if inspect.isgenerator(result):
                thread.stop(result.close)
    elif isinstance(result, list | tuple):
        for value in result:
            yield value
    else:
        yield result


async def _close(values: Any) -> None:
    """Close an async generator; what it raises or how long it takes no longer matters."""
    if not hasattr(values, "aclose"):
        return
    try:
        async with asyncio.timeout(CLOSE_S):
            await values.aclose()
    except Exception as error:  # noqa: BLE001 - the run is over; the agent's author may read it
        _log.warning("the agent raised while it was being closed: %s", _told(error))


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration | SystemExit | KeyboardInterrupt):
        # These would be lost in a future, or end the loop.
        future.set_exception(AgentError(f"The agent raised {_told(error)}"))
    else:
        future.set_exception(error)


def _quick(function: Callable[..., Any]) -> bool:
    """Return whether calling it only makes a generator or coroutine, without running any of it."""
    made = (inspect.isasyncgenfunction, inspect.iscoroutinefunction, inspect.isgeneratorfunction)
    call = getattr(function, "__call__", None)  # noqa: B004 - an object's method is wanted
    return any(is_made(function) or is_made(call) for is_made in made)


def _positional(function: Callable[..., Any]) -> int:
    """Return how many of (messages, context) the function takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 2
    kinds = [parameter.kind for parameter in parameters]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return 2
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    count = sum(1 for kind in kinds if kind in positional)
    if not count:
        raise SettingsError(
            "An agent takes (messages, context) or (messages); this one takes none."
        )
    return min(2, count)


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _told(error: BaseException) -> str:
    name, said = type(error).__name__, clean(str(error))
    return f"{name}: {said}" if said else f"{name}."
