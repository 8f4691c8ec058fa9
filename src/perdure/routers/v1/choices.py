"""Parameters whose values are a closed set: refused, with the values there are, when it is another.

Sources: Open Responses 2026-04-24; where OpenAI's service takes more, what that takes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from perdure.errors import Invalid
from perdure.model import JSON
from perdure.routers.v1 import items

CHOICES: Mapping[str, Sequence[str]] = {
    "truncation": ("auto", "disabled"),
    "service_tier": ("auto", "default", "flex", "scale", "priority"),
    "text.verbosity": ("low", "medium", "high"),
    "text.format.type": ("text", "json_object", "json_schema"),
    "reasoning.effort": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "reasoning.summary": ("auto", "concise", "detailed"),
}
INCLUDABLE = (
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
)
MODES = ("none", "auto", "required")
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check(given: JSON) -> None:
    """Refuse what is none of its values; raises `Invalid` naming the parameter."""
    for name, values in CHOICES.items():
        value = _at(given, name)
        if value is not None and value not in values:
            _refuse(name, value, values)
    for index, value in enumerate(given.get("include", ())):
        if value not in INCLUDABLE:
            _refuse(f"include[{index}]", value, INCLUDABLE)
    _check_format(_at(given, "text.format"))
    _check_tool_choice(given.get("tool_choice", "auto"), given.get("tools", ()))


def _check_format(form: JSON | None) -> None:
    if form is None:
        return
    if form.get("type") is None:
        items.missing("text.format.type")
    if form["type"] != "json_schema":
        return
    if form.get("name") is None:
        items.missing("text.format.name")
    if not isinstance(form["name"], str) or not NAME.fullmatch(form["name"]):
        detail = "Invalid 'text.format.name': letters, digits, _ and - only, at most 64."
        raise Invalid(detail, code="invalid_value", param="text.format.name")
    if form.get("schema") is None:
        items.missing("text.format.schema")
    if not isinstance(form["schema"], dict):
        items.wrong_type("text.format.schema", "an object", form["schema"])


def _check_tool_choice(choice: Any, tools: Sequence[JSON]) -> None:
    if isinstance(choice, str):
        if choice not in MODES:
            _refuse("tool_choice", choice, MODES)
        if choice == "required" and not tools:
            detail = "Tool choice 'required' must be specified with 'tools' parameter."
            raise Invalid(detail, code="invalid_value", param="tool_choice")
        return
    kind = choice.get("type")
    if not isinstance(kind, str):
        items.missing("tool_choice.type")
    if kind == "allowed_tools":
        return
    named = [tool.get("name") for tool in tools if tool["type"] == kind]
    wanted = choice.get("name") if kind in ("function", "custom") else None
    if kind == "function" and wanted is None:
        items.missing("tool_choice.name")
    if not named or (wanted is not None and wanted not in named):
        detail = f"Tool choice '{str(wanted or kind)[:100]}' not found in 'tools' parameter."
        raise Invalid(detail, code="invalid_value", param="tool_choice")


def _at(given: JSON, name: str) -> Any:
    """Return a value within objects; refuses what should be an object and is none."""
    *outer, last = name.split(".")
    found: Any = given
    for depth, key in enumerate(outer, 1):
        found = found.get(key)
        if found is None:
            return None
        if not isinstance(found, dict):
            items.wrong_type(".".join(outer[:depth]), "an object", found)
    return found.get(last)


def _refuse(name: str, value: object, values: Sequence[str]) -> NoReturn:
    if not isinstance(value, str):
        items.wrong_type(name, f"one of {', '.join(values)}", value)
    listed = ", ".join(f"'{one}'" for one in values)
    detail = f"Invalid value: '{value[:100]}'. Supported values are: {listed}."
    raise Invalid(detail, code="invalid_value", param=name)
