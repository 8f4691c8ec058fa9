"""What a serving endpoint is asked, in its dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from perdure.errors import UpstreamError
from perdure.handlers.databricks.endpoint import REQUEST_BYTES_MAX, Kind
from perdure.handlers.wishes import chat_fields
from perdure.model import JSON
from perdure.ports import Call
from perdure.talk import text_in

OURS = frozenset({"background", "store", "conversation", "previous_response_id"})
"""Parameters that are between the caller and us."""
OPENAI_ONLY = frozenset({"prompt_cache_key", "safety_identifier", "service_tier", "verbosity"})
"""Fields of Chat Completions that mean something to OpenAI's own service, and are refused here."""


def body_of(call: Call, kind: Kind, params: Mapping[str, Any], *, traced: bool) -> bytes:
    """Return a request's body; raises `UpstreamError` when Model Serving would not take it.

    Args:
        call: what is asked.
        kind: the endpoint's dialect.
        params: further fields of the settings; they win.
        traced: ask an agent for its trace.

    """
    body = _BODIES[kind](call) | {"stream": True}
    if traced and kind != "chat":
        body["databricks_options"] = {"return_trace": True}
    encoded = msgspec.json.encode(body | dict(params))
    if len(encoded) > REQUEST_BYTES_MAX:
        detail = (
            f"This chat has become {len(encoded) / 1e6:.1f} MB as a request, and Databricks "
            "takes 4 MB at most. Begin a new chat, or send less at once."
        )
        raise UpstreamError(detail, code="request_too_large")
    return encoded


def _chat(call: Call) -> JSON:
    fields = chat_fields(call.params)
    kept = {key: fields[key] for key in fields if key not in OPENAI_ONLY}
    return {"messages": list(call.messages)} | kept


def _chat_agent(call: Call) -> JSON:
    """A ChatAgent's messages hold plain text only."""
    messages = [{**one, "content": text_in(one.get("content"))} for one in call.messages]
    return {"messages": messages, "context": _context(call), "custom_inputs": {}}


def _responses(call: Call) -> JSON:
    asked: JSON = {key: call.params[key] for key in call.params if key not in OURS}
    return asked | {"input": list(call.items), "context": _context(call), "custom_inputs": {}}


def _context(call: Call) -> JSON:
    return {"conversation_id": call.chat_id, "user_id": call.user_id}


_BODIES: Mapping[Kind, Callable[[Call], JSON]] = {
    "chat": _chat,
    "chat_agent": _chat_agent,
    "responses": _responses,
}
