"""An answer's items while they grow, and the rule which of them count.

An item has parts; text streams into a part. The arguments of a tool call count as its only part.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from perdure.model import JSON

PLAIN_BYTES, PACKED_BYTES = 32 * 1024, 8 * 1024
PIECES_MAX, PIECE_CHARACTERS_MAX = 32, 1024
"""Pieces of a growing text are put together when there are more of them, or one is longer."""


class Shape(msgspec.Struct, frozen=True):
    """How one kind of part looks and streams.

    Args:
        part: its `type`; "" for tool arguments, which are a field of the item itself.
        field: the key that holds its text.
        parts: the item's key that lists such parts.
        index: the event key of its place in that list.
        event: prefix of the events that add and close the part.
        stream: prefix of the events that carry its text.
        extra: constant fields of those events.

    """

    part: str
    field: str
    parts: str
    index: str
    event: str
    stream: str
    extra: Mapping[str, Any] = {}


TEXT = Shape(
    part="output_text",
    field="text",
    parts="content",
    index="content_index",
    event="response.content_part",
    stream="response.output_text",
    extra={"logprobs": []},
)
REFUSAL = Shape(
    part="refusal",
    field="refusal",
    parts="content",
    index="content_index",
    event="response.content_part",
    stream="response.refusal",
)
SUMMARY = Shape(
    part="summary_text",
    field="text",
    parts="summary",
    index="summary_index",
    event="response.reasoning_summary_part",
    stream="response.reasoning_summary_text",
)
ARGUMENTS = Shape(
    part="",
    field="arguments",
    parts="",
    index="",
    event="",
    stream="response.function_call_arguments",
)
SHAPES: Mapping[str, Shape] = {shape.part: shape for shape in (TEXT, REFUSAL, SUMMARY)}


class GrowingText:
    """Text that only grows. What lies before its last 32 KiB is kept compressed.

    Every running answer has one: a long one must not cost its length, a short one no compression.
    """

    __slots__ = ("_end", "_packed", "_pieces")

    def __init__(self, text: str = "") -> None:
        self._packed: list[bytes] = []
        self._end = bytearray()
        self._pieces = [text]

    def write(self, text: str) -> None:
        """Add text without lone surrogates."""
        self._pieces.append(text)
        if len(self._pieces) > PIECES_MAX or len(text) > PIECE_CHARACTERS_MAX:
            self._settle()

    def _settle(self) -> None:
        self._end += "".join(self._pieces).encode()
        self._pieces.clear()
        while len(self._end) >= PLAIN_BYTES:
            self._packed.append(zlib.compress(self._end[:PACKED_BYTES], 1))
            del self._end[:PACKED_BYTES]

    def getvalue(self) -> str:
        """Return the whole text."""
        self._settle()
        return (b"".join(map(zlib.decompress, self._packed)) + self._end).decode()


class Part:
    """A piece of an item into which text streams; knows which of its `.done` events were told."""

    __slots__ = ("done", "head", "shape", "text", "text_done")

    def __init__(self, shape: Shape, head: JSON) -> None:
        self.shape = shape
        self.head = head
        self.text_done = False
        self.done = False
        self.text = GrowingText(head.get(shape.field) or "")

    def annotate(self, annotation: Any) -> int:
        """Add a citation and return its place; what `json` returned before stays as it was."""
        earlier = self.head.get("annotations", [])
        self.head = {**self.head, "annotations": [*earlier, annotation]}
        return len(earlier)

    def copy(self) -> Part:
        """Return an independent part in the same state."""
        twin = Part(self.shape, self.json())
        twin.text_done, twin.done = self.text_done, self.done
        return twin

    def json(self) -> JSON:
        """Return the part as it stands."""
        return {**self.head, self.shape.field: self.text.getvalue()}


def empty_part(shape: Shape) -> JSON:
    """Return a part as it is announced, before its text."""
    part: JSON = {"type": shape.part, shape.field: ""}
    return {**part, "annotations": [], "logprobs": []} if shape is TEXT else part


class Item:
    """One item of an answer.

    Args:
        index: its `output_index`, never used again in this log.
        group: its attempt's; attempts that continue one another share one (see `answer`).
        head: the item as it was added.

    """

    __slots__ = ("done", "group", "head", "index", "parts")

    def __init__(self, index: int, group: int, head: JSON) -> None:
        self.index = index
        self.group = group
        self.head = head
        self.done = False
        self.parts: list[Part] = []
        if self.is_call:
            self.parts.append(Part(ARGUMENTS, head))

    @property
    def is_call(self) -> bool:
        """Whether it is a tool call."""
        return bool(self.head["type"] == "function_call")

    def add_part(self, head: JSON) -> Part:
        """Begin a part."""
        part = Part(SHAPES.get(head.get("type", ""), TEXT), head)
        self.parts.append(part)
        return part

    def close(self, final: JSON) -> None:
        """Fix the item as it is from now on."""
        self.head = final
        self.parts = []
        self.done = True

    def json(self) -> JSON:
        """Return the item as it stands; not to be changed by the caller."""
        if not self.parts:
            return self.head
        if self.parts[0].shape is ARGUMENTS:
            return self.parts[0].json()
        return {**self.head, self.parts[0].shape.parts: [part.json() for part in self.parts]}

    def copy(self) -> Item:
        """Return an open item's independent twin."""
        twin = Item(self.index, self.group, self.head)
        twin.parts = [part.copy() for part in self.parts]
        return twin


