"""A chat's tree as a line of messages, as they are stored or shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Node(Protocol):
    """A message in a tree."""

    id: str
    parent_id: str | None


N = TypeVar("N", bound=Node)


def branch(tree: Sequence[N], leaf: str | None) -> list[N]:
    """Return the messages from the root to `leaf`."""
    by_id = {message.id: message for message in tree}
    line: list[N] = []
    while leaf is not None and leaf in by_id:
        line.append(by_id[leaf])
        leaf = by_id[leaf].parent_id
    return line[::-1]
