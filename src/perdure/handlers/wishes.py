"""The caller's parameters, in the words of Open Responses, for a Chat Completions server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.model import JSON

SAME = frozenset(
    {
        "parallel_tool_calls",
        "presence_penalty",
        "frequency_penalty",
        "temperature",
        "top_p",
        "user",
    }
)
"""Parameters that both dialects call alike."""


def chat_fields(params: Mapping[str, Any]) -> JSON:
    """Return the body fields of Chat Completions that say the same as `params`."""
    body: JSON = {key: params[key] for key in SAME & params.keys()}
    tools = [_tool(tool) for tool in params.get("tools", ()) if tool["type"] == "function"]
    if tools:
        body["tools"] = tools
        if "tool_choice" in params:
            body["tool_choice"] = _choice(params["tool_choice"])
    else:
        body.pop("parallel_tool_calls", None)
    if "max_output_tokens" in params:
        body["max_tokens"] = params["max_output_tokens"]
    effort = params.get("reasoning", {}).get("effort")
    if effort:
        body["reasoning_effort"] = effort
    form = params.get("text", {}).get("format")
    if isinstance(form, dict) and form.get("type") not in (None, "text"):
        body["response_format"] = _format(form)
    return body


def _tool(tool: JSON) -> JSON:
    told = ("name", "description", "parameters", "strict")
    function = {key: tool[key] for key in told if tool.get(key) is not None}
    return {"type": "function", "function": function}


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
