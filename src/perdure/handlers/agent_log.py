"""What a Responses stream has said so far: events of any such server in, deltas out. Pure.

Servers repeat themselves (`output_item.done` tells a whole text again) and leave things out; so of
each item it is known how much was told, and only what is missing is told.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from perdure.deltas import Annotation, Finish, Plain, Reasoning, Refusal, Text, ToolCall, ToolResult
from perdure.deltas import Usage as UsageDelta
from perdure.handlers import failures
from perdure.handlers.forms import frame_of
from perdure.handlers.item_keys import KINDS, ItemKeys
from perdure.model import JSON

COMPLETED = ("response.completed", "response.done", "responses.completed")
TERMINAL = frozenset({*COMPLETED, "response.incomplete", "response.failed"})
STREAMED: Mapping[str, Callable[[str, str], Plain]] = {"output_text": Text, "refusal": Refusal}
CUT: Mapping[str, Any] = {"max_output_tokens": "length", "content_filter": "content_filter"}


class AgentLog:
    """Reads one answer.

    Args:
        secrets: never to be shown in errors.
        whole_calls: tell tool calls only when they are whole, so that an attempt that goes on
            repeats none of them.
        position: where a former attempt stopped, see `position`.

    Attributes:
        response_id: the server's, "" until it is known.
        number: of the last event that was read, -1 before the first.
        finish: set when the answer is complete.

    """

    def __init__(
        self, *secrets: str, whole_calls: bool = False, position: JSON | None = None
    ) -> None:
        position = position or {}
        self.response_id: str = position.get("id", "")
        self.number: int = position.get("sequence_number", -1)
        self.finish: Finish | None = None
        self._told: dict[str, int] = dict(position.get("told", {}))
        self._begun = bool(self._told)
        self._sums: dict[str, int] = {}
        self._keys = ItemKeys()
        self._calls: dict[str, JSON] = {}  # announced, by key
        self._called: set[str] = set()  # ids of the calls that were told
        self._secrets = secrets
        self._whole_calls = whole_calls

    @property
    def position(self) -> JSON:
        """Where to go on after what was read."""
        return {"id": self.response_id, "sequence_number": self.number, "told": dict(self._told)}

    @property
    def begun(self) -> bool:
        """Whether anything was said."""
        return self._begun

    def read(self, data: bytes) -> list[Plain]:
        """Return what a frame says. Raises `UpstreamError` for failures and garbage."""
        return self.read_event(frame_of(data))

    def read_event(self, event: Any) -> list[Plain]:
        """Return what an event says. Raises as `read` does."""
        if not isinstance(event, dict):
            return []
        error = failures.in_stream(event, *self._secrets, first=not self.begun)
        if error is not None:
            raise error
        kind = event.get("type") or ""
        number = event.get("sequence_number")
        if isinstance(number, int):
            self.number = number
        try:
            return list(self._deltas(kind, event))
        except (KeyError, TypeError, AttributeError) as problem:
            raise failures.garbage(f"a {kind} without {problem}.") from None

    def read_whole(self, response: JSON) -> list[Plain]:
        """Return what a Response object says beyond what was told; `finish` is set if it ended.

        Raises `UpstreamError` for failures and garbage.
        """
        self._must_not_have_failed(response)
        error = failures.in_stream(response, *self._secrets, first=not self.begun)
        if error is not None:
            raise error
        self.response_id = response.get("id") or self.response_id
        runs = response.get("status") in ("queued", "in_progress")
        if not runs and not isinstance(response.get("output"), list):
            raise failures.garbage("an answer without an output.")
        try:
            deltas = [delta for item in response.get("output") or () for delta in self._item(item)]
            if not runs:
                deltas.extend(self._end(response))
        except (KeyError, TypeError, AttributeError) as problem:
            raise failures.garbage(f"an answer without {problem}.") from None
        return deltas

    def _must_not_have_failed(self, response: JSON) -> None:
        if response.get("status") in ("failed", "cancelled"):
            failed = {"type": "response.failed", "response": response}
            error = failures.in_stream(failed, *self._secrets, first=not self.begun)
            raise error or failures.garbage("a failure without a reason.")

    def _deltas(self, kind: str, event: JSON) -> Iterator[Plain]:
        if kind in TERMINAL:
            response = event.get("response") or {}
            self._must_not_have_failed(response)
            output = response.get("output") or ()
            for item in filter(self._untold_call, output) if self.begun else output:
                yield from self._item(item)
            yield from self._end(response)
        elif kind in ("response.created", "response.queued", "response.in_progress"):
            self.response_id = (event.get("response") or {}).get("id") or self.response_id
        elif kind == "response.output_item.added":
            self._calls[self._keys.begin(event)] = event["item"]
        elif kind == "response.output_item.done":
            yield from self._item(event["item"], self._keys.end(event))
        elif kind == "response.output_text.annotation.added":
            self._tell(_annotations(self._keys.of("message", event)))
            yield Annotation(event["annotation"])
        elif kind.endswith(".delta"):
            yield from self._delta(kind.removeprefix("response.").removesuffix(".delta"), event)

    def _delta(self, kind: str, event: JSON) -> Iterator[Plain]:
        text = event.get("delta")
        if kind not in KINDS or not isinstance(text, str) or not text:
            return
        key = self._keys.of(KINDS[kind], event)
        if kind == "function_call_arguments":
            yield from self._arguments(key, text)
        else:
            self._tell_text(key, text)
            yield STREAMED.get(kind, Reasoning)(text, key)

    def _arguments(self, key: str, text: str) -> Iterator[Plain]:
        call = self._calls.get(key)
        if not self._whole_calls and call is not None:
            self._called.add(call.get("call_id", ""))
            yield ToolCall(key, text, call.get("name", ""), call.get("call_id", ""))
            self._tell(key, len(text))

    def _item(self, item: JSON, key: str | None = None) -> Iterator[Plain]:
        """Yield what of a finished item was not told yet."""
        if key is None:
            key = self._keys.end({"item": item})
        yield from self._ITEMS.get(item.get("type", ""), _nothing)(self, item, key)
        if not key or key[0] == "#":  # another one without a name may follow there
            self._told.pop(key, None)
            self._sums.pop(key, None)

    def _message(self, item: JSON, key: str) -> Iterator[Plain]:
        if item.get("role", "assistant") != "assistant":
            return  # some servers repeat the input
        told = self._told.get(key, 0)
        parts = item.get("content") or ()
        if isinstance(parts, str):
            parts = [{"text": parts}]
        if self._differs(key, "".join(map(_text, parts))):
            told = sum(len(_text(part)) for part in parts)  # what was shown stays as it is
        for part in parts:
            text = _text(part)
            made = Refusal if part.get("type") == "refusal" else Text
            yield from self._rest(key, text[told:], made)
            told = max(0, told - len(text))
            for annotation in self._new_annotations(part, key):
                yield Annotation(annotation)

    def _differs(self, key: str, text: str) -> bool:
        """Tell whether an item's text does not begin with what was told of it piece by piece."""
        begun = _bytes(text[: self._told.get(key, 0)])
        return key in self._sums and zlib.crc32(begun) != self._sums[key]

    def _new_annotations(self, part: JSON, key: str) -> list[JSON]:
        """Return those that were not told yet, by events of their own or with the item."""
        name = _annotations(key)
        fresh = list(part.get("annotations") or ())[self._told.get(name, 0) :]
        if fresh:
            self._tell(name, len(fresh))
        return fresh

    def _reasoning(self, item: JSON, key: str) -> Iterator[Plain]:
        if key not in self._told:
            pieces = item.get("summary") or item.get("content") or ()
            text = "".join(piece.get("text", "") for piece in pieces)
            yield from self._rest(key, text, Reasoning)

    def _rest(self, key: str, rest: str, made: Callable[..., Plain]) -> Iterator[Plain]:
        if rest:
            self._tell_text(key, rest)
            yield made(rest, key)

    def _call(self, item: JSON, key: str) -> Iterator[Plain]:
        arguments = _json_text(item.get("arguments"))
        told = self._told.get(key, -1)
        if told < 0 or arguments[told:]:
            rest = arguments[max(told, 0) :]
            self._tell(key, len(rest))
            self._called.add(item.get("call_id") or "")
            yield ToolCall(key, rest, item["name"], item.get("call_id") or "")

    def _untold_call(self, item: JSON) -> bool:
        return item.get("type") == "function_call" and item.get("call_id") not in self._called

    def _result(self, item: JSON, key: str) -> Iterator[Plain]:
        if key not in self._told:
            text = _json_text(item.get("output"))
            self._tell(key, len(text))
            yield ToolResult(item.get("call_id") or "", text)

    def _approval(self, item: JSON, key: str) -> Iterator[Plain]:
        """A tool waits for a person's consent: shown as a call, so that it can be answered."""
        if key not in self._told:
            self._tell(key)
            yield ToolCall(
                key, _json_text(item.get("arguments")), item["name"], item.get("id") or key
            )

    def _consent(self, item: JSON, key: str) -> Iterator[Plain]:
        if key not in self._told:
            self._tell(key)
            said = "approved" if item.get("approve") else "declined"
            yield ToolResult(item.get("approval_request_id") or "", said)

    def _end(self, response: JSON) -> Iterator[Plain]:
        yield from _usage(response.get("usage"))
        reason = (response.get("incomplete_details") or {}).get("reason") or ""
        cut = reason or response.get("status") == "incomplete"
        self.finish = Finish(CUT.get(reason, "length" if cut else "stop"))

    def _tell_text(self, key: str, text: str) -> None:
        if key in self._sums or key not in self._told:  # else a former attempt told of it
            self._sums[key] = zlib.crc32(_bytes(text), self._sums.get(key, 0))
        self._tell(key, len(text))

    def _tell(self, key: str, size: int = 1) -> None:
        self._begun = True
        self._told[key] = self._told.get(key, 0) + size

    _ITEMS: ClassVar[Mapping[str, Callable[[AgentLog, JSON, str], Iterator[Plain]]]] = {
        "message": _message,
        "reasoning": _reasoning,
        "function_call": _call,
        "function_call_output": _result,
        "mcp_approval_request": _approval,
        "mcp_approval_response": _consent,
    }


def _text(part: JSON) -> str:
    return str(part.get("text") or part.get("refusal") or "")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _nothing(*_: object) -> Iterator[Plain]:
    return iter(())


def _json_text(value: Any) -> str:
    """Return a text as it is, and what should have been one as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def _annotations(key: str) -> str:
    return f"annotations {key}"


def _usage(usage: Any) -> Iterator[UsageDelta]:
    if not isinstance(usage, dict):
        return
    told = usage.get("input_tokens_details") or {}
    thought = usage.get("output_tokens_details") or {}
    yield UsageDelta(
        input_tokens=_count(usage.get("input_tokens")),
        output_tokens=_count(usage.get("output_tokens")),
        total_tokens=_count(usage.get("total_tokens")),
        cached_tokens=_count(told.get("cached_tokens")),
        reasoning_tokens=_count(thought.get("reasoning_tokens")),
    )


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0
