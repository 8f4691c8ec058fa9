"""What a handler yields while an agent answers: small facts, not events.

`events.Builder` turns them into numbered events. A handler ends with exactly one `Finish`; a stream
that ends without it was cut off, however clean the close.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from perdure.model import JSON

COUNT_MAX = 10**12
"""Tokens of one answer; the sum of millions of them still fits a store's integer."""


class Text(msgspec.Struct, frozen=True, gc=False):
    """A piece of the answer's text.

    Args:
        text: the piece; may be empty, which changes nothing.
        item: the upstream's id of the message it belongs to; "" = the current message. A change of
            id closes the open message and begins another one.

    """

    text: str
    item: str = ""


class Reasoning(msgspec.Struct, frozen=True, gc=False):
    """A piece of the model's reasoning, shown folded; `item` as in `Text`."""

    text: str
    item: str = ""


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A piece of the text with which the model declines to answer."""

    text: str
    item: str = ""


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """A tool call, or a piece of one.

    Args:
        key: what tells calls of one answer apart while they stream (an index or an id).
        arguments: the next fragment of the JSON arguments.
        name: the tool's name; needed in the first piece of a key.
        call_id: the model's id of the call; made up when empty in the first piece.

    """

    key: str
    arguments: str = ""
    name: str = ""
    call_id: str = ""


class ToolResult(msgspec.Struct, frozen=True, gc=False):
    """What a tool returned for `call_id`; `output` is its text or JSON text."""

    call_id: str
    output: str


class Annotation(msgspec.Struct, frozen=True, gc=False):
    """A citation of the current message, in the Open Responses shape.

    Example: `{"type": "url_citation", "url", "title", "start_index", "end_index"}`.
    """

    annotation: dict[str, object]


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Token counts of the whole answer so far; the last one of an attempt counts."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def json(self) -> JSON:
        """Return the counts in the shape of Open Responses; each is one that stores can sum."""
        given, said = _count(self.input_tokens), _count(self.output_tokens)
        return {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": _count(self.cached_tokens)},
            "output_tokens": said,
            "output_tokens_details": {"reasoning_tokens": _count(self.reasoning_tokens)},
            "total_tokens": _count(self.total_tokens) or given + said,
        }


def _count(given: object) -> int:
    """Return what a server says that it has counted, which may be anything, as a whole number."""
    try:
        return min(max(int(float(str(given))), 0), COUNT_MAX)
    except (ValueError, OverflowError):
        return 0


class Trace(msgspec.Struct, frozen=True, gc=False):
    """The id of the agent's own trace (MLflow); stored as soon as it is seen."""

    trace_id: str


class Marked(msgspec.Struct, frozen=True, gc=False):
    """Deltas, and where the upstream's own log stands after them.

    They are stored in one transaction: an attempt that goes on from `position` neither loses nor
    repeats anything. Only its handler understands a position.
    """

    position: dict[str, object]
    deltas: tuple[Plain, ...] = ()


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The upstream said that the answer is complete.

    `length` and `content_filter` make the response `incomplete` (our state is still `completed`).
    """

    reason: Literal["stop", "length", "content_filter", "tool_calls"] = "stop"


Plain = Text | Reasoning | Refusal | ToolCall | ToolResult | Annotation | Usage | Trace
Delta = Plain | Marked | Finish
