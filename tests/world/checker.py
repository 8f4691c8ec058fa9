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

DELTAS = {"response.output_text.delta", "response.refusal.delta"}
ADDED = "response.output_item.added"
BEGUN = "response.in_progress"


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
        return sum(event["type"] == BEGUN for event in self.parsed)


def text_of_output(output: Iterable[dict[str, Any]]) -> str:
    """Return the concatenated text of the messages among output items."""
    messages = (item for item in output if item["type"] == "message")
    parts = (part for item in messages for part in item["content"])
    return "".join(part.get("text") or part.get("refusal") or "" for part in parts)


class Items:
    """The texts that a log builds up, by item; knows the answer's text at every number.

    The answer is what the newest attempt with any item says; an abandoned attempt's text counts
    only until the next one has an item.
    """

    def __init__(self, events: Sequence[dict[str, Any]]) -> None:
        self.texts: dict[int, str] = {}
        self._attempts: dict[int, int] = {}
        self._sizes: list[dict[int, int]] = []
        attempt, sizes = 0, dict[int, int]()
        for event in events:
            attempt += event["type"] == BEGUN
            sizes = self._take(event, attempt, sizes)
            self._sizes.append(sizes)

    def _take(self, event: dict[str, Any], attempt: int, sizes: dict[int, int]) -> dict[int, int]:
        """Return the sizes of all items' texts after an event."""
        if event["type"] == ADDED:
            index = event["output_index"]
            self._attempts[index], self.texts[index] = attempt, ""
        elif event["type"] in DELTAS:
            index = event["output_index"]
            self.texts[index] = self.texts.get(index, "") + event["delta"]
        else:
            return sizes
        return {**sizes, index: len(self.texts[index])}

    def text_at(self, number: int) -> str:
        """Return the answer's text after event `number`; -1 = before any."""
        sizes = self._sizes[number] if number >= 0 else {}
        newest = max((self._attempts.get(index, 0) for index in sizes), default=0)
        told = (index for index in sorted(sizes) if self._attempts.get(index, 0) == newest)
        return "".join(self.texts[index][: sizes[index]] for index in told)


def log_complaints(log: Log) -> list[str]:
    """Complain about a final log by itself."""
    found = [*_numbering(log), *_ending(log), *_attempts(log), *_items(log), *_texts(log)]
    return [f"{log.request_id}: {complaint}" for complaint in found]


def _attempts(log: Log) -> list[str]:
    """Complain when two workers began the same attempt, or one began an older one."""
    begun = [event["response"] for event in log.parsed if event["type"] == BEGUN]
    told = [int((response.get("metadata") or {}).get("attempt", 1)) for response in begun]
    if told != list(range(1, len(told) + 1)):
        return [f"its attempts are {told}: one after the other would be 1 to {len(told)}"]
    return []


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
            index = event["output_index"]
            if event["text"] != log.items.texts.get(index, ""):
                found.append(f"item {index} closes with another text than its deltas")
    ended = log.end["type"] in TERMINAL_TYPES
    if ended and log.text != log.items.text_at(len(log.events) - 1):
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
    if partial.text != log.items.text_at(partial.number):
        return [f"the partial at {partial.number} ({partial.status}) is not the log's text there"]
    return []


def clash_complaints(records: Iterable[Record]) -> list[str]:
    """Complain when two clients, or one at two times, were shown two contents of one number."""
    seen: dict[tuple[str, int], bytes] = {}
    found = []
    for record in records:
        for shown in record.shown:
            first = seen.setdefault((record.request_id, shown.number), shown.data)
            if first != shown.data and canonical(first) != canonical(shown.data):
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
