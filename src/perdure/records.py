"""What passes through the ports of the store: what is given to it, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

import msgspec

from perdure.model import JSON, Message, Request

IfBusy = Literal["queue", "reject", "interrupt"]


class RunLimits(msgspec.Struct, frozen=True):
    """How many requests may run at once: in total, per person, per agent (absent: no cap).

    `by_slots`: also no more than the workers on the roll have slots for, see `ports.Roll`.
    """

    running_max: int
    running_per_user_max: int
    running_per_agent_max: Mapping[str, int] = {}
    by_slots: bool = False


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
    one gets the name. `any_agent`: the chat's agent does not bind. `params`, `transient`,
    `traceparent`: see `Request`. `follows`: the request whose end is enough to start; None = the
    ends of all before it in its chat. `input` is kept for `RequestStore.input`. `notify`: its end
    makes a webhook, in the transaction that ends it.
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
    traceparent: str | None = None

    @property
    def messages_added(self) -> int:
        """How many messages it adds to its chat; the answer is one of them."""
        return len(self.history) + (self.question is not None) + 1


class Accepted(msgspec.Struct, frozen=True):
    """What `accept` committed.

    `replayed`: an earlier call with the same key made it. `interrupted`: the requests it cancelled.
    `admitted`: who may run now, as `admit` tells it; the caller has to enqueue them. `undecided`:
    others decided about that at this instant; the caller has to `admit`.
    """

    request: Request
    replayed: bool = False
    interrupted: Sequence[str] = ()
    admitted: Sequence[str] = ()
    undecided: bool = False


class Claim(msgspec.Struct, frozen=True):
    """Ownership of one attempt: the fence, the log so far, the talk up to the question."""

    claim_id: str
    request: Request
    events: Sequence[bytes]
    messages: Sequence[Message]


class ChatChanges(TypedDict, total=False):
    """What to change about a chat; what is absent stays as it is."""

    title: str
    pinned: bool
    archived: bool
    current_message_id: str
    metadata: Mapping[str, str]


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


class Tally(msgspec.Struct, frozen=True):
    """How many requests of an agent ended so; `code` is that of their error, "" without one."""

    agent_id: str
    status: str
    code: str
    count: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment in one instant.

    `waiting`: queued requests that may not run yet, and `queue_age_s` the age of the oldest;
    `unclaimed`: those that may, and `unclaimed_age_s` the longest time since their last delivery.
    `webhooks` wait for delivery. `ended` counts since the database was made, deleted and pruned
    requests included.
    """

    waiting: int = 0
    queue_age_s: float = 0.0
    unclaimed: int = 0
    unclaimed_age_s: float = 0.0
    streaming: int = 0
    webhooks: int = 0
    webhook_age_s: float = 0.0
    ended: Sequence[Tally] = ()

    @property
    def accepted(self) -> int:
        """How many requests were ever accepted: each has ended, or has not yet."""
        ended = sum(tally.count for tally in self.ended)
        return self.waiting + self.unclaimed + self.streaming + ended


class WorkerLoad(msgspec.Struct, frozen=True):
    """What one worker produces: how many answers, since when, and when its first lease is over."""

    worker_id: str
    running: int
    started_at: float | None
    lease_until: float | None


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What operators look at, since a time.

    `workers`: the busiest. `failures`: the most frequent. `course`: `(step, what, how many)`, with
    step 0 at `since` and `what` one of `asked`, `completed`, `failed`, `cancelled`.
    """

    since: float
    step_s: float
    workers: Sequence[WorkerLoad] = ()
    failures: Sequence[Tally] = ()
    course: Sequence[tuple[int, str, int]] = ()


class Slice(msgspec.Struct, frozen=True):
    """A contiguous piece of a log: `events[0]` has number `first`; `last` is the newest durable."""

    first: int
    events: Sequence[bytes]
    last: int
    ended: bool
