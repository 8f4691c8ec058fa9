"""What a Responses stream has said so far: events of any such server in, deltas out. Pure.

Servers repeat themselves (`output_item.done` tells a whole text again) and leave things out; so of
each item it is known how much was told, and only what is missing is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from perdure.deltas import Annotation, Finish, Plain, Reasoning, Refusal, Text, ToolCall, ToolResult
from perdure.deltas import Usage as UsageDelta
from perdure.handlers import failures
from perdure.model import JSON

REASONING = ("reasoning_summary_text", "reasoning_text", "reasoning")
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
        self._names: dict[str, JSON] = {}
        self._secrets = secrets
        self._whole_calls = whole_calls

    @property
    def position(self) -> JSON:
        """Where to go on after what was read."""
        return {"id": self.response_id, "sequence_number": self.number, "told": dict(self._told)}

    @property
    def begun(self) -> bool:
        """Whether anything was said."""
        return bool(self._told)

    def read(self, data: bytes) -> list[Plain]:
        """Return what an event says. Raises `UpstreamError` for failures and garbage."""
        try:
            event = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise failures.garbage("a frame that is not JSON.") from None
        if not isinstance(event, dict):
            return []
        error = failures.in_stream(event, *self._secrets, first=not self.begun)
        if error is not None:
            raise error
        kind = event.get("type", "")
        number = event.get("sequence_number")
        if isinstance(number, int):
            self.number = number
        try:
            return list(self._deltas(kind, event))
        except (KeyError, TypeError, AttributeError) as problem:
            raise failures.garbage(f"a {kind} without {problem}.") from None

    def read_whole(self, response: JSON) -> list[Plain]:
        """Return what a Response object says beyond what was told; `finish` is set if it ended."""
        self.response_id = response.get("id") or self.response_id
        status = response.get("status")
        if status in ("failed", "cancelled"):
            failed = {"type": "response.failed", "response": response}
            error = failures.in_stream(failed, *self._secrets, first=False)
            raise error or failures.garbage("a failure without a reason.")
        deltas = [delta for item in response.get("output") or () for delta in self._item(item)]
        if status not in ("queued", "in_progress"):
            deltas.extend(self._end(response))
        return deltas

    def _deltas(self, kind: str, event: JSON) -> Iterator[Plain]:
        if kind in TERMINAL:
            response = event.get("response") or {}
            if not self.begun:
                for item in response.get("output") or ():
                    yield from self._item(item)
            yield from self._end(response)
        elif kind in ("response.created", "response.queued", "response.in_progress"):
            self.response_id = event.get("response", {}).get("id") or self.response_id
        elif kind == "response.output_item.added":
            self._names[_key(event)] = event["item"]
        elif kind == "response.output_item.done":
            yield from self._item(event["item"], _key(event))
        elif kind == "response.output_text.annotation.added":
            yield Annotation(event["annotation"])
        elif kind.endswith(".delta"):
            yield from self._delta(kind.removeprefix("response.").removesuffix(".delta"), event)

    def _delta(self, kind: str, event: JSON) -> Iterator[Plain]:
        key, text = _key(event), event.get("delta")
        if not isinstance(text, str) or not text:
            return
        if kind == "function_call_arguments":
            yield from self._arguments(key, text)
        elif kind in ("output_text", "refusal", *REASONING):
            self._tell(key, text)
            yield STREAMED.get(kind, Reasoning)(text, key)

    def _arguments(self, key: str, text: str) -> Iterator[Plain]:
        call = self._names.get(key)
        if not self._whole_calls and call is not None:
            yield ToolCall(key, text, call.get("name", ""), call.get("call_id", ""))
            self._tell(key, text)

    def _item(self, item: JSON, key: str = "") -> Iterator[Plain]:
        """Yield what of a finished item was not told yet."""
        key = item.get("id") or key or item.get("call_id") or ""
        yield from self._ITEMS.get(item.get("type", ""), _nothing)(self, item, key)

    def _message(self, item: JSON, key: str) -> Iterator[Plain]:
        if item.get("role", "assistant") != "assistant":
            return  # some servers repeat the input
        fresh = key not in self._told
        for part in item.get("content") or ():
            text = part.get("text") or part.get("refusal") or ""
            made = Refusal if part.get("type") == "refusal" else Text
            yield from self._rest(key, text, made)
            for annotation in part.get("annotations") or () if fresh else ():
                yield Annotation(annotation)

    def _reasoning(self, item: JSON, key: str) -> Iterator[Plain]:
        if key not in self._told:
            pieces = item.get("summary") or item.get("content") or ()
            yield from self._rest(
                key, "".join(piece.get("text", "") for piece in pieces), Reasoning
            )

    def _rest(self, key: str, text: str, made: Callable[..., Plain]) -> Iterator[Plain]:
        rest = text[self._told.get(key, 0) :]
        if rest:
            self._tell(key, rest)
            yield made(rest, key)

    def _call(self, item: JSON, key: str) -> Iterator[Plain]:
        arguments = item.get("arguments") or ""
        told = self._told.get(key, -1)
        if told < 0 or arguments[told:]:
            self._told[key] = len(arguments)
            rest = arguments[max(told, 0) :]
            yield ToolCall(key, rest, item["name"], item.get("call_id") or "")

    def _result(self, item: JSON, key: str) -> Iterator[Plain]:
        if key not in self._told:
            output = item.get("output")
            text = output if isinstance(output, str) else msgspec.json.encode(output).decode()
            self._told[key] = len(text)
            yield ToolResult(item.get("call_id") or "", text)

    def _end(self, response: JSON) -> Iterator[Plain]:
        yield from _usage(response.get("usage"))
        reason = (response.get("incomplete_details") or {}).get("reason")
        self.finish = Finish(CUT.get(reason or "", "length" if reason else "stop"))

    def _tell(self, key: str, text: str) -> None:
        self._told[key] = self._told.get(key, 0) + len(text)

    _ITEMS: ClassVar[Mapping[str, Callable[[AgentLog, JSON, str], Iterator[Plain]]]] = {
        "message": _message,
        "reasoning": _reasoning,
        "function_call": _call,
        "function_call_output": _result,
    }


def _nothing(*_: object) -> Iterator[Plain]:
    return iter(())


def _key(event: JSON) -> str:
    """Return what tells an event's item apart; some servers give no id at all."""
    item = event.get("item")
    named = event.get("item_id") or (item.get("id") if isinstance(item, dict) else None)
    return str(named or f"#{event.get('output_index', 0)}")


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
