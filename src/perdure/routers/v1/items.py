"""Input items: read, checked, and turned into the messages of a chat."""

from __future__ import annotations

import secrets
from typing import Any, Literal, NoReturn

from perdure.errors import Invalid
from perdure.model import JSON, new_id
from perdure.ports import NewMessage
from perdure.routers.v1.shown import message_item, text_part
from perdure.talk import flaw, text_in, wrapped

ITEMS_MAX = 10_000
PREFIXES = {"function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
ROLES = ("user", "assistant", "system", "developer")
REQUIRED: dict[str, tuple[str, ...]] = {
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
    "reasoning": ("summary",),
    "item_reference": ("id",),
}
_TEXT_ONLY = {"input_text", "output_text", "text"}

Role = Literal["user", "assistant", "system", "developer", "tool"]


def read(value: Any, name: str = "input") -> list[JSON]:
    """Return what was given as items, each with an id; raises `Invalid` naming the wrong part."""
    if value is None or value == []:
        return []
    if isinstance(value, str):
        return [message_item(new_id("msg"), "user", [text_part("input_text", value)])]
    if not isinstance(value, list):
        wrong_type(name, "a string or a list of items", value)
    if len(value) > ITEMS_MAX:
        detail = f"'{name}' has {len(value)} items; at most {ITEMS_MAX} are allowed."
        raise Invalid(detail, code="array_above_max_length", param=name)
    return [_item(item, f"{name}[{index}]") for index, item in enumerate(value)]


def _item(item: Any, name: str) -> JSON:
    if not isinstance(item, dict):
        wrong_type(name, "an object", item)
    kind = item.get("type") or ("message" if "role" in item else "item_reference")
    if not isinstance(kind, str):
        wrong_type(f"{name}.type", "a string", kind)
    if kind == "message":
        return _message(item, name)
    for key in REQUIRED.get(kind, ()):
        if item.get(key) is None:
            missing(f"{name}.{key}")
    for key in ("id", "call_id", "name", "arguments"):
        if item.get(key) is not None and not isinstance(item[key], str):
            wrong_type(f"{name}.{key}", "a string", item[key])
    if kind == "function_call_output" and not isinstance(item["output"], str | list):
        wrong_type(f"{name}.output", "a string or a list of parts", item["output"])
    made = f"{PREFIXES.get(kind, 'item')}_{secrets.token_hex(12)}"
    status = {"status": "completed"} if kind.startswith("function_call") else {}
    return {**status, **item, "type": kind, "id": item.get("id") or made}


def _message(item: JSON, name: str) -> JSON:
    role, content = item.get("role"), item.get("content")
    if role not in ROLES:
        detail = f"Invalid value: '{role}'. Supported values are: {', '.join(ROLES)}."
        raise Invalid(detail, code="invalid_value", param=f"{name}.role")
    if content is None:
        missing(f"{name}.content")
    if isinstance(content, str):
        kind = "output_text" if role == "assistant" else "input_text"
        parts: list[Any] = [text_part(kind, content)]
    elif isinstance(content, list):
        parts = content
    else:
        wrong_type(f"{name}.content", "a string or a list of parts", content)
    for index, part in enumerate(parts):
        _check_part(part, f"{name}.content[{index}]")
    extra = {"phase": item["phase"]} if item.get("phase") else {}
    # Always an id of ours: the client's own may be that of another message here.
    return message_item(new_id("msg"), role, parts) | extra


def _check_part(part: Any, name: str) -> None:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        wrong_type(name, "an object with a type", part)
    if part["type"] in _TEXT_ONLY and not isinstance(part.get("text"), str):
        wrong_type(f"{name}.text", "a string", part.get("text"))
    wrong = flaw(part)
    if wrong:
        raise Invalid(f"Invalid value for '{name}': {wrong}.", code="invalid_value", param=name)


def as_message(item: JSON) -> NewMessage:
    """Return an item as a message to store; plain text stays plain."""
    if item["type"] != "message":
        role: Role = "tool" if item["type"].endswith("_output") else "assistant"
        output = item.get("output")
        return NewMessage(new_id("msg"), role, text_in(output) if output else "", wrapped(item))
    parts = item["content"]
    text = text_in(parts)
    if "phase" in item:
        return NewMessage(item["id"], item["role"], text, wrapped(item))
    plain = all(part["type"] in _TEXT_ONLY for part in parts)
    return NewMessage(item["id"], item["role"], text, None if plain else list(parts))


def wrong_type(name: str, expected: str, value: object) -> NoReturn:
    """Refuse a value of the wrong type."""
    detail = f"Invalid type for '{name}': expected {expected}, but got {_called(value)} instead."
    raise Invalid(detail, code="invalid_type", param=name)


def missing(name: str) -> NoReturn:
    """Refuse a call that lacks a parameter."""
    raise Invalid(
        f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name
    )


def _called(value: object) -> str:
    names = {str: "a string", bool: "a boolean", int: "an integer", float: "a decimal"}
    names |= {list: "an array", dict: "an object", type(None): "null"}
    return names.get(type(value), "something else")
