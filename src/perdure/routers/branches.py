"""A chat's tree as a line of messages."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.model import Message


def branch(tree: Sequence[Message], leaf: str | None) -> list[Message]:
    """Return the messages from the root to `leaf`."""
    by_id = {message.id: message for message in tree}
    line: list[Message] = []
    while leaf is not None and leaf in by_id:
        line.append(by_id[leaf])
        leaf = by_id[leaf].parent_id
    return line[::-1]
