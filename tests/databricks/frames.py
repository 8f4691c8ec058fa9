"""What agents of each kind send, as it was seen on the wire or is written in the documentation."""

from __future__ import annotations

from typing import Any

JSON = dict[str, Any]
REQUEST_ID = "f78ebc08-7f5e-4f0a-8d3c-0a0f5d7ce1aa"
"""Model Serving's own, which it puts on every event as `id`."""

RESPONSES = {"task": "agent/v1/responses"}
CHAT_AGENT = {"task": "agent/v2/chat"}
CHAT = {"task": "llm/v1/chat"}


def text(piece: str, item: str = "msg_1") -> JSON:
    """A piece of a ResponsesAgent's text, as Model Serving sends it."""
    return {
        "type": "response.output_text.delta",
        "item_id": item,
        "delta": piece,
        "id": REQUEST_ID,
    }


def done(item: JSON, **more: Any) -> JSON:
    return {"type": "response.output_item.done", "item": item, "id": REQUEST_ID, **more}


def message(said: str, item: str | None = "msg_1", annotations: Any = ()) -> JSON:
    part = {"type": "output_text", "text": said, "annotations": list(annotations)}
    named = {"id": item} if item else {}
    return {"type": "message", **named, "role": "assistant", "content": [part]}


def call(name: str, arguments: str, call_id: str, item: str | None = None) -> JSON:
    named = {"id": item} if item else {}
    told = {"call_id": call_id, "name": name, "arguments": arguments}
    return {"type": "function_call", **named, **told}


def output(call_id: str, said: str) -> JSON:
    return {"type": "function_call_output", "call_id": call_id, "output": said}


def trace(trace_id: str) -> JSON:
    """What `databricks_options.return_trace` adds to an event."""
    info = {"trace_id": trace_id, "state": "OK"}
    return {"trace": {"info": info, "data": {"spans": []}}, "databricks_request_id": REQUEST_ID}


def chunk(content: Any, reason: str | None = None, **delta: Any) -> JSON:
    """A chunk of Chat Completions."""
    choice = {"index": 0, "delta": {"content": content, **delta}, "finish_reason": reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]}


def agent_chunk(content: str, message_id: str = "m-1", **delta: Any) -> JSON:
    """A chunk of a ChatAgent."""
    return {"delta": {"role": "assistant", "content": content, "id": message_id, **delta}}
