"""Answers in progress as they stand, for who looks now and then instead of following."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import msgspec

from perdure.errors import Gone, NotFound
from perdure.fold import Fold
from perdure.model import JSON, Status
from perdure.ports import RequestStore

READ_BYTES = 256 * 1024
SNAPSHOTS_MAX = 512


class Snapshot(msgspec.Struct, frozen=True):
    """An answer as it stood at `sequence_number`."""

    sequence_number: int
    status: Status
    text: str
    output: list[JSON]


class Snapshots:
    """Answers in progress, folded as far as somebody asked; each event is folded once."""

    def __init__(self, store: RequestStore) -> None:
        self._store = store
        self._folds: OrderedDict[str, tuple[Fold, asyncio.Lock]] = OrderedDict()

    async def take(self, request_id: str) -> Snapshot:
        """Return the answer as far as it is durable."""
        fold, lock = self._folds.setdefault(request_id, (Fold(), asyncio.Lock()))
        self._folds.move_to_end(request_id)
        async with lock:
            try:
                await self._advance(request_id, fold)
            except Gone:
                # Folded in part long ago, and pruned since: the answer is told again from 0.
                fold = Fold()
                await self._advance(request_id, fold)
        if fold.ended:
            self._folds.pop(request_id, None)
        while len(self._folds) > SNAPSHOTS_MAX:
            self._folds.popitem(last=False)
        return Snapshot(fold.sequence_number, fold.status, fold.text(), fold.answer())

    async def _advance(self, request_id: str, fold: Fold) -> None:
        while True:
            found = await self._store.read({request_id: fold.sequence_number}, READ_BYTES)
            slice_ = found.get(request_id)
            if slice_ is None:
                detail = f"There is no request {request_id}."
                raise NotFound(detail, code="request_not_found")
            for event in slice_.events:
                fold.apply(event)
            if not slice_.events or fold.sequence_number >= slice_.last:
                return
