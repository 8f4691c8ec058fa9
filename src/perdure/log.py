"""A log being written: numbers and encodes events and keeps at most one item open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from perdure.items import ARGUMENTS, SHAPES, GrowingText, Item, Part, item_id
from perdure.model import JSON
from perdure.wire import clean, encode, encode_text

_PREFIX: Mapping[str, str] = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
}


class Log:
    """The next events of a request.

    Args:
        number: of the next event.
        items: those of the log so far.
        request_id: whose log it is; the ids of its items tell (see `items.request_of`).

    Attributes:
        next: number of the next event.
        items: all items of the log so far, in the order of their indices.
        open: the item that is not done yet, if any.
        events: encoded and not yet taken.
        pieces: text for the open part that is not an event yet.
        pending_bytes: size of both, the text's roughly.
        content_bytes: size of all items, parts, texts and citations that came here.

    """

    __slots__ = (
        "_around",
        "_request_id",
        "_text",
        "content_bytes",
        "events",
        "items",
        "next",
        "open",
        "pending_bytes",
        "pieces",
    )

    def __init__(self, number: int, items: Iterable[Item], request_id: str = "") -> None:
        self.next = number
        self._request_id = request_id
        self.items = [item if item.done else item.copy() for item in items]
        self.open = next((item for item in self.items if not item.done), None)
        self.events: list[bytes] = []
        self.pieces: list[str] = []
        self.pending_bytes = 0
        self.content_bytes = 0
        self._text = GrowingText()
        self._around = (b"", b"", b"")

    def emit(self, name: str, fields: JSON) -> None:
        """Add an event, after the text that waits."""
        self.flush()
        event = encode({"type": name, "sequence_number": self.next, **fields})
        self.events.append(event)
        self.pending_bytes += len(event)
        self.next += 1

    def emit_content(self, name: str, fields: JSON) -> None:
        """Add an event that makes the answer larger."""
        self.emit(name, fields)
        self.content_bytes += len(self.events[-1])

    def write(self, text: str) -> None:
        """Add text to the open part; it becomes one event with what else comes before the next."""
        self.pieces.append(text)
        self.pending_bytes += len(text)
        self.content_bytes += len(text)

    def flush(self) -> None:
        """Make one event of the text that waits, if any."""
        pieces = self.pieces
        if not pieces:
            return
        text = pieces[0] if len(pieces) == 1 else "".join(pieces)
        pieces.clear()
        size = len(text)
        if not size:
            return
        if not text.isascii() or "\0" in text:
            text, encoded = _encoded(text)
        else:
            encoded = encode_text(text)
        self._text.write(text)
        self.content_bytes += len(encoded) - 2 - size
        before, after, end = self._around
        event = b"%b%d%b%b%b" % (before, self.next, after, encoded, end)
        self.events.append(event)
        self.pending_bytes += len(event) - size
        self.next += 1

    def take(self) -> list[bytes]:
        """Return the events since the last call."""
        self.flush()
        events = self.events
        self.events = []
        self.pending_bytes = 0
        return events

    def add(self, head: JSON, group: int) -> Item:
        """Open an item; it gets an id unless `head` has one."""
        head = clean(head)
        index = self.items[-1].index + 1 if self.items else 0
        prefix = _PREFIX.get(head["type"], "item")
        head.setdefault("id", item_id(prefix, self._request_id, index))
        self.emit_content("response.output_item.added", {"output_index": index, "item": head})
        self.open = Item(index, group, head)
        self.items.append(self.open)
        if self.open.parts:
            self._stream_into(self.open.parts[-1])
        return self.open

    def add_part(self, head: JSON) -> None:
        """Open a part of the open item, into which text then streams."""
        part = self._item().add_part(clean(head))
        self.emit_content(f"{part.shape.event}.added", {**self._place(), "part": part.json()})
        self._stream_into(part)

    def annotate(self, annotation: JSON) -> None:
        """Add a citation to the open part."""
        annotation = clean(annotation)
        index = self._item().parts[-1].annotate(annotation)
        fields = {**self._place(), "annotation_index": index, "annotation": annotation}
        self.emit_content("response.output_text.annotation.added", fields)

    def close_part(self) -> None:
        """Tell the open part's whole text, then that it is done."""
        self.flush()
        item, place = self._item(), self._place()
        part = item.parts[-1]
        shape = part.shape
        if not part.text_done:
            named = {"name": item.head["name"]} if shape is ARGUMENTS else {}
            whole = {shape.field: part.text.getvalue(), **shape.extra, **named}
            self.emit(f"{shape.stream}.done", {**place, **whole})
        if shape.event and not part.done:
            self.emit(f"{shape.event}.done", {**place, "part": part.json()})
        part.text_done = part.done = True

    def close(self, changes: JSON) -> None:
        """Close the open item, if any, with these last changes, its status among them."""
        item = self.open
        if item is None:
            return
        if item.parts:
            self.close_part()
        final = {**item.json(), **clean(changes)}
        self.emit("response.output_item.done", {"output_index": item.index, "item": final})
        item.close(final)
        self.open = None

    def retell(self, final: JSON, group: int) -> None:
        """Write the events of a finished item anew."""
        blank = {key: "" for key in ("arguments", "output") if isinstance(final.get(key), str)}
        parts: JSON = {
            key: [] for key in ("summary", "content") if isinstance(final.get(key), list)
        }
        status = {"status": "in_progress"} if "status" in final else {}
        self.add({**final, **blank, **parts, **status}, group)
        if "arguments" in final:
            self.write(final["arguments"])
        for part in (part for key in parts for part in final[key]):
            self._retell_part(part)
        self.close(final)

    def _retell_part(self, final: JSON) -> None:
        shape = SHAPES.get(final.get("type", ""))
        if shape is None:
            return
        annotations = final.get("annotations", [])
        self.add_part({**final, shape.field: "", **({"annotations": []} if annotations else {})})
        self.write(final[shape.field])
        for annotation in annotations:
            self.annotate(annotation)
        self.close_part()

    def _item(self) -> Item:
        if self.open is None:
            raise ValueError("no item is open")
        return self.open

    def _place(self) -> JSON:
        """Return the keys that tell an event's part."""
        item = self._item()
        place = {"item_id": item.head["id"], "output_index": item.index}
        index = item.parts[-1].shape.index
        return {**place, index: len(item.parts) - 1} if index else place

    def _stream_into(self, part: Part) -> None:
        """Prepare what surrounds number and text in the part's delta events."""
        self._text = part.text
        shape = part.shape
        before = encode({"type": f"{shape.stream}.delta", "sequence_number": 0})[:-2]
        extra = encode(shape.extra)[1:-1]
        after = b"," + encode(self._place())[1:-1] + b',"delta":'
        self._around = (before, after, b"," + extra + b"}" if extra else b"}")


def _encoded(text: str) -> tuple[str, bytes]:
    """Return a text as it is kept, and as JSON."""
    if "\0" in text:
        text = clean(text)
    try:
        return text, encode(text)
    except UnicodeEncodeError:
        text = clean(text)
        return text, encode(text)
