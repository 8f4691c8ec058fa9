"""A reader as strict as all official SDKs together: it breaks wherever one of them does, and more.

It knows events only, nothing of the code that wrote them. Sources: the accumulators of `openai` for
Python 1.109 and 3.54 and for JavaScript 6.49 and 7.57.
"""

from typing import Any

import msgspec

from tests.unit import published, shapes

TERMINAL = ("response.completed", "response.incomplete", "response.failed")
STATUS = {
    "response.queued": ("queued",),
    "response.in_progress": ("in_progress",),
    "response.completed": ("completed",),
    "response.incomplete": ("incomplete",),
    "response.failed": ("failed", "cancelled"),
}
TEXT = {"output_text": "text", "refusal": "refusal", "summary_text": "text"}


class Broken(Exception):
    """An SDK would throw, or show something else than we meant."""


def must(true: object, complaint: str) -> None:
    if not true:
        raise Broken(complaint)


class Reader:
    """Accumulates a log, event by event."""

    def __init__(self) -> None:
        self.next = 0
        self.response: dict[str, Any] = {}
        self.output: list[dict[str, Any]] = []
        self.open: dict[str, Any] | None = None
        self.part: dict[str, Any] | None = None
        self.ended = False
        self.ids: set[str] = set()

    def read(self, event: bytes) -> None:
        """Take the next event; raises `Broken`, or `ValidationError` if a field is not right."""
        shapes.parse(event)
        published.check_event(msgspec.json.decode(event))
        told = msgspec.json.decode(event)
        name = told["type"]
        must(event.startswith(b'{"type":"%b","sequence_number":' % name.encode()), "key order")
        must(len(event.decode().splitlines()) == 1, "a line break within an event")
        must(told["sequence_number"] == self.next, "a gap in the numbers")
        must(not self.ended, "an event after the end")
        must((self.next == 0) == (name == "response.created"), "created comes first, and only then")
        self.next += 1
        if "response" in told:
            self.lifecycle(name, told["response"])
        elif "item" in told:
            self.item(name, told)
        else:
            self.within(name, told)

    def lifecycle(self, name: str, response: dict[str, Any]) -> None:
        must(self.open is None, "a lifecycle event within an item")
        must(response["id"] == self.response.get("id", response["id"]), "another response")
        must(response["status"] in STATUS.get(name, ("queued",)), "the status of another event")
        known = {item["id"]: item for item in self.output}
        told = response["output"]
        if name in TERMINAL:
            must(all(item == known.get(item["id"]) for item in told), "an item nobody was told of")
            must(len({item["id"] for item in told}) == len(told), "an item told twice")
            self.ended = True
        else:
            must(told == self.output, "not the output as it stands")
        must((response["error"] is not None) <= self.ended, "an error before the end")
        must((response["completed_at"] is not None) == (name == TERMINAL[0]), "completed_at")
        self.response = response

    def item(self, name: str, told: dict[str, Any]) -> None:
        item, index = told["item"], told["output_index"]
        if name == "response.output_item.added":
            must(self.open is None, "two open items")
            must(index == len(self.output), "a gap in output_index, or one used twice")
            self.new(item["id"])
            if item["type"] == "function_call":
                self.new(item["call_id"])
            must(item["status"] == "in_progress", "an item that is done before it began")
            self.output.append(item)
            self.open = item
            self.part = {"stream": "function_call_arguments"} if "arguments" in item else None
            return
        must(index == len(self.output) - 1, "done without added")
        must(self.part is None or "done" in self.part, "an item closed around an open part")
        must(item["status"] in ("completed", "incomplete"), "done and in progress")
        own = {"status"} | ({"output"} if item["type"] == "function_call_output" else set())
        must(without(item, own) == without(self.opened(), own), "another item than was streamed")
        self.output[index] = item
        self.open = self.part = None

    def opened(self) -> dict[str, Any]:
        if self.open is None:
            raise Broken("outside of an item")
        return self.open

    def new(self, name: str) -> None:
        must(name and name not in self.ids, f"{name} used twice")
        self.ids.add(name)

    def within(self, name: str, told: dict[str, Any]) -> None:
        item = self.opened()
        must(told["output_index"] == len(self.output) - 1, "another item's index")
        must(told["item_id"] == item["id"], "another item's id")
        if "part" in told:
            self.part_event(name, told, item)
        elif item["type"] == "function_call":
            self.text_event(name, told, item, "arguments")
        else:
            index = index_of(told)
            parts = parts_of(item)
            must(self.part is not None and index == len(parts) - 1, "text outside of a part")
            if name == "response.output_text.annotation.added":
                must(told["annotation_index"] == len(parts[index]["annotations"]), "annotations")
                parts[index]["annotations"].append(told["annotation"])
            else:
                self.text_event(name, told, parts[index], TEXT[parts[index]["type"]])

    def part_event(self, name: str, told: dict[str, Any], item: dict[str, Any]) -> None:
        parts = parts_of(item)
        index = index_of(told)
        if name.endswith(".added"):
            must(self.part is None or "done" in self.part, "two open parts")
            must(index == len(parts), "a gap in the parts")
            parts.append(told["part"])
            self.part = {}
        else:
            part = self.part or {}
            must("text" in part, "a part closed before its text")
            must("done" not in part, "a part closed twice")
            must(told["part"] == parts[index], "another part than was streamed")
            part["done"] = True

    def text_event(self, name: str, told: dict[str, Any], holder: dict[str, Any], key: str) -> None:
        part = self.part
        must(part is not None and "text" not in part, f"{name} after its part was closed")
        assert part is not None
        if name.endswith(".delta"):
            must(told["delta"], "an empty delta")
            holder[key] += told["delta"]
        else:
            must(told[key] == holder[key], "another text than was streamed")
            part["text"] = True
            if key == "arguments":
                part["done"] = True


def index_of(told: dict[str, Any]) -> int:
    index: int = told["content_index" if "content_index" in told else "summary_index"]
    return index


def parts_of(item: dict[str, Any]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = item["content" if item["type"] == "message" else "summary"]
    return parts


def without(item: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in keys}


def read(events: list[bytes]) -> Reader:
    """Read a log from its start."""
    reader = Reader()
    for event in events:
        reader.read(event)
    return reader
