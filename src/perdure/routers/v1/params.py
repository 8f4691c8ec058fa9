"""The parameters of `POST /v1/responses`: checked, and refused in OpenAI's words.

What we do not use is kept and echoed; unknown keys are ignored.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request

from perdure.errors import Invalid
from perdure.model import JSON
from perdure.routers.body import refuse_deep
from perdure.routers.shapes import storable
from perdure.routers.v1 import choices, forms, items

FORM = "application/x-www-form-urlencoded"
PAIRS_MAX, KEY_MAX, VALUE_MAX = 16, 64, 512
KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "model": ((str,), "a string"),
    "instructions": ((str,), "a string"),
    "background": ((bool,), "a boolean"),
    "stream": ((bool,), "a boolean"),
    "store": ((bool,), "a boolean"),
    "previous_response_id": ((str,), "a string"),
    "conversation": ((str, dict), "a string or an object"),
    "tools": ((list,), "an array of objects"),
    "tool_choice": ((str, dict), "a string or an object"),
    "parallel_tool_calls": ((bool,), "a boolean"),
    "metadata": ((dict,), "an object"),
    "include": ((list,), "an array"),
    "max_output_tokens": ((int,), "an integer"),
    "max_tool_calls": ((int,), "an integer"),
    "text": ((dict,), "an object"),
    "reasoning": ((dict,), "an object"),
    "truncation": ((str,), "a string"),
    "temperature": ((int, float), "a decimal"),
    "top_p": ((int, float), "a decimal"),
    "top_logprobs": ((int,), "an integer"),
    "presence_penalty": ((int, float), "a decimal"),
    "frequency_penalty": ((int, float), "a decimal"),
    "stream_options": ((dict,), "an object"),
    "service_tier": ((str,), "a string"),
    "safety_identifier": ((str,), "a string"),
    "prompt_cache_key": ((str,), "a string"),
    "prompt_cache_retention": ((str,), "a string"),
    "prompt": ((dict,), "an object"),
    "user": ((str,), "a string"),
}
RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "top_logprobs": (0, 20),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "max_output_tokens": (1, float("inf")),
    "max_tool_calls": (1, float("inf")),
}
LENGTHS: Mapping[str, int] = {"safety_identifier": 64, "prompt_cache_key": 64}
NOT_KEPT = frozenset({"model", "stream", "metadata", "stream_options"})


class Wish(msgspec.Struct, frozen=True):
    """A checked call: its parameters as given (null = absent) and its input as items."""

    given: JSON
    input: list[JSON]
    fingerprint: str

    @property
    def store(self) -> bool:
        """Whether the response is kept."""
        return bool(self.given.get("store", True))

    @property
    def background(self) -> bool:
        """Whether the call returns at once."""
        return bool(self.given.get("background", False))

    @property
    def stream(self) -> bool:
        """Whether the call is answered by events."""
        return bool(self.given.get("stream", False))

    @property
    def conversation(self) -> str | None:
        """The id of the conversation it belongs to."""
        named = self.given.get("conversation")
        return named.get("id") if isinstance(named, dict) else named

    @property
    def params(self) -> JSON:
        """What the request keeps: to be echoed, and passed to the agent."""
        kept = {key: value for key, value in self.given.items() if key not in NOT_KEPT}
        kept |= {"background": self.background, "store": self.store}
        return kept | ({} if self.conversation is None else {"conversation": self.conversation})


async def read_body(request: Request) -> JSON:
    """Return a call's body, JSON or a form; raises `Invalid`. Nothing at all is an empty object."""
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # `curl -d '{…}'` says that it sends a form.
    if kind == FORM and not body.lstrip().startswith(b"{"):
        return _storable(forms.read(body, {name: kinds for name, (kinds, _) in KINDS.items()}))
    return decode(body) if body.strip() else {}


def decode(body: bytes) -> JSON:
    """Return a body's JSON object; raises `Invalid`."""
    refuse_deep(body)
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        detail = "We could not parse the JSON body of your request."
        raise Invalid(detail, code="invalid_json") from None
    if not isinstance(value, dict):
        raise Invalid("The body must be a JSON object.", code="invalid_type")
    return _storable(value)


def _storable(value: JSON) -> JSON:
    try:
        storable(value)
    except ValueError as error:
        detail = f"The body cannot be kept: {error}."
        raise Invalid(detail, code="invalid_value") from None
    return value


