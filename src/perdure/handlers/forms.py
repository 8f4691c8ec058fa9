"""In which form a server answers, whatever it calls it; and its frames as JSON."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from perdure.handlers import failures
from perdure.http import Response
from perdure.wire import clean

FIELDS = (b"data", b"event", b"id", b"retry", b":")
"""What a line of an event stream begins with."""
BLANK = b" \t\r\n\xef\xbb\xbf"


async def is_whole(response: Response, *secrets: str) -> bool:
    """Tell whether a response with status 200 is JSON in one piece; False: events, or nothing.

    Raises `UpstreamError` for a web page or plain text: to ask again would bring the same.
    """
    kind = response.headers.get("content-type", "").lower()
    head = (await response.peek()).lstrip(BLANK)
    if not head:
        return "json" in kind
    if head[:1] in b"{[":
        return True
    if any(_begin_alike(head, field) for field in FIELDS):
        return False
    if "event-stream" in kind and head[:1] != b"<":
        return False
    raise failures.no_stream(kind, await response.read(failures.BODY_BYTES_MAX), *secrets)


def frame_of(data: bytes) -> Any:
    """Return a frame's JSON; U+FFFD stands for half a character. Raises `UpstreamError`."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:  # the strict decoder takes no lone surrogates, into which some servers cut characters
        return clean(json.loads(data))
    except (ValueError, RecursionError):
        raise failures.garbage("a frame that is not JSON.") from None


def _begin_alike(head: bytes, field: bytes) -> bool:
    """Compare as much as is here: a read may end anywhere."""
    return head[: len(field)] == field[: len(head)]