def item_id(prefix: str, request_id: str, index: int) -> str:
    """Return the id of an answer's item, which tells whose it is: `msg_2f1c0a9be4d8_0`."""
    return f"{prefix}_{request_id.removeprefix('resp_')}_{index}"


def request_of(item_id: str) -> str:
    """Return the id of the request whose answer holds an item of that id, if any does."""
    return f"resp_{item_id.partition('_')[2].rpartition('_')[0]}"


def parses(arguments: str) -> bool:
    """Say whether a tool call's arguments are whole."""
    try:
        msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return False
    return True


Judge = Callable[[JSON], str]
"""Decides with which status an item is closed."""


def whole(_: JSON) -> str:
    """Judge an item that the agent finished."""
    return "completed"


def broken(_: JSON) -> str:
    """Judge an item in which the attempt broke off."""
    return "incomplete"


def left(item: JSON) -> str:
    """Judge an item that the agent left for another one."""
    half = item["type"] == "function_call" and item["arguments"].strip()
    return "incomplete" if half and not parses(item["arguments"]) else "completed"


def _broken_call(item: JSON) -> bool:
    return (
        item["type"] == "function_call"
        and item.get("status") == "incomplete"
        and not parses(item.get("arguments", ""))
    )


def counted(items: Collection[Item], group: int) -> list[JSON]:
    """Return a group's items without tool calls that broke off in mid-arguments."""
    outputs = (item.json() for item in items if item.group == group)
    return [output for output in outputs if not _broken_call(output)]


def answer(items: Collection[Item]) -> list[JSON]:
    """Return the items that count: those of the latest attempt that has any.

    Attempts that continue one another share a group and count together.
    """
    return _latest(items)[1]


def next_group(items: Collection[Item], *, continued: bool) -> int:
    """Return the group of a new attempt's items: a new one, or the one that it continues."""
    group = _latest(items)[0] if continued else 0
    return group or max((item.group for item in items), default=0) + 1


def _latest(items: Collection[Item]) -> tuple[int, list[JSON]]:
    """Return the latest group in which anything counts, and what counts; group 0 = none."""
    for group in sorted({item.group for item in items}, reverse=True):
        output = counted(items, group)
        if output:
            return group, output
    return 0, []


def _texts(output: Iterable[JSON]) -> Iterator[str]:
    for item in output:
        if item["type"] == "message":
            for part in item.get("content", ()):
                yield part.get("text") or part.get("refusal") or ""


def text_of(output: Iterable[JSON]) -> str:
    """Return the text of all messages of an output, refusals included."""
    return "".join(_texts(output))
