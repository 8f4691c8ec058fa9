"""Which events of a Responses stream belong to the same item, whatever they call it.

Most servers name an item by one id throughout. Some give each event an id of its own, and only
`output_index` or a call's id stays; some leave ids out of the deltas; some give nothing, and then
the open item of that kind is meant.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from perdure.model import JSON

KINDS: Mapping[str, str] = {
    "output_text": "message",
    "refusal": "message",
    "reasoning_summary_text": "reasoning",
    "reasoning_text": "reasoning",
    "reasoning": "reasoning",
    "function_call_arguments": "function_call",
}
"""The kind of item into which each kind of delta goes."""
OPEN_MAX = 64
"""How many items may be open at once: of a server that never says done, the oldest are let go."""


class _Item(msgspec.Struct):
    """What is known of an item: its kind, and what the server has called it."""

    kind: str
    name: str
    index: int | None
    call_id: str
    key: str = ""

    def is_same(self, other: _Item) -> bool:
        """Tell whether this open item is the one that an event calls `other`."""
        if self.kind != other.kind:
            return False
        if self.call_id and other.call_id:
            return self.call_id == other.call_id
        if self.index is not None and other.index is not None:
            return self.index == other.index
        return not (self.name and other.name)


class ItemKeys:
    """Gives each item a key: the first id it is called by, else one of its place or its call."""

    def __init__(self) -> None:
        self._open: list[_Item] = []
        self._keys: dict[str, str] = {}  # by id

    def begin(self, event: JSON) -> str:
        """Return the key of an item that an event announces."""
        return self._add(_of_item(event))

    def of(self, kind: str, event: JSON) -> str:
        """Return the key of the item of a kind to which a delta belongs; it may be its first."""
        item = _Item(kind, str(event.get("item_id") or ""), _index(event), "")
        found = self._find(item)
        return self._add(item) if found is None else found

    def end(self, event: JSON) -> str:
        """Return the key of an item that an event tells whole: nothing of it follows."""
        item = _of_item(event)
        key = self._find(item)
        if key is None:
            return _key(item)
        self._open = [one for one in self._open if one.key != key]
        if item.name:
            self._keys[item.name] = key
        return key

    def _add(self, item: _Item) -> str:
        item.key = self._keys.get(item.name) or _key(item)
        self._open.append(item)
        del self._open[:-OPEN_MAX]
        if item.name:
            self._keys[item.name] = item.key
        return item.key

    def _find(self, item: _Item) -> str | None:
        if item.name in self._keys:
            return self._keys[item.name]
        return next((one.key for one in reversed(self._open) if one.is_same(item)), None)


def _of_item(event: JSON) -> _Item:
    told = event["item"]
    name = event.get("item_id") or told.get("id") or ""
    return _Item(told.get("type") or "", str(name), _index(event), str(told.get("call_id") or ""))


def _key(item: _Item) -> str:
    if item.name:
        return item.name
    if item.index is not None:
        return f"#{item.index}"
    return f"{item.kind} {item.call_id}" if item.call_id else ""  # an output has its call's id


def _index(event: JSON) -> int | None:
    index = event.get("output_index")
    return index if isinstance(index, int) else None
