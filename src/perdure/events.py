"""From deltas to events: the log of a request, in the vocabulary of Open Responses.

Items are sequential: one is opened, filled and closed before the next. No index, item id or call id
occurs twice in a log, and each lifecycle event carries the output as it stands: readers index into
it and break otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec

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
from perdure.response import first_event, of_request, response
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


class Closing(msgspec.Struct, frozen=True):
    """The final state of an answer: what its row and its message keep."""

    status: Status
    output: list[JSON]
    text: str
    error: Failure | None = None
    usage: JSON | None = None
    incomplete_reason: str | None = None


class Builder:
    """Turns the deltas and the fate of a request into the next events of its log.

    Args:
        fold: the log so far; the builder goes on after it and leaves it as it is.
        now: the clock, unix seconds.

    Attributes:
        trace_id, usage, finish_reason: the latest that the agent told, None before.
        position: where the upstream's own log stands, None where that is not told.
        has_deltas: whether any delta here had content.

    Raises `ValueError` if the log has no event 0; every method that adds, once it has ended.

    """

    def __init__(self, fold: Fold, now: Callable[[], float] = time.time) -> None:
        if fold.sequence_number < 0:
            raise ValueError("a log begins with response.created")
        self.trace_id: str | None = None
        self.position: JSON | None = None
        self.usage: JSON | None = None
        self.finish_reason: str | None = None
        self.has_deltas = False
        self._ended = fold.ended
        self._now = now
        self._response = fold.response
        self._metadata = fold.metadata
        self._group = fold.group
        named = fold.response.get("id", "")
        self._log = Log(fold.sequence_number + 1, fold.entries.values(), named)
        self._streams: type[Streamed] | None = None
        self._item: str | None = ""
        self._begin_attempt()

    @property
    def first(self) -> int:
        """Number of the first event that `take` will return."""
        return self._log.next - len(self._log.events)

    @property
    def next(self) -> int:
        """Number of the next event that is made."""
        return self._log.next

    @property
    def pending(self) -> int:
        """Bytes that wait for `take`, roughly."""
        waiting = self._log.pieces_characters + self._calls.waiting_characters
        return self._log.events_bytes + waiting

    @property
    def text_bytes(self) -> int:
        """Size of the answer so far, roughly: all its items, and the text that it continues."""
        waiting = self._log.pieces_characters + self._calls.waiting_characters
        return self._earlier_bytes + self._log.content_bytes + waiting

    def fits(self, pending_max: int, text_bytes_max: int) -> bool:
        """Say whether both sizes are within these bounds; asked for each delta."""
        log = self._log
        waiting = log.pieces_characters + self._calls.waiting_characters
        return (
            waiting + log.events_bytes <= pending_max
            and waiting + log.content_bytes + self._earlier_bytes <= text_bytes_max
        )

    def text(self) -> str:
        """Return the text of the answer so far, with what its attempt continues."""
        self._log.flush()
        return text_of(counted(self._log.items, self._group))

    def take(self) -> list[bytes]:
        """Return the encoded events since the last call; adjacent text is one event."""
        return self._log.take()

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
        self._group = next_group(self._log.items, continued=continued)
        self._begin_attempt()
        metadata = self._metadata
        if attempt > 1:
            recovery = "continue" if continued else None
            told = {"attempt": str(attempt), "reason": reason, "recovery": recovery}
            metadata = {key: value for key, value in (metadata | told).items() if value is not None}
        changes = {"status": "in_progress", "metadata": metadata}
        self._lifecycle("response.in_progress", changes)

    def add(self, delta: Delta) -> None:
        """Add what the agent said next."""
        # The hot path: more text of the open message is only put aside.
        if (
            type(delta) is Text
            and self._streams is Text
            and (not delta.item or delta.item == self._item)
        ):
            self._log.pieces.append(delta.text)
            self._log.pieces_characters += len(delta.text)
            return
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
        items = self._log.items
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
            self._log.retell(item, self._group)
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
        items = self._log.items
        self._calls = Calls(item.head["call_id"] for item in items if item.is_call)
        self._earlier_bytes = len(text_of(counted(items, self._group)).encode())
        self._log.content_bytes = 0
        self.usage = None
        self.finish_reason = None

    def _lifecycle(self, name: str, changes: JSON) -> None:
        self._must_go_on()
        self._response = {**self._response, **changes}
        output = [item.json() for item in self._log.items]
        self._log.emit(name, {"response": {**self._response, "output": output}})

    def _terminal(self, closing: Closing) -> None:
        """Write the event that ends the log."""
        self._must_go_on()
        error, reason = closing.error, closing.incomplete_reason
        word = "incomplete" if reason else closing.status.value
        changes: JSON = {
            "status": word,
            "completed_at": int(self._now()) if word == "completed" else None,
            "error": {"code": error.code, "message": error.message} if error else None,
            "incomplete_details": {"reason": reason} if reason else None,
            "usage": closing.usage,
            "output": closing.output,
        }
        name = "failed" if word == "cancelled" else word
        self._log.emit(f"response.{name}", {"response": {**self._response, **changes}})
        self._ended = True

    def _stream(self, delta: Streamed) -> None:
        if not delta.text:
            return
        if self._item is None:
            self._item = delta.item
        if self._streams is not type(delta) or delta.item not in ("", self._item):
            self._begin(type(delta), delta.item)
        self._log.write(delta.text)

    def _begin(self, streams: type[Streamed], item: str | None) -> None:
        """Open an item for text; `item` None takes the first id that comes."""
        self._close(left)
        head, shape = _OPENINGS[streams]
        self._log.add(dict(head), self._group)
        self._log.add_part(empty_part(shape))
        self._streams = streams
        self._item = item
        self.has_deltas = True

    def _annotate(self, delta: Annotation) -> None:
        if self._streams is not Text:
            self._begin(Text, None)
        self._log.annotate(delta.annotation)

    def _result(self, delta: ToolResult) -> None:
        given_id = self._calls.given_id

        def answered(item: JSON) -> str:
            # A result proves that its call was whole, whatever its arguments look like.
            return "completed" if item.get("call_id") == given_id(delta.call_id) else left(item)

        self._close(answered)
        call_id = given_id(delta.call_id)
        head = {"type": "function_call_output", "call_id": call_id, "output": ""}
        self._log.add({**head, "status": "in_progress"}, self._group)
        self._log.close({"output": delta.output, "status": "completed"})
        self._log.content_bytes += len(delta.output)
        self.has_deltas = True

    def _call(self, delta: ToolCall) -> None:
        call = self._calls.piece(delta)
        if call is None:
            return
        self.has_deltas = True
        if call.item is not None:
            self._log.write(call.pieces.pop())
            return
        self._calls.wait(call)
        # An open call that is not whole yet goes on; the others wait for it.
        while self._calls.waiting and not self._in_mid_call():
            self._close_item(left)
            self._open_call(self._calls.next())

    def _in_mid_call(self) -> bool:
        self._log.flush()
        item = self._log.open
        return item is not None and item.is_call and self._calls.half(item)

    def _open_call(self, call: Call) -> None:
        call_id = self._calls.give_id(call.call_id)
        head = {"type": "function_call", "call_id": call_id, "name": call.name, "arguments": ""}
        call.item = self._log.add({**head, "status": "in_progress"}, self._group)
        self._log.write("".join(call.pieces))
        call.pieces.clear()

    def _close(self, judge: Judge) -> None:
        """Close the open item and, one by one, the calls that wait for it."""
        self._close_item(judge)
        while self._calls.waiting:
            self._open_call(self._calls.next())
            self._close_item(judge)

    def _close_item(self, judge: Judge) -> None:
        self._streams = None
        if self._log.open is not None:
            self._log.flush()
            self._log.close({"status": judge(self._log.open.json())})


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
