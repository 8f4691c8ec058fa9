"""Random lives of an answer: deltas of every kind, breaks, further attempts, an end."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import msgspec
from hypothesis import strategies as st

from perdure.deltas import (
    Annotation,
    Delta,
    Finish,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Trace,
    Usage,
)
from perdure.events import Builder, Closing, first_event, response
from perdure.fold import fold
from perdure.model import Failure, Status

CITATION = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}
# What upstreams really send, and what has broken others: NUL, half characters, odd line breaks.
texts = st.text(st.sampled_from('ab \n\r"\\é漢😀\0\ud83d\ude00\u2028\x85{}<'), max_size=6)
items = st.sampled_from(["", "", "", "a", "b"])
arguments = st.sampled_from(
    ["", " ", "{", "}", "{}", '{"x":', "1}", '{"x":1}', "not json", "\ud83d"]
)
call_ids = st.sampled_from(["", "call_0", "call_1"])

deltas: st.SearchStrategy[Delta] = st.one_of(
    st.builds(Text, texts, items),
    st.builds(Text, texts),
    st.builds(Reasoning, texts, items),
    st.builds(Refusal, texts, items),
    st.builds(
        ToolCall,
        key=st.sampled_from("012"),
        arguments=arguments,
        name=st.sampled_from(["", "find", "send"]),
        call_id=call_ids,
    ),
    st.builds(ToolResult, call_ids, texts),
    st.just(Annotation(CITATION)),
    st.builds(Usage, st.integers(0, 9), st.integers(0, 9)),
    st.just(Trace("tr-1")),
    st.builds(Finish, st.sampled_from(["stop", "length", "content_filter", "tool_calls"])),
)


class Attempt(msgspec.Struct):
    """One attempt.

    Args:
        deltas: what the agent said.
        continued: whether it goes on after the former ones.
        handed_over: whether it ends with `queued`; else its worker just vanished.
        taken_after: after which deltas the events are taken.
        resumed: whether the next attempt starts from the folded log, as another worker does.

    """

    deltas: list[Delta]
    continued: bool = False
    handed_over: bool = True
    taken_after: frozenset[int] = frozenset()
    resumed: bool = True


class Life(msgspec.Struct):
    """An answer from its question to its end; `end` None = it still runs."""

    attempts: list[Attempt]
    end: Status | None = None
    error: Failure | None = None


attempts = st.builds(
    Attempt,
    st.lists(deltas, max_size=10),
    st.booleans(),
    st.booleans(),
    st.frozensets(st.integers(0, 9), max_size=5),
    st.booleans(),
)
ends = st.sampled_from([Status.COMPLETED, Status.COMPLETED, Status.FAILED, Status.CANCELLED])
lives = st.builds(
    Life,
    st.lists(attempts, min_size=1, max_size=3),
    ends,
    st.sampled_from([None, Failure("upstream_dropped", "It \ud83d went away.\0")]),
)
running = st.builds(Life, st.lists(attempts, min_size=1, max_size=3))


def created(**changes: Any) -> bytes:
    """Return event 0 of some request."""
    fields: dict[str, Any] = {"id": "resp_1", "agent_id": "support", "created_at": 1_795_000_000.5}
    return first_event(response(**fields | changes))


def builder(log: Sequence[bytes], now: float = 1_795_000_009.9) -> Builder:
    """Return a builder that goes on after a log."""
    return Builder(fold(log), now=lambda: now)


def begun(*said: Delta) -> Builder:
    """Return a builder in its first attempt, with its first events taken."""
    first = builder([created()])
    first.in_progress(1)
    first.take()
    for delta in said:
        first.add(delta)
    return first


def live(life: Life, log: list[bytes] | None = None) -> tuple[list[bytes], Closing | None]:
    """Return the log of an answer's life, and how it ended."""
    log = log or [created()]
    number = count(1)
    writer = builder(log)
    for attempt in life.attempts:
        if attempt.resumed:
            log += writer.take()
            writer = builder(log)
        writer.in_progress(next(number), "worker_lost", continued=attempt.continued)
        for index, delta in enumerate(attempt.deltas):
            writer.add(delta)
            if index in attempt.taken_after:
                log += writer.take()
        if attempt.handed_over and attempt is not life.attempts[-1]:
            writer.queued()
    closing = writer.end(life.end, life.error) if life.end else None
    return log + writer.take(), closing


def answer(*said: Delta, end: Status | None = Status.COMPLETED) -> list[bytes]:
    """Return the log of an answer given in one attempt."""
    return live(Life([Attempt(list(said))], end))[0]


def told(log: Sequence[bytes], kind: str = "") -> list[dict[str, Any]]:
    """Return a log's events as data, those of one kind if it is named."""
    events = [msgspec.json.decode(event) for event in log]
    return [event for event in events if kind in ("", event["type"].removeprefix("response."))]
