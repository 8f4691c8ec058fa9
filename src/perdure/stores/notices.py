"""What a webhook says of an end; the same for all adapters."""

from __future__ import annotations

from perdure.events import Closing


def type_of(closing: Closing) -> str:
    """Return the type of the webhook that tells this end."""
    word = "incomplete" if closing.incomplete_reason else closing.status.value
    return f"response.{word}"
