"""The nouns and the one table of states; pure data, no I/O.

Times are unix seconds (float). Ids are opaque; their prefix tells the noun.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

import msgspec

JSON = dict[str, Any]


class Status(StrEnum):
    """A request's state."""

    QUEUED = "queued"
    STREAMING = "streaming"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether nothing can follow."""
        return not TRANSITIONS[self]


TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.STREAMING, Status.FAILED, Status.CANCELLED}),
    Status.STREAMING: frozenset(
        {Status.QUEUED, Status.COMPLETED, Status.FAILED, Status.CANCELLED},
    ),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}
"""Every allowed transition. `streaming -> queued`: lease lost, hand-over. Terminal is final."""


def new_id(noun: Literal["resp", "chat", "msg", "claim", "fb", "evt", "tok", "ses"]) -> str:
    """Return a fresh id: prefix, underscore, 12 hex digits of time (ms), 20 random ones.

    What is made together lies together in every index by id, so that a commit writes fewer pages
    and an old, large store need not be read for each insert. As in UUID version 7 (RFC 9562).
    """
    return f"{noun}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


class Failure(msgspec.Struct, frozen=True):
    """Why a request ended without an answer: a stable `code` and a sentence for a person."""

    code: str
    message: str


class Request(msgspec.Struct, kw_only=True):
    """One question being answered: the row that owns an event log.

    `sequence_number` is the number of the last durable event. `output` holds the answer's Open
    Responses items once terminal. `crashes` counts lost workers, `attempt` all starts. `params` are
    the caller's parameters in the words of Open Responses (tools, instructions, temperature …), to
    be echoed and passed on. `transient`: removed with its chat soon after its end. `upstream` tells
    where the log of the agent's own server stands. `traceparent`: the trace that the caller named.
    """

    id: str
    chat_id: str
    user_id: str
    agent_id: str
    user_message_id: str
    message_id: str
    status: Status
    created_at: float
    sequence_number: int
    attempt: int = 0
    crashes: int = 0
    dispatched_at: float | None = None
    not_before: float | None = None
    started_at: float | None = None
    completed_at: float | None = None
    trace_id: str | None = None
    error: Failure | None = None
    usage: JSON | None = None
    output: list[JSON] | None = None
    incomplete_reason: str | None = None
    metadata: dict[str, str] = {}
    events_pruned: bool = False
    params: JSON = {}
    transient: bool = False
    upstream: JSON | None = None
    traceparent: str | None = None


class Message(msgspec.Struct, kw_only=True):
    """A node of a chat's message tree; `text` of an answer in progress is empty here."""

    id: str
    chat_id: str
    parent_id: str | None
    role: Literal["user", "assistant", "system", "developer", "tool"]
    text: str
    created_at: float
    request_id: str | None = None
    parts: list[JSON] | None = None
    output: list[JSON] | None = None


class Chat(msgspec.Struct, kw_only=True):
    """A conversation with one agent, and its state as lists show it.

    `revision` grows with each change of any of the person's chats: the cursor of live lists.
    `current_message_id` is the leaf of the active branch. `client_id` is the name that a client
    made up for it; it means nothing to other people.
    """

    id: str
    user_id: str
    agent_id: str
    title: str
    created_at: float
    updated_at: float
    revision: int
    pinned: bool = False
    archived: bool = False
    deleted: bool = False
    current_message_id: str | None = None
    running_request_id: str | None = None
    queued: int = 0
    unread: bool = False
    last_status: Status | None = None
    metadata: dict[str, str] = {}
    client_id: str | None = None


class Usage(msgspec.Struct, frozen=True):
    """What one person asked of one agent, by how it ended; tokens as the agent counted them."""

    user_id: str
    agent_id: str
    status: Status
    requests: int
    input_tokens: int
    output_tokens: int


class Webhook(msgspec.Struct, kw_only=True):
    """A notice that a request has ended, to be delivered at least once.

    `due_at`: when to try next; None = delivered, or given up (`failed_at`, a dead letter).
    """

    id: str
    request_id: str
    user_id: str
    type: str
    created_at: float
    attempts: int = 0
    due_at: float | None = None
    delivered_at: float | None = None
    failed_at: float | None = None
    error: str | None = None


class Feedback(msgspec.Struct, kw_only=True):
    """A person's verdict on an answer.

    `author`: the person's name for others. `due_at`: when it is to be told to the tracker; None =
    it was, or never will be. `tries` counts how often that was tried.
    """

    id: str
    user_id: str
    request_id: str
    trace_id: str | None
    name: str
    value: bool | int | float | str
    rationale: str | None
    created_at: float
    author: str | None = None
    tries: int = 0
    due_at: float | None = None


def title_of(text: str, *, characters_max: int = 60) -> str:
    """Return a chat's first title: the first line of the first message, cut at a word."""
    line = " ".join(text.strip().split("\n", 1)[0].split())
    if len(line) <= characters_max:
        return line or "New chat"
    return line[:characters_max].rsplit(" ", 1)[0].rstrip(" ,.;:") + "…"
