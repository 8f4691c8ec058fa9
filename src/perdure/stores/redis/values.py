"""Nouns of `perdure.model` as hashes and JSON in Redis, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import pairwise
from typing import Any

import msgspec

from perdure.model import Chat, Message, Request, Webhook
from perdure.wire import clean

Fields = dict[str, str]
"""A hash as it was read, and as it is going to be."""

_JSON = {"error", "usage", "output", "metadata", "params", "upstream"}
_encode = msgspec.json.Encoder().encode
_placed = msgspec.json.Decoder(tuple[int, Message]).decode


class Waiting(msgspec.Struct, frozen=True, array_like=True):
    """What admission has to know of a request that waits or is active."""

    created_at: float
    user_id: str
    agent_id: str
    chat_id: str
    not_before: float | None = None
    follows: str | None = None


waiting = msgspec.json.Decoder(Waiting).decode


def plain(value: object) -> str | bytes:
    """Return a value as Redis keeps it; what is no plain value becomes JSON."""
    match value:
        case bytes():
            return value
        case bool():
            return "1" if value else "0"
        case Enum():
            return str(value.value)
        case str():
            return str(clean(value))
        case int() | float():
            return repr(value)
    return packed(value)


def packed(value: object) -> bytes:
    """Return a value as JSON that UTF-8 can hold."""
    return _encode(clean(msgspec.to_builtins(value)))


def fields(reply: Mapping[bytes, bytes]) -> Fields:
    """Return a hash as it was read; empty when there is none."""
    return {name.decode(): value.decode() for name, value in reply.items()}


def pairs(reply: Sequence[bytes]) -> Fields:
    """Return a hash that a script has read."""
    return {name.decode(): value.decode() for name, value in [*pairwise(reply)][::2]}


def request(found: Fields) -> Request:
    """Make a request of its hash."""
    told: dict[str, Any] = _decoded(found)
    told["sequence_number"] = int(found["next_sequence"]) - 1
    return msgspec.convert(told, Request, strict=False)


def chat(found: Fields, unfinished: int) -> Chat:
    """Make a chat of its hash; `unfinished`: how many of its requests wait or run."""
    told: dict[str, Any] = _decoded(found)
    told["deleted"] = "deleted_at" in found
    runs = running(found)
    told["running_request_id"] = runs[0] if runs else None
    told["queued"] = unfinished - len(runs)
    return msgspec.convert(told, Chat, strict=False)


def running(found: Fields) -> list[str]:
    """Return the ids of a chat's requests that are being answered; of forks there are several."""
    return found.get("running", "").split()


def webhook(found: Fields) -> Webhook:
    """Make a webhook of its hash; its error is a plain sentence."""
    return msgspec.convert(dict(found), Webhook, strict=False)


def placed(message: Message, position: int) -> bytes:
    """Return a message with its place in its chat."""
    return packed((position, message))


def message(value: bytes) -> tuple[int, Message]:
    """Return a message after its place in its chat."""
    return _placed(value)


def _decoded(found: Fields) -> dict[str, Any]:
    return {
        name: msgspec.json.decode(value) if name in _JSON else value
        for name, value in found.items()
    }
