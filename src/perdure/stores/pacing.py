"""How long stores wait before they offer a request again; the same for all adapters."""

from __future__ import annotations

DELIVERY_WAIT_MAX_S = 300.0
BACKOFF_MAX_S = 60.0
COPY_WAIT_MIN_S = 0.05
"""Least distance of two deliveries of one request, however many processes look for lost ones."""


def backoff_s(crashes: int) -> float:
    """Return how long to wait after the n-th lost worker: at once, then 2, 4 … seconds."""
    return 0.0 if crashes <= 1 else min(BACKOFF_MAX_S, 2.0 ** (crashes - 1))
