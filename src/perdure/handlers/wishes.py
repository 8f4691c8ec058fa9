"""The caller's parameters, in the words of Open Responses, for a Chat Completions server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from perdure.model import JSON

SAME = frozenset(
    {
        "parallel_tool_calls",
        "presence_penalty",
        "frequency_penalty",
        "prompt_cache_key",
        "safety_identifier",
        "service_tier",
        "temperature",
        "top_p",
        "user",
    }
)
"""Parameters that both dialects call alike."""


def chat_fields(params: Mapping[str, Any], limit: str = "max_tokens") -> JSON:
    """Return the body fields of Chat Completions that say the same as `params`.

    `limit` is the server's name of `max_output_tokens`.
    """
    body: JSON = {key: params[key] for key in SAME & params.keys()}
    tools = [_tool(tool) for tool in offered(params)]
    if tools:
        body["tools"] = tools
        if "tool_choice" in params:
            body["tool_choice"] = _choice(mode_of(params["tool_choice"]))
    else:
        body.pop("parallel_tool_calls", None)
    if "max_output_tokens" in params:
        body[limit] = params["max_output_tokens"]
    effort = params.get("reasoning", {}).get("effort")
    if effort:
        body["reasoning_effort"] = effort
    text = params.get("text", {})
    if text.get("verbosity"):
        body["verbosity"] = text["verbosity"]
    form = text.get("format")
    if isinstance(form, dict) and form.get("type") not in (None, "text"):
        body["response_format"] = _format(form)
    return body


def _tool(tool: JSON) -> JSON:
    told = ("name", "description", "parameters", "strict")
    function = {key: tool[key] for key in told if tool.get(key) is not None}
    return {"type": "function", "function": function}


def offered(params: Mapping[str, Any]) -> list[JSON]:
    """Return the caller's functions of which the agent may know.

    Where `tool_choice` allows only some, those alone: what an agent does not know it cannot call,
    whatever its server makes of `tool_choice`. Source: Open Responses, `allowed_tools`.
    """
    functions = [tool for tool in params.get("tools", ()) if tool["type"] == "function"]
    choice = params.get("tool_choice")
    if not _allows_some(choice):
        return functions
    allowed = [one.get("name") for one in choice.get("tools") or () if isinstance(one, dict)]
    return [tool for tool in functions if tool.get("name") in allowed]


def mode_of(choice: Any) -> Any:
    """Return `tool_choice` without the list of allowed tools: `offered` has seen to that."""
    return (choice.get("mode") or "auto") if _allows_some(choice) else choice


def _allows_some(choice: Any) -> TypeGuard[JSON]:
    return isinstance(choice, dict) and choice.get("type") == "allowed_tools"


def _choice(choice: Any) -> Any:
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice


def _format(form: JSON) -> JSON:
    if form["type"] != "json_schema":
        return {"type": form["type"]}
    return {
        "type": "json_schema",
        "json_schema": {key: form[key] for key in form if key != "type"},
    }
