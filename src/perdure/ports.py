"""The ports: what the core asks of the outside. Adapters live in plural folders.

The store is the truth. The queue delivers an id. The bus only wakes. A handler makes deltas.
Each promise here is an executable suite in `tests/contract`, which every adapter runs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from perdure.credentials import Credentials
from perdure.deltas import Delta
from perdure.model import JSON
from perdure.records import (
    Accepted,
    AcceptLimits,
    Append,
    ChatChanges,
    Claim,
    Figures,
    IfBusy,
    NewMessage,
    NewRequest,
    Overview,
    RunLimits,
    Slice,
)
from perdure.store import ChatStore, Outbox, RequestStore, Roll, Store, Verdict
from perdure.topics import Topic
from perdure.tracker import Tracker
from perdure.user_tokens import UserToken

__all__ = [
    "AcceptLimits",
    "Accepted",
    "Agent",
    "Append",
    "Bus",
    "Call",
    "ChatChanges",
    "ChatStore",
    "Claim",
    "Credentials",
    "Figures",
    "Handler",
    "IfBusy",
    "NewMessage",
    "NewRequest",
    "Outbox",
    "Overview",
    "Queue",
    "RequestStore",
    "Roll",
    "RunLimits",
    "Slice",
    "Stoppable",
    "Store",
    "Topic",
    "Tracker",
    "Verdict",
]


class Queue(Protocol):
    """Delivers a request id to some worker, at least once or at most once; nothing else."""

    async def open(self) -> None:
        """Get ready; a broker that is not there now is no error: it may come."""

    async def close(self) -> None:
        """Let go of connections."""

    async def enqueue(self, request_ids: Sequence[str]) -> None:
        """Hand ids over for delivery; losing them costs time (the reconciler), never an answer."""

    def trouble(self) -> str | None:
        """Say why deliveries do not get through now; None: they do, as far as is known."""

    def consume(self, deliver: Callable[[str], None]) -> None:
        """Call `deliver(request_id)` in this process's loop for each delivery."""


class Bus(Protocol):
    """At-most-once wake-ups without data; readers stay right without any of them.

    No method raises: what cannot be told is not told.
    """

    async def open(self) -> None:
        """Begin to hear and to tell other processes, now or as soon as that is possible."""

    async def close(self) -> None:
        """Let go of connections."""

    async def publish(self, topics: Iterable[str]) -> None:
        """Wake whoever listens to these topics, soon, perhaps."""

    async def publish_elsewhere(self, topics: Iterable[str]) -> None:
        """Wake whoever listens in other processes: those in this one know already."""

    def trouble(self) -> str | None:
        """Say why wake-ups do not get through now; None: they do, as far as is known."""

    def subscribe(self, listener: Callable[[Collection[str]], None]) -> None:
        """Call `listener(topics)` in this process's loop for all wake-ups."""


class Call(msgspec.Struct, frozen=True):
    """What a handler gets for one attempt.

    `messages` are Chat Completions messages (`{role, content}`), oldest first, the question last.
    `items` is the same talk as Open Responses items, with what Chat Completions cannot say.
    `attempt` counts from 1. `partial` is the text to go on behind, for handlers that continue; ""
    when the answer begins anew. `params` are the caller's own (tools, instructions …), as in
    `Request.params`. `upstream` is the last `Marked.position` of an attempt to be continued.
    `put` takes a delta as if it were yielded, but without a turn of the event loop, and tells
    whether it may be called again before the handler has yielded once more. `user_token` is the
    person's own, where it came with the question and this process still has it.
    """

    request_id: str
    chat_id: str
    user_id: str
    agent_id: str
    messages: Sequence[JSON]
    attempt: int = 1
    partial: str = ""
    metadata: Mapping[str, str] = {}
    put: Callable[[Delta], bool] | None = None
    items: Sequence[JSON] = ()
    params: Mapping[str, Any] = {}
    upstream: JSON | None = None
    user_token: UserToken | None = None


class Handler(Protocol):
    """Turns one call into deltas; knows one dialect of agent, nothing of stores and streams.

    Promise: yields `Finish` last when the answer is complete; raises an `AnswerError` when it is
    not, `retryable` where asking again may help; closing the iterator closes the upstream call at
    once; no retries and no timeouts of its own beyond connecting (the runner has them).
    """

    can_continue: bool

    def stream(self, call: Call) -> AsyncGenerator[Delta, None]:
        """Yield the answer's deltas as they arrive."""

    async def close(self) -> None:
        """Let go of connections."""


@runtime_checkable
class Stoppable(Protocol):
    """A handler whose agent goes on when the call is closed, and has to be told to stop."""

    async def stop(self, position: JSON) -> None:
        """End the run at `Marked.position`: nobody wants its answer any more. Never raises."""


class Agent(msgspec.Struct, kw_only=True, frozen=True):
    """An agent people can ask: its handler, how it is shown, and its limits (seconds, counts)."""

    id: str
    handler: Handler
    name: str = ""
    description: str = ""
    examples: Sequence[str] = ()
    recovery: Literal["restart", "continue", "fail"] = "restart"
    attempts_max: int = 3
    running_max: int | None = None
    first_byte_timeout_s: float = 300.0
    idle_timeout_s: float = 120.0
    total_timeout_s: float = 3600.0
    retry_total_s: float = 60.0
