"""Trace contexts as they are passed on: from a caller to the request's row, from there upstream.

Source: W3C Trace Context. They travel in context variables, so that every way to ask and every
handler carries them without knowing.
"""

from __future__ import annotations

import re
from contextvars import ContextVar

CALLER: ContextVar[str | None] = ContextVar("perdure.traceparent.caller", default=None)
"""What the call that is being answered named."""
UPSTREAM: ContextVar[str | None] = ContextVar("perdure.traceparent.upstream", default=None)
"""What calls to the agent's server name."""

_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def valid(header: str | None) -> str | None:
    """Return a `traceparent` header in the form of version 00, or None when it is none."""
    given = (header or "").strip().lower()
    found = _FORM.match(given)
    if found is None or (given.startswith("00") and found.end() != len(given)):
        return None
    return f"00{found.group()[2:]}"
