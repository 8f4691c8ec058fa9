"""What a terminal shows of an answer: a small fold of its events, not the stored truth."""

from __future__ import annotations

from typing import Any

from perdure.model import JSON

TERMINAL = {
    "response.completed": "completed",
    "response.incomplete": "completed",
    "response.failed": "failed",
}
"""Event types that end a log, and the state each one means."""


class Answer:
    """An answer as far as its events have been seen.

    `cursor` is the number of the last event (one that does not begin at -1 makes `text` the rest);
    `status` one of the request's five states; `text` the
    shown text: what a lost attempt left is replaced when the next one begins to speak.
    """

    def __init__(self, request_id: str, cursor: int = -1) -> None:
        self.request_id = request_id
        self.cursor = cursor
        self._whole = cursor < 0
        self.status = "queued"
        self.error: JSON | None = None
        self.incomplete = ""
        self._fresh_from = 0
        self._texts: dict[int, str] = {}
        self._reasoning: dict[int, str] = {}
        self._tools: dict[int, str] = {}

    @property
    def ended(self) -> bool:
        """Whether the answer has reached its final state."""
        return self.status in ("completed", "failed", "cancelled")

    @property
    def text(self) -> str:
        """The answer's text, as `final_response` will have it."""
        return "".join(self._texts[n] for n in sorted(self._texts))

    @property
    def reasoning(self) -> str:
        """The reasoning shown so far."""
        return "\n\n".join(self._reasoning[n] for n in sorted(self._reasoning))

    @property
    def tools(self) -> list[str]:
        """The names of the tools called so far."""
        return [self._tools[n] for n in sorted(self._tools)]

    def apply(self, event: JSON) -> None:
        """Take in one event; its number must follow the cursor (else it is a repetition)."""
        number = int(event.get("sequence_number", self.cursor + 1))
        if number <= self.cursor:
            return
        self.cursor = number
        kind, index = str(event.get("type", "")), int(event.get("output_index", 0))
        match kind:
            case "response.output_text.delta" | "response.refusal.delta":
                self._say(index, self._texts.get(index, "") + str(event["delta"]))
            case "response.reasoning_summary_text.delta":
                self._reasoning[index] = self._reasoning.get(index, "") + str(event["delta"])
            case "response.output_item.added":
                self._open(index, event.get("item") or {})
            case "response.output_item.done":
                self._close(index, event.get("item") or {})
            case "response.in_progress":
                self._start(event.get("response") or {})
            case _ if kind in TERMINAL:
                self._end(TERMINAL[kind], event.get("response") or {})

    def _open(self, index: int, item: JSON) -> None:
        if item.get("type") == "function_call":
            self._tools[index] = str(item.get("name", "tool"))

    def _close(self, index: int, item: JSON) -> None:
        """Take the whole text of a finished message: it may have come without deltas."""
        if item.get("type") == "message" and index not in self._texts and self._whole:
            self._say(index, _text(item))

    def _say(self, index: int, text: str) -> None:
        """Set a message's text; the first one of a new attempt replaces what was abandoned."""
        if index >= self._fresh_from > 0:
            self._texts = {n: t for n, t in self._texts.items() if n >= self._fresh_from}
        self._texts[index] = text

    def _start(self, response: JSON) -> None:
        """Begin an attempt; unless it continues the last one, its text will replace the shown."""
        self.status = "streaming"
        metadata: JSON = response.get("metadata") or {}
        if self._texts and metadata.get("recovery") != "continue":
            self._fresh_from = max(self._texts) + 1

    def _end(self, status: str, response: JSON) -> None:
        cancelled = response.get("status") == "cancelled"
        self.status = "cancelled" if cancelled else status
        self.error = response.get("error")
        self.incomplete = str((response.get("incomplete_details") or {}).get("reason", ""))
        items: list[JSON] = response.get("output") or []
        texts = {n: _text(item) for n, item in enumerate(items) if item.get("type") == "message"}
        if texts and self._whole:
            self._texts = texts

    def settle(self, request: JSON, *, pruned: bool = False) -> None:
        """Take the final state from the request itself: its events are all seen, or `pruned`."""
        self.status = str(request["status"])
        self.error = request.get("error")
        text = request.get("final_response") or request.get("partial_response")
        if text and (pruned or self._whole):
            self._texts = {0: str(text)}


def _text(item: JSON) -> str:
    parts: list[Any] = item.get("content") or []
    return "".join(str(p.get("text") or p.get("refusal") or "") for p in parts)
