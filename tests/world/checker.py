"""The oracle: holds what clients were shown against the final logs, and complains in sentences.

It knows the published event vocabulary only, and shares no code with the product. One writer and
unique numbers make a linear check enough: what anybody was shown must stand in the final log, under
the same number, byte for byte, once, in order; and every log has one end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.world.records import TERMINAL_STATUSES, TERMINAL_TYPES, Partial, Record, Shown, canonical

DELTA = "response.output_text.delta"
ADDED = "response.output_item.added"
DONE = "response.output_item.done"


@dataclass(frozen=True)
class Log:
    """The final log of one request: `events[n]` are the bytes under number n."""

    request_id: str
    events: tuple[bytes, ...]

    @cached_property
    def parsed(self) -> list[dict[str, Any]]:
        return [json.loads(event) for event in self.events]

    @cached_property
    def spelled(self) -> list[bytes]:
        return [canonical(event) for event in self.parsed]

    @cached_property
    def items(self) -> Items:
        return Items(self.parsed)

    @property
    def end(self) -> dict[str, Any]:
        return self.parsed[-1]

    @property
    def text(self) -> str:
        """The text of the answer as the terminal event gives it."""
        return text_of_output(self.end["response"]["output"])

    @property
    def attempts(self) -> int:
        return sum(event["type"] == "response.in_progress" for event in self.parsed)


def text_of_output(output: Iterable[dict[str, Any]]) -> str:
    """Return the concatenated text of the messages among output items."""
    messages = (item for item in output if item["type"] == "message")
    return "".join(part.get("text", "") for item in messages for part in item["content"])


class Items:
    """The texts that a log builds up, by item; knows them at every number."""

    def __init__(self, events: Sequence[dict[str, Any]]) -> None:
        self.sizes: list[dict[int, int]] = []
        self.texts: dict[int, str] = {}
        self.abandoned: dict[int, int] = {}
        sizes: dict[int, int] = {}
        for number, event in enumerate(events):
            sizes = self._take(number, event, sizes)
            self.sizes.append(sizes)

    def _take(self, number: int, event: dict[str, Any], sizes: dict[int, int]) -> dict[int, int]:
        index = event.get("output_index", -1)
        if event["type"] == ADDED and event["item"]["type"] == "message":
            self.texts[index] = ""
            return {**sizes, index: 0}
        if event["type"] == DELTA:
            self.texts[index] = self.texts.get(index, "") + event["delta"]
            return {**sizes, index: len(self.texts[index])}
        if event["type"] == DONE and event["item"].get("status") == "incomplete":
            self.abandoned[index] = number
        return sizes

    def texts_at(self, number: int) -> set[str]:
        """Return what a client may rightly show after event `number`.

        The text of the newest item; of all items; or of all that were not abandoned by then (an
        item that ends unfinished because the request ends keeps its text).
        """
        sizes = self.sizes[number]
        parts = {index: self.texts[index][:size] for index, size in sorted(sizes.items())}
        newest = parts[max(parts)] if parts else ""
        standing = [text for index, text in parts.items() if self._stands(index, number)]
        return {newest, "".join(parts.values()), "".join(standing)}

    def _stands(self, index: int, number: int) -> bool:
        return self.abandoned.get(index, number + 1) > number


def log_complaints(log: Log) -> list[str]:
    """Complain about a final log by itself."""
    found = [*_numbering(log), *_ending(log), *_items(log), *_texts(log)]
    return [f"{log.request_id}: {complaint}" for complaint in found]


def _numbering(log: Log) -> list[str]:
    numbers = [event["sequence_number"] for event in log.parsed]
    if numbers != list(range(len(numbers))):
        return [f"the log's numbers are not 0 to {len(numbers) - 1} in order"]
    return []


def _ending(log: Log) -> list[str]:
    ends = [at for at, event in enumerate(log.parsed) if event["type"] in TERMINAL_TYPES]
    if ends != [len(log.events) - 1]:
        return [f"one terminal event is wanted, at the end; found at {ends} of {len(log.events)}"]
    return []


def _items(log: Log) -> list[str]:
    added = [event for event in log.parsed if event["type"] == ADDED]
    found = []
    for what, keys in (
        ("output_index", [event["output_index"] for event in added]),
        ("item id", [event["item"]["id"] for event in added]),
    ):
        if len(set(keys)) != len(keys):
            found.append(f"an {what} is used twice: {keys}")
    return found


def _texts(log: Log) -> list[str]:
    """The pieces, the closed parts and the terminal event must tell the same text."""
    found = []
    for event in log.parsed:
        if event["type"] == "response.output_text.done":
            told = log.items.texts.get(event["output_index"], "")
            if event["text"] != told:
                found.append(f"item {event['output_index']} closes with another text than its deltas")
    if log.parsed and "response" in log.end and log.end["type"] in TERMINAL_TYPES:
        allowed = log.items.texts_at(len(log.events) - 1)
        if log.text not in allowed | {"".join(log.items.texts.values())}:
            found.append(f"the terminal event's text ({len(log.text)}) is not what was streamed")
    return found


def record_complaints(record: Record, log: Log) -> list[str]:
    """Complain about what one client was shown, given the final log of that request."""
    found = [*_order(record), *_content(record, log), *_after_end(record), *_partials(record, log)]
    return [f"{record.name} of {record.request_id}: {complaint}" for complaint in found]


def _order(record: Record) -> list[str]:
    """Complain about the first event that does not follow its predecessor."""
    expected = record.after + 1
    for shown in record.shown:
        if shown.number != expected:
            fault = "lost" if shown.number > expected else "doubled or reordered"
            return [f"{fault}: event {shown.number} was shown where {expected} was due"]
        expected += 1
    return []


def _content(record: Record, log: Log) -> list[str]:
    wrong = [shown.number for shown in record.shown if not _stands_in(shown, log)]
    if wrong:
        return [f"shown, but missing or different in the final log: events {wrong[:5]}"]
    return []


def _stands_in(shown: Shown, log: Log) -> bool:
    if not 0 <= shown.number < len(log.events):
        return False
    if shown.exact:
        return shown.data == log.events[shown.number]
    return shown.data == log.spelled[shown.number]


def _after_end(record: Record) -> list[str]:
    ends = [at for at, shown in enumerate(record.shown) if shown.terminal]
    if ends and ends != [len(record.shown) - 1]:
        return [f"shown after a terminal event, or two of them: at {ends} of {len(record.shown)}"]
    return []


def _partials(record: Record, log: Log) -> list[str]:
    found = [complaint for partial in record.partials for complaint in _partial(partial, log)]
    numbers = [partial.number for partial in record.partials]
    if numbers != sorted(numbers):
        found.append("the numbers of its partials went back")
    ends = [partial for partial in record.partials if partial.status in TERMINAL_STATUSES]
    if len({(end.status, end.text) for end in ends}) > 1:
        found.append("the text or the state changed after the end")
    after_end = record.partials[record.partials.index(ends[0]) :] if ends else []
    if any(partial.status not in TERMINAL_STATUSES for partial in after_end):
        found.append("the request came back to life")
    return found[:3]


def _partial(partial: Partial, log: Log) -> list[str]:
    if not -1 <= partial.number < len(log.events):
        return [f"a partial was taken at {partial.number}, which the log does not have"]
    if partial.status in TERMINAL_STATUSES:
        return [] if partial.text == log.text else ["its last text is not the final one"]
    allowed = log.items.texts_at(partial.number) if partial.number >= 0 else {""}
    if partial.text not in allowed:
        return [f"the partial at {partial.number} ({partial.status}) is not the log's text there"]
    return []


def clash_complaints(records: Iterable[Record]) -> list[str]:
    """Complain when two clients, or one at two times, were shown two contents of one number."""
    seen: dict[tuple[str, int], bytes] = {}
    found = []
    for record in records:
        for shown in record.shown:
            spelled = canonical(shown.data)
            if seen.setdefault((record.request_id, shown.number), spelled) != spelled:
                found.append(f"{record.request_id}: number {shown.number} stood for two contents")
    return found


def complaints(records: Sequence[Record], logs: Iterable[Log]) -> list[str]:
    """Return everything that is wrong, in sentences; empty = all promises were kept."""
    by_id = {log.request_id: log for log in logs}
    found = [complaint for log in by_id.values() for complaint in log_complaints(log)]
    for record in records:
        if record.request_id in by_id:
            found += record_complaints(record, by_id[record.request_id])
        else:
            found.append(f"{record.name}: {record.request_id} has no final log")
    return [*found, *clash_complaints(records)]


def check(records: Sequence[Record], logs: Iterable[Log]) -> None:
    """Fail with every complaint there is."""
    found = complaints(records, logs)
    assert not found, f"{len(found)} complaints:\n" + "\n".join(found[:20])
