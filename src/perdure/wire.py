"""An event as bytes: how it is encoded, and what can be read from it without parsing.

An encoded event is one JSON object without raw line breaks that begins
`{"type":"…","sequence_number":N`; in that order, so that type and number are found by position.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
"""Types of the event that ends a log."""

_TYPE = len(b'{"type":"')
_NUMBER = len(b'","sequence_number":')
_json = msgspec.json.Encoder()
encode_text = _json.encode
"""Return an ASCII text as JSON: what `encode` does, for the hot path."""

# Legal in JSON, yet line breaks to `str.splitlines`, with which some clients cut a stream's lines.
_LINE_BREAKS = (
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
    (b"\xc2\x85", b"\\u0085"),
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def kind(event: bytes) -> str:
    """Return an encoded event's type."""
    return kind_bytes(event).decode()


def kind_bytes(event: bytes) -> bytes:
    """Return an encoded event's type as it stands there."""
    return event[_TYPE : event.index(b'"', _TYPE)]


def sse_frame(number: int, event: bytes) -> bytes:
    """Return an encoded event as a server-sent event: its number, its type, itself."""
    kind = event[_TYPE : event.index(b'"', _TYPE)]
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, kind, event)


def number(event: bytes) -> int:
    """Return an encoded event's sequence number."""
    start = event.index(b'"', _TYPE) + _NUMBER
    # Without a further field `find` gives -1, which leaves out the closing brace.
    return int(event[start : event.find(b",", start)])


def is_terminal(event: bytes) -> bool:
    """Say whether an encoded event ends its log."""
    return kind(event) in TERMINAL


def clean(value: Any) -> Any:
    """Return JSON data in which U+FFFD stands for what UTF-8 or PostgreSQL cannot hold.

    These are lone surrogates (half of a character that an upstream cut in two) and NUL.
    """
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value) if not value.isprintable() else value
    if isinstance(value, dict):
        return {clean(key): clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [clean(inner) for inner in value]
    return value


def encode(value: Any) -> bytes:
    """Return clean data as JSON that no client takes for two lines."""
    encoded = _json.encode(value)
    if not encoded.isascii():
        for raw, escaped in _LINE_BREAKS:
            if raw in encoded:
                encoded = encoded.replace(raw, escaped)
    return encoded