def read(body: JSON) -> Wish:
    """Check the parameters of a create call. Raises `Invalid` naming the wrong one."""
    given = {key: body[key] for key in KINDS if body.get(key) is not None}
    for name, value in given.items():
        _check_kind(name, value)
    check_metadata(given.get("metadata", {}))
    _check_tools(given.get("tools", []))
    choices.check(given)
    fingerprint = hashlib.sha256(msgspec.json.encode(body, order="sorted")).hexdigest()
    wish = Wish(given, items.read(body.get("input")), fingerprint)
    _check_together(wish)
    return wish


def metadata_of(body: JSON) -> dict[str, str]:
    """Return a body's metadata, checked; null and absent are none."""
    given = body.get("metadata")
    metadata: dict[str, str] = {} if given is None else given
    check_metadata(metadata)
    return metadata


def check_metadata(metadata: Any) -> None:
    """Refuse metadata that is too much or no pairs of strings."""
    if not isinstance(metadata, dict):
        items.wrong_type("metadata", "an object", metadata)
    if len(metadata) > PAIRS_MAX:
        detail = f"Invalid 'metadata': too many properties, at most {PAIRS_MAX} are allowed."
        raise Invalid(detail, code="object_above_max_properties", param="metadata")
    for key, value in metadata.items():
        name = f"metadata.{key[:KEY_MAX]}"
        if not isinstance(value, str):
            items.wrong_type(name, "a string", value)
        if len(key) > KEY_MAX or len(value) > VALUE_MAX:
            detail = f"'{name}' is too long: keys hold {KEY_MAX} characters, values {VALUE_MAX}."
            raise Invalid(detail, code="string_above_max_length", param=name)


def _check_kind(name: str, value: Any) -> None:
    kinds, called = KINDS[name]
    fits = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    if not fits:
        items.wrong_type(name, called, value)
    low, high = RANGES.get(name, (float("-inf"), float("inf")))
    if isinstance(value, int | float) and not low <= value <= high:
        kind = "integer" if int in kinds and float not in kinds else "decimal"
        below = value < low
        detail = f"Invalid '{name}': {kind} {'below minimum' if below else 'above maximum'} value. "
        detail += f"Expected a value {f'>= {low:g}' if below else f'<= {high:g}'}, got {value}."
        code = f"{kind}_{'below_min' if below else 'above_max'}_value"
        raise Invalid(detail, code=code, param=name)
    if isinstance(value, str) and len(value) > LENGTHS.get(name, len(value)):
        detail = f"Invalid '{name}': string too long, at most {LENGTHS[name]} characters."
        raise Invalid(detail, code="string_above_max_length", param=name)


def tools_of(body: JSON) -> list[JSON]:
    """Return a body's tools, checked; null and absent are none. Raises `Invalid`."""
    tools = body.get("tools")
    if tools is None:
        return []
    _check_kind("tools", tools)
    _check_tools(tools)
    return list(tools)


def _check_tools(tools: list[Any]) -> None:
    for index, tool in enumerate(tools):
        name = f"tools[{index}]"
        if not isinstance(tool, dict):
            items.wrong_type(name, "an object", tool)
        if not isinstance(tool.get("type"), str):
            items.missing(f"{name}.type")
        if tool["type"] != "function":
            continue
        if not isinstance(tool.get("name"), str) or not tool["name"]:
            items.missing(f"{name}.name")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", tool["name"]):
            detail = f"Invalid '{name}.name': letters, digits, _ and - only, at most 64."
            raise Invalid(detail, code="invalid_value", param=f"{name}.name")


def _check_together(wish: Wish) -> None:
    given = wish.given
    conversation = given.get("conversation")
    if isinstance(conversation, dict) and not isinstance(conversation.get("id"), str):
        items.missing("conversation.id")
    if wish.background and not wish.store:
        detail = "'background' requires 'store' to be true."
        raise Invalid(detail, code="unsupported_parameter", param="background")
    has_conversation = wish.conversation is not None
    if has_conversation and "previous_response_id" in given:
        detail = "'previous_response_id' and 'conversation' cannot be used together."
        raise Invalid(detail, code="mutually_exclusive_parameters", param="previous_response_id")
    if has_conversation and not wish.store:
        detail = "A conversation keeps its items: 'store' cannot be false with 'conversation'."
        raise Invalid(detail, code="unsupported_parameter", param="store")
    if not wish.input and not has_conversation:
        items.missing("input")
