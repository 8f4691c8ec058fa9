"""From deltas to events: the log of a request, in the vocabulary of Open Responses.

Items are sequential: one is opened, filled and closed before the next. No index, item id or call id
occurs twice in a log, and each lifecycle event carries the output as it stands: readers index into
it and break otherwise.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

from perdure.calls import Call, Calls
from perdure.deltas import (
    Annotation,
    Delta,
    Finish,
    Marked,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Trace,
    Usage,
)
from perdure.fold import Fold, fold
from perdure.items import (
    REFUSAL,
    SUMMARY,
    TEXT,
    Judge,
    Shape,
    answer,
    broken,
    counted,
    empty_part,
    left,
    next_group,
    text_of,
    whole,
)
from perdure.log import Log
from perdure.model import JSON, Failure, Request, Status
from perdure.response import Closing, ended, first_event, of_request, response
from perdure.wire import TERMINAL, clean, is_terminal, kind, number

__all__ = [
    "TERMINAL",
    "Builder",
    "Closing",
    "first_event",
    "is_terminal",
    "kind",
    "number",
    "of_request",
    "rebuild",
    "response",
]

_CUT_SHORT: Mapping[str | None, str] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}
_UNTOLD = Failure("server_error", "The answer ended with an error that was not named.")
_MESSAGE: JSON = {"type": "message", "status": "in_progress", "role": "assistant", "content": []}
_REASONING: JSON = {"type": "reasoning", "status": "in_progress", "summary": []}

Streamed = Text | Reasoning | Refusal
_OPENINGS: Mapping[type[Streamed], tuple[JSON, Shape]] = {
    Text: (_MESSAGE, TEXT),
    Refusal: (_MESSAGE, REFUSAL),
    Reasoning: (_REASONING, SUMMARY),
}


class Builder:
    """Turns the deltas and the fate of a request into the next events of its log.

    Args:
        fold: the log so far; the builder goes on after it and leaves it as it is.
        now: the clock, unix seconds.
        pending_max: bytes that may wait for `take`, roughly.
        text_bytes_max: size that the answer may have, roughly.

    Attributes:
        log: where its events are made.
        trace_id, usage, finish_reason: the latest that the agent told, None before.
        position: where the upstream's own log stands, None where that is not told.
        has_deltas: whether any delta here had content.

    Raises `ValueError` if the log has no event 0; every method that adds, once it has ended.

    """

    def __init__(
        self,
        fold: Fold,
        now: Callable[[], float] = time.time,
        *,
        pending_max: int = sys.maxsize,
        text_bytes_max: int = sys.maxsize,
    ) -> None:
        if fold.sequence_number < 0:
            raise ValueError("a log begins with response.created")
        self.trace_id: str | None = None
        self.position: JSON | None = None
        self.usage: JSON | None = None
        self.finish_reason: str | None = None
        self.has_deltas = False
        self._ended = fold.ended
        self._now = now
        self._pending_max = pending_max
        self._text_bytes_max = text_bytes_max
        self._response = fold.response
        self._metadata = fold.metadata
        self._group = fold.group
        named = fold.response.get("id", "")
        self.log = Log(fold.sequence_number + 1, fold.entries.values(), named)
        self._streams: type[Streamed] | None = None
        self._item: str | None = ""
        self._begin_attempt()

    @property
    def first(self) -> int:
        """Number of the first event that `take` will return."""
        return self.log.next - len(self.log.events)

    @property
    def next(self) -> int:
        """Number of the next event that is made."""
        return self.log.next

    @property
    def pending(self) -> int:
        """Bytes that wait for `take`, roughly."""
        return self.log.pending_bytes + self._calls.waiting_characters

    @property
    def text_bytes(self) -> int:
        """Size of the answer so far, roughly: all its items, and the text that it continues."""
        return self._earlier_bytes + self.log.content_bytes + self._calls.waiting_characters

    @property
    def full(self) -> bool:
        """Whether more waits for `take` than should."""
        return self.pending > self._pending_max

    @property
    def too_large(self) -> bool:
        """Whether the answer is larger than it may be."""
        return self.text_bytes > self._text_bytes_max

    def text(self) -> str:
        """Return the text of the answer so far, with what its attempt continues."""
        self.log.flush()
        return text_of(counted(self.log.items, self._group))

    def take(self) -> list[bytes]:
        """Return the encoded events since the last call; adjacent text is one event."""
        return self.log.take()

    def queued(self) -> None:
        """Tell that the answer waits for a worker again: handed over, or its worker is lost."""
        self._close(broken)
        self._lifecycle("response.queued", {"status": "queued"})

    def in_progress(
        self,
        attempt: int,
        reason: str | None = None,
        continued: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Tell that an attempt begins.

        Args:
            attempt: its number, from 1; told to readers from 2 on.
            reason: why there is another attempt, e.g. `worker_lost`.
            continued: it goes on after the text of the former attempts instead of replacing it.

        """
        self._close(broken)
        self._group = next_group(self.log.items, continued=continued)
        self._begin_attempt()
        metadata = self._metadata
        if attempt > 1:
            recovery = "continue" if continued else None
            told = {"attempt": str(attempt), "reason": reason, "recovery": recovery}
            metadata = {key: value for key, value in (metadata | told).items() if value is not None}
        changes = {"status": "in_progress", "metadata": metadata}
        self._lifecycle("response.in_progress", changes)

    def add(self, delta: Delta) -> bool:
        """Add what the agent said next; tell whether there is room for more right now."""
        # The hot path: more text of the open message is only put aside. No tool call waits there.
        if (
            type(delta) is Text
            and self._streams is Text
            and (not delta.item or delta.item == self._item)
        ):
            log, text = self.log, delta.text
            size = len(text)
            log.pieces.append(text)
            log.pending_bytes += size
            log.content_bytes += size
            return log.pending_bytes <= self._pending_max and log.content_bytes <= self._content_max
        self._must_go_on()
        match delta:
            case Text() | Reasoning() | Refusal():
                self._stream(delta)
            case ToolCall():
                self._call(delta)
            case ToolResult():
                self._result(delta)
            case Annotation():
                self._annotate(delta)
            case Marked():
                for told in delta.deltas:
                    self.add(told)
                self.position = delta.position
            case Usage() | Trace() | Finish():
                self._keep(delta)
        return not self.full and not self.too_large

    def _keep(self, delta: Usage | Trace | Finish) -> None:
        """Keep what is told at the end."""
        match delta:
            case Usage():
                self.usage = delta.json()
            case Trace():
                self.trace_id = clean(delta.trace_id)
            case Finish():
                self.finish_reason = delta.reason

    def end(self, status: Status, error: Failure | None = None) -> Closing:
        """Close the answer and its log; return what is to be kept of it.

        Raises `ValueError` if `status` is not terminal.
        """
        if not status.terminal:
            raise ValueError(f"{status} does not end a request")
        completed = status is Status.COMPLETED
        reason = _CUT_SHORT.get(self.finish_reason) if completed else None
        self._close(whole if completed and reason is None else broken)
        items = self.log.items
        output = counted(items, self._group) if completed else answer(items)
        if status is Status.FAILED:
            error = error or _UNTOLD
        closing = Closing(
            status, output, text_of(output), _clean_failure(error), self.usage, reason
        )
        self._terminal(closing)
        return closing

    def retell(self, request: Request) -> None:
        """Write the items and the end of a finished request."""
        output = request.output or []
        for item in output:
            self.log.retell(item, self._group)
        self._terminal(
            Closing(
                request.status,
                output,
                text_of(output),
                request.error,
                request.usage,
                request.incomplete_reason,
            )
        )

    def _must_go_on(self) -> None:
        if self._ended:
            raise ValueError("the log has ended")

    def _begin_attempt(self) -> None:
        items = self.log.items
        self._calls = Calls(item.head["call_id"] for item in items if item.is_call)
        self._earlier_bytes = len(text_of(counted(items, self._group)).encode())
        self._content_max = self._text_bytes_max - self._earlier_bytes
        self.log.content_bytes = 0
        self.usage = None
        self.finish_reason = None

    def _lifecycle(self, name: str, changes: JSON) -> None:
        self._must_go_on()
        self._response = {**self._response, **changes}
        output = [item.json() for item in self.log.items]
        self.log.emit(name, {"response": {**self._response, "output": output}})

    def _terminal(self, closing: Closing) -> None:
        """Write the event that ends the log."""
        self._must_go_on()
        word, changes = ended(closing, self._now())
        name = "failed" if word == "cancelled" else word
        self.log.emit(f"response.{name}", {"response": {**self._response, **changes}})
        self._ended = True

    def _stream(self, delta: Streamed) -> None:
        if not delta.text:
            return
        if self._item is None:
            self._item = delta.item
        if self._streams is not type(delta) or delta.item not in ("", self._item):
            self._begin(type(delta), delta.item)
        self.log.write(delta.text)

    def _begin(self, streams: type[Streamed], item: str | None) -> None:
        """Open an item for text; `item` None takes the first id that comes."""
        self._close(left)
        head, shape = _OPENINGS[streams]
        self.log.add(dict(head), self._group)
        self.log.add_part(empty_part(shape))
        self._streams = streams
        self._item = item
        self.has_deltas = True

    def _annotate(self, delta: Annotation) -> None:
        if self._streams is not Text:
            self._begin(Text, None)
        self.log.annotate(delta.annotation)

    def _result(self, delta: ToolResult) -> None:
        given_id = self._calls.given_id

        def answered(item: JSON) -> str:
            # A result proves that its call was whole, whatever its arguments look like.
            return "completed" if item.get("call_id") == given_id(delta.call_id) else left(item)

        self._close(answered)
        call_id = given_id(delta.call_id)
        head = {"type": "function_call_output", "call_id": call_id, "output": ""}
        self.log.add({**head, "status": "in_progress"}, self._group)
        self.log.close({"output": delta.output, "status": "completed"})
        self.log.content_bytes += len(delta.output)
        self.has_deltas = True

    def _call(self, delta: ToolCall) -> None:
        call = self._calls.piece(delta)
        if call is None:
            return
        self.has_deltas = True
        if call.item is not None:
            self.log.write(call.pieces.pop())
            return
        self._calls.wait(call)
        # An open call that is not whole yet goes on; the others wait for it.
        while self._calls.waiting and not self._in_mid_call():
            self._close_item(left)
            self._open_call(self._calls.next())

    def _in_mid_call(self) -> bool:
        self.log.flush()
        item = self.log.open
        return item is not None and item.is_call and self._calls.half(item)

    def _open_call(self, call: Call) -> None:
        call_id = self._calls.give_id(call.call_id)
        head = {"type": "function_call", "call_id": call_id, "name": call.name, "arguments": ""}
        call.item = self.log.add({**head, "status": "in_progress"}, self._group)
        self.log.write("".join(call.pieces))
        call.pieces.clear()

    def _close(self, judge: Judge) -> None:
        """Close the open item and, one by one, the calls that wait for it."""
        self._close_item(judge)
        while self._calls.waiting:
            self._open_call(self._calls.next())
            self._close_item(judge)

    def _close_item(self, judge: Judge) -> None:
        self._streams = None
        if self.log.open is not None:
            self.log.flush()
            self.log.close({"status": judge(self.log.open.json())})


def _clean_failure(error: Failure | None) -> Failure | None:
    """Return an error whose sentences can be stored."""
    return error and Failure(clean(error.code), clean(error.message))


def rebuild(request: Request) -> list[bytes]:
    """Return a whole valid log from event 0 for a finished request whose events are pruned.

    It tells each item in one piece and folds to the same answer; raises `ValueError` if the request
    has not ended.
    """
    if not request.status.terminal:
        raise ValueError(f"request {request.id} has not ended")
    start = first_event(of_request(request))
    builder = Builder(fold([start]), now=lambda: request.completed_at or request.created_at)
    builder.in_progress(1)
    builder.retell(request)
    return [start, *builder.take()]
