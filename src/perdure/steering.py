"""Signs that steer a terminal, or turn a text's direction: shown, they do nothing."""

from __future__ import annotations

import re

STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and newline; what overrides or isolates a direction."""


def harmless(text: str) -> str:
    """Return a text of somebody else's in which each such sign stands as its escape."""
    return STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
