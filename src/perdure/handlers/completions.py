"""What one stream of Chat Completions chunks says: from bytes to deltas. Knows no connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from perdure.deltas import Delta, Finish, Reasoning, Refusal, Text, ToolCall, Usage
from perdure.errors import UpstreamError
from perdure.handlers import failures
from perdure.handlers.forms import frame_of
from perdure.handlers.mould import Mould
from perdure.items import parses
from perdure.sse import Event, EventTooLarge, Parser

DONE = b"[DONE]"
Reason = Literal["stop", "length", "content_filter", "tool_calls"]
REASONS: Mapping[str, Reason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
BROKEN_REASONS = frozenset({"error", "abort"})
MOULDS_MAX = 4
"""How many moulds are taken of a stream whose chunks then fit into none of them."""


# What is read of a chunk. Fields whose type differs between servers are `Any` and looked at later.


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: Any = None


class _ToolCall(msgspec.Struct, gc=False):
    index: Any = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, gc=False):
    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: Any = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


class _Known(msgspec.Struct, gc=False):
    """A tool call that has begun: its id, what its deltas are called, pieces of its arguments."""

    call_id: str
    key: str
    pieces: list[str] = []

    def is_other(self, call_id: str | None, name: str | None) -> bool:
        """Tell whether a piece under this index begins another call."""
        if call_id:
            return call_id != self.call_id
        if self.call_id or not name or not "".join(self.pieces[-1:]).rstrip().endswith("}"):
            return False
        return parses("".join(self.pieces))


_NOTHING = _Delta()
_decode = msgspec.json.Decoder(_Chunk).decode


class Answer:
    """What one stream of chunks has said so far.

    Attributes:
        done: `[DONE]` came, or the answer came whole; nothing after it counts.
        reason: the finish reason, once there was one.

    """

    __slots__ = (
        "_begun",
        "_calls",
        "_known",
        "_left",
        "_mould",
        "_moulds",
        "_parser",
        "_secrets",
        "done",
        "reason",
    )

    def __init__(self, *secrets: str) -> None:
        self.done = False
        self.reason: Reason | None = None
        self._begun = False  # something was generated
        self._secrets = secrets
        self._parser = Parser()
        self._left: list[Event] = []
        self._calls: dict[int, _Known] = {}  # by index
        self._known: Mould | None = None
        self._mould: Mould | None = None  # the known one, while nothing else waits to be read
        self._moulds = 0  # taken since one has served

    @property
    def flows(self) -> bool:
        """Whether more of the answer is to come."""
        return self.reason is None and not self.done

    def deltas(self, data: bytes) -> Iterator[Delta]:
        """Yield the deltas that these bytes complete, then raise as `read` does."""
        deltas: list[Delta] = []

        def put(delta: Delta) -> bool:
            deltas.append(delta)
            return True

        try:
            self.read(put, data)
        finally:
            yield from deltas

    def read(self, put: Callable[[Delta], bool], data: bytes) -> bool:
        """Put the deltas that these bytes complete; tell whether it wants more of them.

        When `put` has no more room, the rest is kept for the next call. Raises `UpstreamError`.
        """
        if self._mould is not None:
            text = self._mould.text_of(data)
            if text:
                self._moulds = 0
                return put(Text(text))
        wanted = self._read(put, data)
        ready = self.flows and self._parser.between and not self._left
        self._mould = self._known if ready else None
        return wanted

    def _read(self, put: Callable[[Delta], bool], data: bytes) -> bool:
        """Read event by event what is not known by its mould."""
        events = self._events(data) if data else []
        if self._left:
            events, self._left = [*self._left, *events], []
        for number, event in enumerate(events, 1):
            if event.data[:6] == DONE:
                self.done = True
                break
            chunk = self._chunk(event.data)
            if len(events) == 1 and self._moulds < MOULDS_MAX:
                self._learn(data, chunk)
            if not self._tell(chunk, put):
                self._left = events[number:]
                return False
        return self.flows

    def _tell(self, chunk: _Chunk, put: Callable[[Delta], bool]) -> bool:
        """Put what a chunk says; tell whether there is room for more."""
        wanted = True
        for choice in chunk.choices or ():
            if choice.delta is not None and not choice.index:
                wanted = self._put(choice.delta, put)
            if choice.finish_reason:  # some servers say "" until the end
                self._end(choice.finish_reason)
        if chunk.usage is not None:
            for usage in usages(chunk.usage):
                put(usage)
        return wanted

    def _learn(self, data: bytes, chunk: _Chunk) -> None:
        text = _only_text(chunk)
        if text:
            self._moulds += 1
            self._known = Mould.of(data, text, _said)

    def _events(self, data: bytes) -> list[Event]:
        try:
            return self._parser.feed(data)
        except EventTooLarge as error:
            raise failures.garbage(error.detail) from None

    def _put(self, delta: _Delta, put: Callable[[Delta], bool]) -> bool:
        wanted = True
        text = delta.content
        if type(text) is str and text:
            self._begun = True
            delta.content = None
            wanted = put(Text(text))
        if delta != _NOTHING:
            for other in self._deltas(delta):
                wanted = put(other)
        return wanted

    def read_whole(self, body: bytes) -> Iterator[Delta]:
        """Yield the deltas of an answer that came in one piece. Raises `UpstreamError`."""
        self.done = True
        chunk = self._chunk(body)
        message = chunk.choices[0].message if chunk.choices else None
        if chunk.choices is None or message is None:
            raise failures.garbage("an answer without a message")
        yield from self._deltas(message)
        self._end(chunk.choices[0].finish_reason or "stop")
        yield from usages(chunk.usage)

    def finish(self) -> Finish:
        """Return the last delta. Raises `UpstreamError` if the stream ended before its marker."""
        if self.reason is None:
            how = "it said [DONE]" if self.done else "the stream ended"
            raise failures.dropped(f"{how} without a finish reason.")
        return Finish(self.reason)

    def _chunk(self, data: bytes) -> _Chunk:
        try:
            chunk = _decode(data)
        except msgspec.ValidationError as error:
            self._check(data)
            raise failures.garbage(f"{error}.") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if not data.strip():
                return _Chunk()
            chunk = self._chunk(msgspec.json.encode(frame_of(data)))
        if chunk.error is not None or chunk.choices is None:
            self._check(data)
        return chunk

    def _check(self, data: bytes) -> None:
        frame = msgspec.json.decode(data)
        error = failures.in_stream(frame, *self._secrets, first=not self._begun)
        if error is not None:
            raise error

    def _end(self, reason: Any) -> None:
        if reason in BROKEN_REASONS:
            raise UpstreamError(
                f"The agent's server ended the answer with the reason {reason!r}.",
                retryable=not self._begun,
            )
        self.reason = REASONS.get(reason, "stop") if isinstance(reason, str) else "stop"

    def _deltas(self, delta: _Delta) -> Iterator[Delta]:
        """Yield everything but the plain text of a streamed chunk, which `read` has taken."""
        for text in (delta.reasoning_content, delta.reasoning):
            if text and isinstance(text, str):
                self._begun = True
                yield Reasoning(text)
                break
        if delta.content:
            self._begun = True
            yield from _parts(delta.content)
        if delta.refusal and isinstance(delta.refusal, str):
            self._begun = True
            yield Refusal(delta.refusal)
        for call in delta.tool_calls or ():
            self._begun = True
            yield self._tool_call(call)
        if delta.function_call is not None:
            self._begun = True
            yield _piece("function", "", delta.function_call)

    def _tool_call(self, call: _ToolCall) -> ToolCall:
        """Return the piece of a call; some servers count every call as number 0."""
        function = call.function or _Function()
        index = _index(call.index)
        if index is None:
            index = max(0, len(self._calls) - (not call.id))
        known = self._calls.get(index)
        if known is None or known.is_other(call.id, function.name):
            key = str(index) if known is None else f"{index}:{call.id or len(known.key)}"
            known = self._calls[index] = _Known(call.id or "", key)
        piece = _piece(known.key, call.id or "", function)
        if not known.call_id:
            known.pieces.append(piece.arguments)
        return piece


def _index(told: Any) -> int | None:
    """Return a number, also where it came as text or with a decimal point."""
    try:
        return None if told is None else int(told)
    except (TypeError, ValueError):
        return None


def _said(payload: bytes) -> str:
    """Return the text of a chunk that tells nothing else; else ""."""
    return _only_text(_decode(payload))


def _only_text(chunk: _Chunk) -> str:
    if not chunk.choices or len(chunk.choices) > 1:
        return ""
    if chunk.usage is not None or chunk.error is not None:
        return ""
    (choice,) = chunk.choices
    if choice.delta is None or choice.index or choice.finish_reason:
        return ""
    text = choice.delta.content
    return text if isinstance(text, str) and choice.delta == _Delta(content=text) else ""


def _parts(content: Any) -> Iterator[Delta]:
    """Yield text and reasoning of content that came as text or as a list of parts."""
    if isinstance(content, str):
        yield Text(content)
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        if part.get("type") == "reasoning":
            yield from map(Reasoning, _summary(part))
        elif isinstance(part.get("text"), str):
            yield Text(part["text"])


def _summary(part: Mapping[str, Any]) -> Iterator[str]:
    pieces = part.get("summary")
    for piece in pieces if isinstance(pieces, list) else [part]:
        if isinstance(piece, dict) and isinstance(piece.get("text"), str):
            yield piece["text"]


def _piece(key: str, call_id: str, function: _Function) -> ToolCall:
    arguments = function.arguments
    if not isinstance(arguments, str):  # an object instead of its text
        arguments = "" if arguments is None else msgspec.json.encode(arguments).decode()
    return ToolCall(key, arguments, function.name or "", call_id)


def usages(usage: Any) -> Iterator[Usage]:
    """Yield the counts that a chunk's `usage` tells, if it tells any."""
    if isinstance(usage, dict):
        yield Usage(
            input_tokens=_count(usage, "prompt_tokens"),
            output_tokens=_count(usage, "completion_tokens"),
            total_tokens=_count(usage, "total_tokens"),
            cached_tokens=_count(usage.get("prompt_tokens_details"), "cached_tokens"),
            reasoning_tokens=_count(usage.get("completion_tokens_details"), "reasoning_tokens"),
        )


def _count(counts: Any, name: str) -> int:
    value = counts.get(name) if isinstance(counts, dict) else 0
    return int(value) if isinstance(value, int | float) else 0
