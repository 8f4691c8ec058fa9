"""Appends whose commit may have been lost on the way back; the same for all adapters on servers."""

from __future__ import annotations

import time
from collections.abc import Iterable

from perdure.ports import Append

KEPT_S = 300.0
"""Longer than anybody tries an append again; the claim it names has lapsed by then."""


class Doubts:
    """The last append of each request of which nobody knows whether it was stored."""

    def __init__(self) -> None:
        self._appends: dict[str, Append] = {}
        self._added: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._appends)

    def about(self, append: Append) -> bool:
        """Tell whether an append is tried again that may be stored already."""
        before = self._appends.get(append.request_id)
        return before is not None and (before.claim_id, before.first) == (
            append.claim_id,
            append.first,
        )

    def add(self, appends: Iterable[Append]) -> None:
        """Remember what the next try has to look for; what was given up long ago is forgotten."""
        now = time.monotonic()
        for request_id in [one for one, at in self._added.items() if now - at > KEPT_S]:
            self._forget(request_id)
        for append in appends:
            self._appends[append.request_id] = append
            self._added[append.request_id] = now

    def settle(self, appends: Iterable[Append]) -> None:
        """Forget what is known now."""
        if self._appends:
            for append in appends:
                self._forget(append.request_id)

    def _forget(self, request_id: str) -> None:
        self._appends.pop(request_id, None)
        self._added.pop(request_id, None)
