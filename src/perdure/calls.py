"""Which pieces of tool calls belong together, while several calls stream at once."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import msgspec

from perdure.deltas import ToolCall
from perdure.items import Item, parses


class Call(msgspec.Struct, eq=False):
    """One tool call.

    `pieces` of its arguments are not in the log yet, `last` is the latest that was not blank,
    `item` is its item once it is opened.
    """

    name: str
    call_id: str
    pieces: list[str]
    last: str = ""
    item: Item | None = None


class Calls:
    """The tool calls of one attempt.

    Args:
        used: call ids that the log already holds. None may occur twice: readers take a call id for
            the call's identity, and agents with ids such as `call_0` repeat them in a new attempt.

    """

    def __init__(self, used: Iterable[str] = ()) -> None:
        self.waiting: list[Call] = []
        self.waiting_characters = 0
        self._used = set(used)
        self._given: dict[str, str] = {}
        self._by_key: dict[str, Call] = {}

    def piece(self, delta: ToolCall) -> Call | None:
        """Add a piece to its call and return the call; None if the piece says nothing new."""
        call = self._by_key.get(delta.key)
        if call is None:
            call = Call(delta.name, delta.call_id, [])
        elif call.item is not None and call.item.done:
            call = _successor(call, call.item.head["arguments"], delta)
        if call is None:
            return None
        self._by_key[delta.key] = call
        call.name = call.name or delta.name
        call.call_id = call.call_id or delta.call_id
        call.pieces.append(delta.arguments)
        call.last = delta.arguments.strip() or call.last
        return call

    def half(self, item: Item) -> bool:
        """Say whether an open call's arguments still lack something."""
        call = next((call for call in self._by_key.values() if call.item is item), None)
        # The last character tells it most of the time; to parse at every piece would cost O(n²).
        return call is not None and not (
            call.last.endswith("}") and parses(item.parts[0].text.getvalue())
        )

    def wait(self, call: Call) -> None:
        """Keep a call's pieces until the open item is closed."""
        self.waiting_characters += len(call.pieces[-1])
        if call not in self.waiting:
            self.waiting.append(call)

    def next(self) -> Call:
        """Return the call that has waited longest."""
        call = self.waiting.pop(0)
        self.waiting_characters = sum(len(piece) for call in self.waiting for piece in call.pieces)
        return call

    def give_id(self, call_id: str) -> str:
        """Return the id under which a call enters the log: the agent's own if it is new there."""
        given = call_id or f"call_{secrets.token_hex(12)}"
        while given in self._used:
            given = f"{call_id}_{secrets.token_hex(4)}"
        self._used.add(given)
        self._given[call_id] = given
        return given

    def given_id(self, call_id: str) -> str:
        """Return the log's id of the latest call that the agent names so."""
        return self._given.get(call_id, call_id)


def _successor(former: Call, arguments: str, delta: ToolCall) -> Call | None:
    """Return the call to which a piece belongs whose key names a call closed with `arguments`.

    A whole call is followed by a new one under its key. One that was closed too early is told
    again with all its pieces, in an item of its own; the half one does not count any more.
    """
    whole = parses(arguments)
    if whole and not (delta.name or delta.call_id or delta.arguments.strip()):
        return None
    same = delta.name in ("", former.name) and delta.call_id in ("", former.call_id)
    if whole or not same:
        return Call(delta.name, delta.call_id, [])
    return Call(former.name, former.call_id, [arguments], arguments)
