"""The Response object: all its 31 keys, always."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from perdure.model import JSON, Failure, Request, Status
from perdure.wire import clean, encode

_ECHOED: JSON = {
    "store": True,
    "instructions": None,
    "previous_response_id": None,
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "truncation": "disabled",
    "text": {"format": {"type": "text"}},
    "reasoning": None,
    "temperature": 1.0,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "service_tier": "default",
    "safety_identifier": None,
    "prompt_cache_key": None,
}
"""Keys that repeat the caller's parameters, with the value when there is none."""

_IF_GIVEN = ("prompt", "prompt_cache_retention", "user")
"""Keys that repeat the caller's parameters and are absent without one."""

_TOOL: JSON = {"name": "", "description": None, "parameters": None, "strict": None}
_SCHEMA: JSON = {"description": None, "strict": False}


class Closing(msgspec.Struct, frozen=True):
    """The final state of an answer: what its row and its message keep."""

    status: Status
    output: list[JSON]
    text: str
    error: Failure | None = None
    usage: JSON | None = None
    incomplete_reason: str | None = None


def _tool(tool: JSON) -> JSON:
    return {**_TOOL, **tool} if tool.get("type") == "function" else tool


def _echo(key: str, value: Any) -> Any:
    """Return a parameter in the shape of the Response object; None means its default."""
    if value is None:
        return _ECHOED.get(key)
    if key == "tools":
        return [_tool(tool) for tool in value]
    if key == "text":
        form = value.get("format") or _ECHOED["text"]["format"]
        return {**value, "format": {**(_SCHEMA if "schema" in form else {}), **form}}
    if key == "reasoning":
        return {"effort": None, "summary": None, **value}
    return value


def response(
    *,
    id: str,  # noqa: A002 - the name of the key
    agent_id: str,
    created_at: float,
    metadata: Mapping[str, str] = {},
    conversation: str | None = None,
    background: bool = True,
    extra: JSON | None = None,
) -> JSON:
    """Return the Response object of a request that waits.

    `created_at` is in unix seconds. `extra` holds the caller's parameters to echo; None in it means
    the default, and all other keys are ignored. Source: Open Responses 2026-04-24.
    """
    whole: JSON = {
        "id": id,
        "object": "response",
        "created_at": int(created_at),
        "completed_at": None,
        "status": "queued",
        "background": background,
        "model": agent_id,
        "metadata": dict(metadata),
        "output": [],
        "error": None,
        "incomplete_details": None,
        "usage": None,
        **_ECHOED,
        **{key: _echo(key, value) for key, value in (extra or {}).items() if key in _ECHOED},
        **{key: value for key, value in (extra or {}).items() if key in _IF_GIVEN},
    }
    if conversation is not None:
        whole["conversation"] = {"id": conversation}
    cleaned: JSON = clean(whole)
    return cleaned


def of_request(request: Request) -> JSON:
    """Return the Response object of a request as it was when it was accepted."""
    params = request.params
    return response(
        id=request.id,
        agent_id=request.agent_id,
        created_at=request.created_at,
        metadata=request.metadata,
        conversation=params.get("conversation"),
        background=params.get("background", True),
        extra=params,
    )


def ended(closing: Closing, now: float) -> tuple[str, JSON]:
    """Return the status of a response that ended so at `now`, and its changes with it."""
    error, reason = closing.error, closing.incomplete_reason
    status = "incomplete" if reason else closing.status.value
    changes: JSON = {
        "status": status,
        "completed_at": int(now) if status == "completed" else None,
        "error": {"code": error.code, "message": error.message} if error else None,
        "incomplete_details": {"reason": reason} if reason else None,
        "usage": closing.usage,
        "output": closing.output,
    }
    return status, changes


def first_event(response: JSON) -> bytes:
    """Return event 0 of a log, `response.created`."""
    return encode({"type": "response.created", "sequence_number": 0, "response": response})
