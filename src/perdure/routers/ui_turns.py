"""The AI SDK's messages in a chat's tree: what outputs of a page's own tools join is one. Pure.

The client holds an answer, the outputs that its page gave to the answer's calls, and the answer to
those as one message, under the first one's id; here each of them is a message of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from perdure.model import JSON, Message
from perdure.routers.branches import branch

BROKE_OFF = "The call broke off before its arguments were whole."
ENDS = {"output-available": "completed", "output-error": "incomplete"}
"""Which status an output has, by the state of the client's part; one that failed is incomplete."""


def turns(line: Iterable[Message]) -> list[list[Message]]:
    """Return a branch as the client's messages, each with the messages that it is made of."""
    made: list[list[Message]] = []
    for message in line:
        if made and _joins(made[-1], message):
            made[-1].append(message)
        else:
            made.append([message])
    return made


def _joins(turn: Sequence[Message], message: Message) -> bool:
    if turn[0].role != "assistant":
        return False
    return message.role == "tool" or (turn[-1].role == "tool" and message.role == "assistant")


def turn_of(tree: Sequence[Message], message_id: str, leaf: str | None) -> list[Message]:
    """Return what the client's message with this one in it is made of; nothing if there is none.

    On the branch to `leaf` if it is there, else on the newest one.
    """
    for line in (branch(tree, leaf), _newest(tree, message_id)):
        for turn in turns(line):
            if any(message.id == message_id for message in turn):
                return turn
    return []


def _newest(tree: Sequence[Message], message_id: str) -> list[Message]:
    """Return the branch through a message on which the last answer was given."""
    children = {message.parent_id: message.id for message in tree}  # the last one of each stays
    leaf = message_id
    while leaf in children:
        leaf = children[leaf]
    return branch(tree, leaf)


def outputs_of(message: JSON) -> dict[str, JSON]:
    """Return the outputs in the last step of a client's message as items, by the ids of calls."""
    parts = message.get("parts")
    given = [part for part in (parts if isinstance(parts, list) else ()) if isinstance(part, dict)]
    starts = [index for index, part in enumerate(given) if part.get("type") == "step-start"]
    found: dict[str, JSON] = {}
    for part in given[starts[-1] + 1 if starts else 0 :]:
        call_id, status = part.get("toolCallId"), ENDS.get(str(part.get("state")))
        if isinstance(call_id, str) and status:
            said = part.get("output") if status == "completed" else str(part.get("errorText"))
            found[call_id] = {
                "type": "function_call_output",
                "id": f"fco_{secrets.token_hex(12)}",
                "call_id": call_id,
                "output": _text(said),
                "status": status,
            }
    return found


def _text(said: Any) -> str:
    """Return an output as the text from which `parsed` makes the same again."""
    if isinstance(said, str) and parsed(said) == said:
        return said
    return msgspec.json.encode(said).decode()


def parsed(text: Any) -> Any:
    """Return what a text says as JSON; one that is none stays what it is."""
    try:
        return msgspec.json.decode(text) if isinstance(text, str) else text
    except msgspec.DecodeError:
        return text
