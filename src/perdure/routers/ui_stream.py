"""The AI SDK's UI message stream v1, made of a request's events. Pure.

The client replaces its last message if and only if the stream's `messageId` is that message's;
so one answer is always told whole, from its start, under its own message id.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import msgspec

from perdure.model import JSON
from perdure.routers.ui_turns import BROKE_OFF, parsed

DONE = b"data: [DONE]\n\n"
LIFECYCLE = frozenset(
    f"response.{name}" for name in ("created", "in_progress", "completed", "incomplete", "failed")
)
RESET = ({"type": "reset-step"},)
ANOTHER_STEP = ({"type": "finish-step"}, {"type": "start-step"})
REASONS: Mapping[str | None, str] = {
    "max_output_tokens": "length",
    "content_filter": "content-filter",
}


class Translator:
    """Turns the events of one request, from event 0 on, into stream parts.

    Args:
        message_id: of the answer; the same for every telling of it.
        resets: the client knows `reset-step` (`ai` 7 does, 6 breaks off at it). For others what an
            attempt said that was abandoned before this telling is left out, and one that is
            abandoned while it is told stays as a step. Nothing is taken back, or left out, for an
            attempt that says nothing.
        attempt: the one under way at the beginning of this telling.
        own: names of the page's tools; it types their calls by these, and carries them out.
        before: parts that the message has already, to be told again.

    """

    def __init__(
        self,
        message_id: str,
        *,
        resets: bool = True,
        attempt: int = 1,
        own: Collection[str] = (),
        before: Sequence[JSON] = (),
    ) -> None:
        self._message_id = message_id
        self._own = own
        self._before = before
        self._resets = resets
        self._left_out = 0 if resets else attempt - 1
        self._attempts = 0
        self._waits = False
        self._withheld: list[JSON] = []
        self._names: dict[int, JSON] = {}

    def frames(self, event: bytes) -> bytes:
        """Return the frames that an event becomes; none for those that say nothing new."""
        told = msgspec.json.decode(event)
        change = self._CHANGES.get(told["type"])
        parts = list(change(self, told)) if change else []
        if parts and told["type"] not in LIFECYCLE:
            parts = [*self._first_word(), *parts]
        if 0 < self._attempts <= self._left_out:
            self._withheld += parts
            parts = []
        return b"".join(b"data: %b\n\n" % msgspec.json.encode(part) for part in parts)

    def _created(self, event: JSON) -> Iterator[JSON]:
        metadata = {"request_id": event["response"]["id"]}
        yield {"type": "start", "messageId": self._message_id, "messageMetadata": metadata}
        yield from told_again(self._before, self._message_id)

    def _in_progress(self, event: JSON) -> Iterator[JSON]:
        """Begin a step; a new attempt will replace what the one before has said, or goes on."""
        self._attempts += 1
        goes_on = event["response"]["metadata"].get("recovery") == "continue"
        self._waits = self._attempts > 1 and not goes_on
        if self._attempts == 1 + self._left_out:
            yield {"type": "start-step"}

    def _first_word(self) -> Iterator[JSON]:
        """Take back what the attempt before has said, now that the new one says something."""
        if self._waits:
            self._waits = False
            self._withheld.clear()
            if self._attempts > 1 + self._left_out:
                yield from RESET if self._resets else ANOTHER_STEP

    def _added(self, event: JSON) -> Iterator[JSON]:
        item = event["item"]
        self._names[event["output_index"]] = item
        if item["type"] == "reasoning":
            yield {"type": "reasoning-start", "id": item["id"]}
        elif item["type"] == "function_call":
            yield {"type": "tool-input-start", **self._named(item)}

    def _named(self, item: JSON) -> JSON:
        """Return whose call it is; one of the agent's own tools, where that is sure, says so."""
        named = {"toolCallId": item["call_id"], "toolName": item["name"]}
        if item["name"] in self._own:
            return named
        return {**named, "dynamic": True} | ({"providerExecuted": True} if self._own else {})

    def _part_added(self, event: JSON) -> Iterator[JSON]:
        if event["part"]["type"] in ("output_text", "refusal"):
            yield {"type": "text-start", "id": _part_id(event)}

    def _part_done(self, event: JSON) -> Iterator[JSON]:
        if event["part"]["type"] in ("output_text", "refusal"):
            yield {"type": "text-end", "id": _part_id(event)}

    def _text(self, event: JSON) -> Iterator[JSON]:
        yield {"type": "text-delta", "id": _part_id(event), "delta": event["delta"]}

    def _reasoning(self, event: JSON) -> Iterator[JSON]:
        yield {"type": "reasoning-delta", "id": event["item_id"], "delta": event["delta"]}

    def _arguments(self, event: JSON) -> Iterator[JSON]:
        call_id = self._names[event["output_index"]]["call_id"]
        yield {"type": "tool-input-delta", "toolCallId": call_id, "inputTextDelta": event["delta"]}

    def _done(self, event: JSON) -> Iterator[JSON]:
        item = event["item"]
        if item["type"] == "reasoning":
            yield {"type": "reasoning-end", "id": item["id"]}
        elif item["type"] == "function_call":
            yield _call(item, self._named(item))
        elif item["type"] == "function_call_output":
            told = {"toolCallId": item["call_id"], "output": parsed(item["output"])}
            ran = {"dynamic": True, "providerExecuted": True}  # else the page would answer it, too
            yield {"type": "tool-output-available", **told, **ran}

    def _annotation(self, event: JSON) -> Iterator[JSON]:
        told = event["annotation"]
        if told.get("url"):
            source = f"{event['item_id']}-{event['annotation_index']}"
            link = {"url": told["url"], "title": told.get("title") or ""}
            yield {"type": "source-url", "sourceId": source, **link}

    def _ended(self, event: JSON) -> Iterator[JSON]:
        response = event["response"]
        if self._waits:
            yield from self._withheld
        if response["status"] == "cancelled":
            yield {"type": "abort", "reason": "cancelled"}
            return
        if response["status"] == "failed":
            yield {"type": "error", "errorText": response["error"]["message"]}
            return
        reason = (response["incomplete_details"] or {}).get("reason")
        calls = response["output"] and response["output"][-1]["type"] == "function_call"
        finish = REASONS.get(reason, "tool-calls" if calls else "stop")
        metadata = {"usage": response["usage"]} if response["usage"] else {}
        yield {"type": "finish-step"}
        yield {"type": "finish", "finishReason": finish, "messageMetadata": metadata}

    _CHANGES: ClassVar[Mapping[str, Callable[[Translator, JSON], Iterator[JSON]]]] = {
        "response.created": _created,
        "response.in_progress": _in_progress,
        "response.output_item.added": _added,
        "response.output_item.done": _done,
        "response.content_part.added": _part_added,
        "response.content_part.done": _part_done,
        "response.output_text.delta": _text,
        "response.refusal.delta": _text,
        "response.reasoning_summary_text.delta": _reasoning,
        "response.function_call_arguments.delta": _arguments,
        "response.output_text.annotation.added": _annotation,
        "response.completed": _ended,
        "response.incomplete": _ended,
        "response.failed": _ended,
    }


