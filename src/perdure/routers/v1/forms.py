"""A urlencoded body as the JSON that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from perdure.errors import Invalid
from perdure.model import JSON

FIELDS_MAX = 1000


def read(body: bytes, kinds: Mapping[str, tuple[type, ...]]) -> JSON:
    """Return a form as an object; raises `Invalid`.

    A field that is no string is written as JSON (`stream=true`, `tools=[…]`); `include[]=a` adds to
    a list, `metadata[topic]=x` to an object. `kinds`: which types the known fields have.
    """
    made: JSON = {}
    try:
        fields = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=FIELDS_MAX
        )
    except ValueError:
        raise Invalid("We could not parse the form of your request.", code="invalid_form") from None
    for name, text in fields:
        _put(made, name, _value(text, kinds.get(name, (str, list))))
    return made


def _put(made: JSON, name: str, value: Any) -> None:
    key, bracket, inner = name.partition("[")
    if not bracket or not inner.endswith("]"):
        made[name] = value
        return
    within = made.setdefault(key, {} if inner != "]" else [])
    if isinstance(within, list) and inner == "]":
        within.append(value)
    elif isinstance(within, dict) and inner != "]":
        within[inner[:-1]] = value
    else:
        detail = f"'{key[:64]}' is given as more than one kind of thing."
        raise Invalid(detail, code="invalid_type", param=key[:64])


def _value(text: str, kinds: tuple[type, ...]) -> Any:
    """Return a field's value: a text stays one unless it is a list or object that fits."""
    if kinds == (str,) or (str in kinds and text[:1] not in ("[", "{")):
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
