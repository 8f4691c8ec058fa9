"""How often one person may call and ask: counted here, or in Redis for all processes together."""

from __future__ import annotations

import logging
import math
import time
from typing import Literal

import msgspec
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError

from perdure.settings import Limits

log = logging.getLogger("perdure")

Sort = Literal["calls", "questions", "sign-ins"]

SIGN_INS_PER_MINUTE = 60
"""Tries to sign in from one address."""
SHARED_AGAIN_S = 10
"""How long to count alone after Redis did not answer."""


class Standing(msgspec.Struct, frozen=True):
    """Whether it was within the rate, how much is left, and for how long to wait."""

    good: bool
    limit: int
    remaining: int
    reset_s: int


class Rates:
    """Counts what each person does in a minute that slides.

    Args:
        limits: how much of each sort; 0 = as much as one likes.
        shared: where all processes count together; None = each by itself.

    """

    def __init__(self, limits: Limits, shared: Storage | None = None) -> None:
        self._items: dict[Sort, RateLimitItem | None] = {
            "calls": _item(limits.calls_per_minute_per_user),
            "questions": _item(limits.requests_per_minute_per_user),
            "sign-ins": _item(SIGN_INS_PER_MINUTE),
        }
        self._alone = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared = SlidingWindowCounterRateLimiter(shared) if shared is not None else None
        self._alone_until = 0.0

    async def hit(self, sort: Sort, whose: str) -> Standing | None:
        """Count one; return whether it was within the rate and what is left; None: no limit."""
        item = self._items[sort]
        if item is None:
            return None
        if self._shared is not None and time.monotonic() > self._alone_until:
            try:
                return await _count(self._shared, item, sort, whose)
            except StorageError as error:
                # Counting alone is better than not counting, or than refusing everybody.
                self._alone_until = time.monotonic() + SHARED_AGAIN_S
                log.warning("rates are counted by each process alone for now: %s", error)
        return await _count(self._alone, item, sort, whose)

    async def close(self) -> None:
        """Let go of connections."""
        if self._shared is not None:
            await self._shared.storage.bridge.storage.aclose()  # type: ignore[attr-defined]


async def _count(
    limiter: SlidingWindowCounterRateLimiter, item: RateLimitItem, sort: str, whose: str
) -> Standing:
    good = await limiter.hit(item, sort, whose)
    at, remaining = await limiter.get_window_stats(item, sort, whose)
    reset_s = max(1, math.ceil(at - time.time()))
    return Standing(good, item.amount, max(0, remaining), reset_s)


def _item(amount: int) -> RateLimitItem | None:
    return RateLimitItemPerMinute(amount) if amount else None
