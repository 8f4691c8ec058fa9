"""Appends whose commit may have been lost on the way back; the same for all adapters on servers."""

from __future__ import annotations

from collections.abc import Iterable

from perdure.ports import Append


class Doubts:
    """The last append of each request of which nobody knows whether it was stored."""

    def __init__(self) -> None:
        self._appends: dict[str, Append] = {}

    def about(self, append: Append) -> bool:
        """Tell whether an append is tried again that may be stored already."""
        before = self._appends.get(append.request_id)
        return before is not None and (before.claim_id, before.first) == (
            append.claim_id,
            append.first,
        )

    def add(self, appends: Iterable[Append]) -> None:
        """Remember what the next try has to look for."""
        self._appends |= {append.request_id: append for append in appends}

    def settle(self, appends: Iterable[Append]) -> None:
        """Forget what is known now."""
        for append in appends:
            self._appends.pop(append.request_id, None)
