"""What goes over the wire for a script: a plan of frames and faults, without time or sockets."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from tests.upstream.script import Script, text_of, word
from tests.upstream.shapes import ERRORS

Step = tuple[str, bytes]
"""`("text", frame)`, `("frame", frame)`, or a fault: `("stall" | "drop" | "clean_eof", b"")`."""


def plan(script: Script, start: int = 0) -> Iterator[Step]:
    """Yield the steps of one streamed answer, beginning with text chunk `start`."""
    if script.frames is not None:
        for value in script.frames:
            data = value.encode() if isinstance(value, str) else _dump(value)
            yield "text", _frame(script, data)
        if script.hold:
            yield "stall", b""
        return
    for index in range(script.reasoning):
        yield "frame", _chunk(script, {script.reasoning_key: f"r{index} "})
    if script.refusal:
        for piece in _pieces(script.refusal):
            yield "text", _chunk(script, {"refusal": piece})
    else:
        for index in itertools.count(start) if script.flood else range(start, script.chunks):
            fault = script.fault(index)
            yield from _fault(script, fault) if fault else _text(script, index)
            if fault and fault != "garbage":
                return
    yield from _ending(script)


def whole(script: Script) -> bytes:
    """Return the answer as one completion."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text_of(script),
        "refusal": script.refusal or None,
    }
    if script.tool_calls:
        message["tool_calls"] = [_call(*pair) for pair in enumerate(script.tool_calls)]
    choice = {"index": 0, "message": message, "finish_reason": _reason(script)}
    return _dump({"object": "chat.completion", "choices": [choice], "usage": _usage(script)})


def first_word(script: Script, body: dict[str, Any]) -> int:
    """Return where to go on: after the words that a trailing assistant message holds."""
    last = body["messages"][-1] if body.get("messages") else {}
    if last.get("role") != "assistant":
        return 0
    said = str(last.get("content"))
    return next((n for n in range(script.chunks, -1, -1) if said == text_of(script, n)), 0)


def _text(script: Script, index: int) -> Iterator[Step]:
    delta: dict[str, Any] = {"role": "assistant"} if index == 0 else {}
    text = word(index, script)
    delta["content"] = [{"type": "text", "text": text}] if script.parts else text
    usage = _usage(script) if script.usage == "each" else None
    yield "text", _chunk(script, delta, usage=usage)


def _fault(script: Script, fault: str) -> Iterator[Step]:
    if fault == "error":
        event = "error" if script.error_shape == "nested" else ""
        yield "frame", _frame(script, _dump(ERRORS[script.error_shape]), event)
    if fault in {"error", "done"}:
        yield "frame", _frame(script, b"[DONE]")
    elif fault == "garbage":
        yield "frame", _frame(script, b'{"choices": [{"delta": ')
    else:
        yield fault, b""


def _ending(script: Script) -> Iterator[Step]:
    for index, call in enumerate(script.tool_calls):
        for position, piece in enumerate(["", *_pieces(call["arguments"])]):
            part: dict[str, Any] = {"index": index} if position else _call(index, call)
            part["function"] = part.get("function", {}) | {"arguments": piece}
            yield "frame", _chunk(script, {"tool_calls": [part]})
    if reason := _reason(script):
        usage = _usage(script) if script.usage == "each" else None
        yield "frame", _chunk(script, {}, reason=reason, usage=usage)
    if script.usage == "last":
        yield "frame", _chunk(script, None, usage=_usage(script))
    elif script.usage == "beside":
        yield "frame", _chunk(script, {}, usage=_usage(script))
    if script.done:
        yield "frame", _frame(script, b"[DONE]")
    if script.hold:
        yield "stall", b""


def _reason(script: Script) -> str:
    return (
        ("tool_calls" if script.tool_calls else "stop") if script.finish is None else script.finish
    )


def _call(index: int, call: dict[str, str]) -> dict[str, Any]:
    return {"index": index, "id": f"call_{index}", "type": "function", "function": {**call}}


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + 5] for at in range(0, len(text), 5))


def _usage(script: Script) -> dict[str, Any]:
    count = script.chunks
    return {
        "prompt_tokens": 8,
        "completion_tokens": count,
        "total_tokens": 8 + count,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": script.reasoning},
    }


def _chunk(
    script: Script,
    delta: dict[str, Any] | None,
    *,
    reason: str | None = None,
    usage: dict[str, Any] | None = None,
) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    value = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "demo"}
    return _frame(script, _dump(value | {"choices": choices} | ({"usage": usage} if usage else {})))


def _frame(script: Script, data: bytes, event: str = "") -> bytes:
    end = script.newline.encode()
    lines = [b": keep-alive", b""] if script.comments else []
    lines += [b"event: " + event.encode()] if event else []
    return end.join([*lines, b"data: " + data, b"", b""])


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
