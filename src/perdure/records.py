"""What passes through the ports of the store: what is given to it, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from perdure.model import JSON, Message, Request

IfBusy = Literal["queue", "reject", "interrupt"]


class RunLimits(msgspec.Struct, frozen=True):
    """How many requests may run at once: in total, per person, per agent (absent: no cap)."""

    running_max: int
    running_per_user_max: int
    running_per_agent_max: Mapping[str, int] = {}


class AcceptLimits(msgspec.Struct, frozen=True):
    """How many requests may wait, and how many messages a chat may hold."""

    queued_max: int
    queued_per_user_max: int
    messages_max: int
    run: RunLimits


class NewMessage(msgspec.Struct, frozen=True):
    """A message to store; `parts` holds the original content when it was not plain text."""

    id: str
    role: Literal["user", "assistant", "system", "developer", "tool"]
    text: str
    parts: list[JSON] | None = None


class NewRequest(msgspec.Struct, kw_only=True, frozen=True):
    """Everything `accept` writes, decided before its transaction.

    Exactly one of `question` (a new user message) and `answers` (the id of a stored user message to
    answer once more) is given. `parent_id` None = after the active leaf, or with `from_root` before
    everything, as another beginning. `history` comes before the question. `fingerprint` tells
    whether a repeated idempotency key repeats the body. `start`: admit who may run now in the same
    transaction, which saves a commit per question. `client_chat_id` names the chat as a client
    does: the person's living chat of that name is used instead of `chat_id` and `new_chat`; a new
    one gets the name. `any_agent`: the chat's agent does not bind. `params`, `transient`: see
    `Request`. `follows`: the request whose end is enough to start; None = the ends of all before it
    in its chat. `input` is kept for `RequestStore.input`. `notify`: its end makes a webhook, in the
    transaction that ends it.
    """

    id: str
    chat_id: str
    user_id: str
    agent_id: str
    message_id: str
    first_event: bytes
    limits: AcceptLimits
    new_chat: bool = False
    title: str = ""
    history: Sequence[NewMessage] = ()
    question: NewMessage | None = None
    answers: str | None = None
    parent_id: str | None = None
    from_root: bool = False
    if_busy: IfBusy = "queue"
    metadata: dict[str, str] = {}
    idempotency_key: str | None = None
    fingerprint: str = ""
    start: bool = False
    client_chat_id: str | None = None
    any_agent: bool = False
    params: JSON = {}
    input: Sequence[JSON] = ()
    transient: bool = False
    follows: str | None = None
    notify: bool = False


class Accepted(msgspec.Struct, frozen=True):
    """What `accept` committed.

    `replayed`: an earlier call with the same key made it. `interrupted`: the requests it cancelled.
    `admitted`: who may run now, as `admit` tells it; the caller has to enqueue them.
    """

    request: Request
    replayed: bool = False
    interrupted: Sequence[str] = ()
    admitted: Sequence[str] = ()


class Claim(msgspec.Struct, frozen=True):
    """Ownership of one attempt: the fence, the log so far, the talk up to the question."""

    claim_id: str
    request: Request
    events: Sequence[bytes]
    messages: Sequence[Message]


class Append(msgspec.Struct, frozen=True):
    """Events `first`, `first + 1` … of one request, encoded, to be appended under `claim_id`.

    `trace_id`, `attempt` and `upstream` are stored beside them when given.
    """

    request_id: str
    claim_id: str
    first: int
    events: Sequence[bytes]
    trace_id: str | None = None
    attempt: int | None = None
    upstream: JSON | None = None

    @property
    def notes(self) -> bool:
        """Whether there is anything to store beside the events."""
        return self.trace_id is not None or self.attempt is not None or self.upstream is not None


class Slice(msgspec.Struct, frozen=True):
    """A contiguous piece of a log: `events[0]` has number `first`; `last` is the newest durable."""

    first: int
    events: Sequence[bytes]
    last: int
    ended: bool
