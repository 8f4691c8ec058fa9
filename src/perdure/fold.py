"""The answer is the fold of its events: from an encoded log to items, text and state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import msgspec

from perdure.items import Item, Part, answer, latest_group, text_of
from perdure.model import JSON, Failure, Status
from perdure.wire import TERMINAL, kind, number


class _Event(msgspec.Struct):
    """The fields of the events that change an answer."""

    sequence_number: int
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    delta: str = ""
    response: JSON = {}
    item: JSON = {}
    part: JSON = {}
    annotation: Any = None


_decode = msgspec.json.Decoder(_Event).decode

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
        if number(event) != self.sequence_number + 1 or self.ended:
            raise ValueError(f"event {number(event)} cannot follow {self.sequence_number}")
        name = kind(event)
        change = self._CHANGES.get(name)
        if change is not None:
            try:
                change(self, _decode(event))
            except LookupError:
                raise ValueError(f"event {number(event)} belongs to nothing before it") from None
        self.ended = name in TERMINAL
        self.sequence_number += 1

    def items(self) -> list[JSON]:
        """Return every item as it stands, abandoned ones included; not to be changed."""
        return [item.json() for item in self.entries.values()]

    def answer(self) -> list[JSON]:
        """Return the items that count; once ended, the terminal event's output."""
        return self._output if self.ended else answer(list(self.entries.values()))

    def text(self) -> str:
        """Return the answer's text, refusals included."""
        return text_of(self.answer())

    def open_items(self) -> list[JSON]:
        """Return the items that are not done yet, as they stand."""
        return [item.json() for item in self.entries.values() if not item.done]

    def _lifecycle(self, event: _Event) -> None:
        self.response = {key: event.response[key] for key in event.response if key != "output"}
        self.status = _STATUS.get(event.response.get("status", ""), self.status)

    def _created(self, event: _Event) -> None:
        self._lifecycle(event)
        self.metadata = event.response.get("metadata") or {}

    def _in_progress(self, event: _Event) -> None:
        self._lifecycle(event)
        metadata = event.response.get("metadata") or {}
        told = metadata.get("attempt", "")
        own = told != self.metadata.get("attempt") and told.isdecimal()
        self.attempt = int(told) if own else self.attempt + 1
        continued = self.attempt > 1 and metadata.get("recovery") == "continue"
        self.group = next_group(self.entries.values(), self.group, continued=continued)

    def _terminal(self, event: _Event) -> None:
        self._lifecycle(event)
        response = event.response
        self._output = response.get("output") or []
        error = response.get("error")
        self.error = Failure(error["code"], error["message"]) if error else None
        self.usage = response.get("usage")
        self.incomplete_reason = (response.get("incomplete_details") or {}).get("reason")

    def _item_added(self, event: _Event) -> None:
        self.entries[event.output_index] = Item(event.output_index, self.group, event.item)

    def _item_done(self, event: _Event) -> None:
        self.entries[event.output_index].close(event.item)

    def _part_added(self, event: _Event) -> None:
        self.entries[event.output_index].add_part(event.part)

    def _delta(self, event: _Event) -> None:
        self._part_of(event).text.write(event.delta)

    def _part_of(self, event: _Event) -> Part:
        return self.entries[event.output_index].parts[event.content_index or event.summary_index]

    def _text_done(self, event: _Event) -> None:
        self._part_of(event).text_done = True

    def _part_done(self, event: _Event) -> None:
        self._part_of(event).done = True

    def _annotation(self, event: _Event) -> None:
        self._part_of(event).annotate(event.annotation)

    _CHANGES: ClassVar[Mapping[str, Callable[[Fold, _Event], None]]] = {
        "response.created": _created,
        "response.queued": _lifecycle,
        "response.in_progress": _in_progress,
        "response.completed": _terminal,
        "response.incomplete": _terminal,
        "response.failed": _terminal,
        "response.output_item.added": _item_added,
        "response.output_item.done": _item_done,
        "response.content_part.added": _part_added,
        "response.reasoning_summary_part.added": _part_added,
        "response.output_text.delta": _delta,
        "response.refusal.delta": _delta,
        "response.reasoning_summary_text.delta": _delta,
        "response.function_call_arguments.delta": _delta,
        "response.output_text.annotation.added": _annotation,
        "response.output_text.done": _text_done,
        "response.refusal.done": _text_done,
        "response.reasoning_summary_text.done": _text_done,
        "response.function_call_arguments.done": _text_done,
        "response.content_part.done": _part_done,
        "response.reasoning_summary_part.done": _part_done,
    }


def next_group(items: Iterable[Item], group: int, *, continued: bool) -> int:
    """Return the group of a new attempt's items: a new one, or the one whose text it continues."""
    return (continued and latest_group(list(items))) or group + 1


def fold(events: Iterable[bytes]) -> Fold:
    """Return the fold of a log from its event 0; raises `ValueError` as `Fold.apply`."""
    state = Fold()
    for event in events:
        state.apply(event)
    return state