def _part_id(event: JSON) -> str:
    """Return the id of a content part: the item's, and its place from the second part on."""
    index = event["content_index"]
    return f"{event['item_id']}-{index}" if index else str(event["item_id"])


def _call(item: JSON, named: JSON) -> JSON:
    """Return a whole tool call; one that broke off tells the text that there is."""
    try:
        given = msgspec.json.decode(item["arguments"] or "{}")
    except msgspec.DecodeError:
        broken = {"input": item["arguments"], "errorText": BROKE_OFF}
        return {"type": "tool-input-error", **named, **broken}
    return {"type": "tool-input-available", **named, "input": given}


def told_again(parts: Iterable[JSON], name: str) -> Iterator[JSON]:
    """Yield stream parts from which the client makes these parts of a message, step by step."""
    steps = 0
    for index, part in enumerate(parts):
        kind = part["type"]
        if kind == "step-start":
            yield from (ANOTHER_STEP if steps else ANOTHER_STEP[1:])
            steps += 1
        elif kind in ("text", "reasoning"):
            named = {"id": f"{name}-{index}"}
            yield {"type": f"{kind}-start", **named}
            yield {"type": f"{kind}-delta", **named, "delta": part["text"]}
            yield {"type": f"{kind}-end", **named}
        elif kind == "source-url":
            yield part
        else:
            yield from _call_again(part)
    if steps:
        yield ANOTHER_STEP[0]


def _call_again(part: JSON) -> Iterator[JSON]:
    """Yield a call as a part has it.

    One that has ended is never told as `tool-input-available`: the page would carry it out again.
    """
    named = {"toolCallId": part["toolCallId"]}
    of = {"toolName": part.get("toolName") or part["type"].removeprefix("tool-")}
    of |= {"dynamic": True} if "toolName" in part else {}
    yield {"type": "tool-input-start", **named, **of}
    if part["state"] == "input-available":
        yield {"type": "tool-input-available", **named, **of, "input": part["input"]}
        return
    arguments = msgspec.json.encode(part["input"]).decode()
    yield {"type": "tool-input-delta", **named, "inputTextDelta": arguments}
    ended: JSON = {
        key: part[key] for key in ("output", "errorText", "providerExecuted") if key in part
    }
    yield {"type": f"tool-{part['state']}", **named, **ended}
