"""The answer is the fold of its events: from an encoded log to items, text and state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import msgspec

from perdure.items import Item, Part, answer, next_group, text_of
from perdure.model import JSON, Failure, Status
from perdure.wire import TERMINAL, kind


class _Numbered(msgspec.Struct, gc=False):
    """What every event has."""

    sequence_number: int


class _InItem(_Numbered, gc=False):
    """An event that belongs to an item, most often a delta: the one that has to be cheap."""

    output_index: int
    content_index: int = 0
    summary_index: int = 0
    delta: str = ""


class _Whole(_Numbered):
    """An event with an object in it."""

    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    response: JSON = {}
    item: JSON = {}
    part: JSON = {}
    annotation: Any = None


_numbered = msgspec.json.Decoder(_Numbered).decode
_in_item = msgspec.json.Decoder(_InItem).decode
_whole = msgspec.json.Decoder(_Whole).decode

_STATUS: Mapping[str, Status] = {
    "queued": Status.QUEUED,
    "in_progress": Status.STREAMING,
    "completed": Status.COMPLETED,
    "incomplete": Status.COMPLETED,
    "failed": Status.FAILED,
    "cancelled": Status.CANCELLED,
}


class Fold:
    """What a log says so far.

    Attributes:
        sequence_number: of the last applied event; -1 = none.
        attempt: the latest attempt's number; 0 = none began.
        response: the latest lifecycle event's Response object, without `output`.
        metadata: the request's own metadata, without what attempts add to it.
        entries: the items' states by `output_index`; not to be changed from outside.
        group: to which items of the present attempt belong (see `items.answer`).

    """

    def __init__(self) -> None:
        self.sequence_number = -1
        self.attempt = 0
        self.response: JSON = {}
        self.metadata: dict[str, str] = {}
        self.ended = False
        self.status = Status.QUEUED
        self.error: Failure | None = None
        self.usage: JSON | None = None
        self.incomplete_reason: str | None = None
        self.entries: dict[int, Item] = {}
        self.group = 0
        self._output: list[JSON] = []

    def apply(self, event: bytes) -> None:
        """Advance by one encoded event; types and keys it does not know change nothing.

        Raises `ValueError` when it is not the next one, when the log has ended, or when it belongs
        to an item or part that was never added.
        """
        name = kind(event)
        decode, change = self._CHANGES.get(name, (_numbered, None))
        try:
            told = decode(event)
            if told.sequence_number != self.sequence_number + 1 or self.ended:
                number = told.sequence_number
                raise ValueError(f"event {number} cannot follow {self.sequence_number}")
            if change is not None:
                change(self, told)
        except (LookupError, msgspec.DecodeError) as error:
            raise ValueError(f"event {self.sequence_number + 1} makes no sense: {name}") from error
        self.ended = name in TERMINAL
        self.sequence_number += 1

    def items(self) -> list[JSON]:
        """Return every item as it stands, abandoned ones included; not to be changed."""
        return [item.json() for item in self.entries.values()]

    def answer(self) -> list[JSON]:
        """Return the items that count; once ended, the terminal event's output."""
        return self._output if self.ended else answer(self.entries.values())

    def text(self) -> str:
        """Return the answer's text, refusals included."""
        return text_of(self.answer())

    def open_items(self) -> list[JSON]:
        """Return the items that are not done yet, as they stand."""
        return [item.json() for item in self.entries.values() if not item.done]

    def _lifecycle(self, event: _Whole) -> None:
        self.response = {key: event.response[key] for key in event.response if key != "output"}
        self.status = _STATUS.get(event.response.get("status", ""), self.status)

    def _created(self, event: _Whole) -> None:
        self._lifecycle(event)
        self.metadata = event.response.get("metadata") or {}

    def _in_progress(self, event: _Whole) -> None:
        self._lifecycle(event)
        metadata = event.response.get("metadata") or {}
        told = metadata.get("attempt", "")
        own = told != self.metadata.get("attempt") and told.isdecimal()
        self.attempt = int(told) if own else self.attempt + 1
        continued = metadata.get("recovery") == "continue"
        self.group = next_group(self.entries.values(), continued=continued)

    def _terminal(self, event: _Whole) -> None:
        self._lifecycle(event)
        response = event.response
        self._output = response.get("output") or []
        error = response.get("error")
        self.error = Failure(error["code"], error["message"]) if error else None
        self.usage = response.get("usage")
        self.incomplete_reason = (response.get("incomplete_details") or {}).get("reason")

    def _item_added(self, event: _Whole) -> None:
        self.entries[event.output_index] = Item(event.output_index, self.group, event.item)

    def _item_done(self, event: _Whole) -> None:
        self.entries[event.output_index].close(event.item)

    def _part_added(self, event: _Whole) -> None:
        self.entries[event.output_index].add_part(event.part)

    def _delta(self, event: _InItem) -> None:
        self._part_of(event).text.write(event.delta)

    def _part_of(self, event: _InItem | _Whole) -> Part:
        return self.entries[event.output_index].parts[event.content_index or event.summary_index]

    def _text_done(self, event: _InItem) -> None:
        self._part_of(event).text_done = True

    def _part_done(self, event: _InItem) -> None:
        self._part_of(event).done = True

    def _annotation(self, event: _Whole) -> None:
        self._part_of(event).annotate(event.annotation)

    _CHANGES: ClassVar[Mapping[str, tuple[Callable[[bytes], Any], Callable[[Fold, Any], None]]]] = {
        "response.created": (_whole, _created),
        "response.queued": (_whole, _lifecycle),
        "response.in_progress": (_whole, _in_progress),
        "response.completed": (_whole, _terminal),
        "response.incomplete": (_whole, _terminal),
        "response.failed": (_whole, _terminal),
        "response.output_item.added": (_whole, _item_added),
        "response.output_item.done": (_whole, _item_done),
        "response.content_part.added": (_whole, _part_added),
        "response.reasoning_summary_part.added": (_whole, _part_added),
        "response.output_text.annotation.added": (_whole, _annotation),
        "response.output_text.delta": (_in_item, _delta),
        "response.refusal.delta": (_in_item, _delta),
        "response.reasoning_summary_text.delta": (_in_item, _delta),
        "response.function_call_arguments.delta": (_in_item, _delta),
        "response.output_text.done": (_in_item, _text_done),
        "response.refusal.done": (_in_item, _text_done),
        "response.reasoning_summary_text.done": (_in_item, _text_done),
        "response.function_call_arguments.done": (_in_item, _text_done),
        "response.content_part.done": (_in_item, _part_done),
        "response.reasoning_summary_part.done": (_in_item, _part_done),
    }


def fold(events: Iterable[bytes]) -> Fold:
    """Return the fold of a log from its event 0; raises `ValueError` as `Fold.apply`."""
    state = Fold()
    for event in events:
        state.apply(event)
    return state
