"""The ports: what the core asks of the outside. Adapters live in plural folders.

The store is the truth. The queue delivers an id. The bus only wakes. A handler makes deltas.
Each promise here is an executable suite in `tests/contract`, which every adapter runs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

from perdure.credentials import Credentials
from perdure.deltas import Delta
from perdure.events import Closing
from perdure.model import JSON, Chat, Failure, Feedback, Message, Request, Status, Usage, Webhook
from perdure.records import (
    Accepted,
    AcceptLimits,
    Append,
    Call,
    Claim,
    Figures,
    IfBusy,
    NewMessage,
    NewRequest,
    Overview,
    RunLimits,
    Slice,
    Topic,
)

__all__ = [
    "AcceptLimits",
    "Accepted",
    "Agent",
    "Append",
    "Bus",
    "Call",
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
    "RunLimits",
    "Slice",
    "Stoppable",
    "Store",
    "Topic",
    "Verdict",
]

Verdict = Callable[[Request], Failure | None]
"""Decides about a request whose worker is gone: None = queue it again, else fail it so."""


class RequestStore(Protocol):
    """The life of requests and their logs. Each method is one transaction.

    Shared rules: a transition happens only along `model.TRANSITIONS`; terminal is final; events of
    a request are numbered 0, 1, 2 … without gaps in the transaction that writes them; what a method
    returned survives a crash of this process. The clock is the store's.
    """

    async def accept(self, new: NewRequest) -> Accepted:
        """Store chat, message, request and event 0; or return what the same key made before.

        Raises `NotFound` (chat, parent, message), `Conflict` (`chat_busy`,
        `idempotency_key_reused`), `TooMany` (`queue_full`, `user_queue_full`).
        """

    async def admit(self, limits: RunLimits) -> list[str]:
        """Mark who may run now, fairly, oldest first within a person's rank; return their ids."""

    async def claim(
        self,
        request_id: str,
        worker_id: str,
        lease_s: float,
        continuing: Collection[str] = (),
    ) -> Claim | None:
        """Take an admitted request: attempt + 1, `response.in_progress`. None: it is not.

        `continuing`: ids of agents that go on behind a partial answer: the event of a later attempt
        says so, and what was said before counts.
        """

    async def renew(self, claims: Mapping[str, str], lease_s: float) -> set[str]:
        """Extend the leases of `{request id: claim id}`; return the ids that are still owned."""

    async def append(self, appends: Sequence[Append]) -> list[bool]:
        """Append all in one transaction; False where the claim or the number is no longer right."""

    async def finish(self, last: Append, closing: Closing) -> bool:
        """Append the last events and end request and message; False as in `append`."""

    async def hand_over(self, request_id: str, claim_id: str) -> bool:
        """Give a running request back to the queue (not counted as a crash); False as in append."""

    async def cancel(self, request_id: str) -> Request:
        """End it as cancelled, whoever owns it, keeping the text; return the state that won."""

    async def reap(self, verdict: Verdict, *, dead: bool = False) -> list[Request]:
        """Take over what lost its lease; return what it changed.

        `dead`: no other process lives. Whatever is streaming is taken over, and what was admitted
        but not claimed waits for admission again.
        """

    async def undelivered(self, after_s: float) -> list[str]:
        """Return admitted requests unclaimed for `after_s`, and double their next waiting time."""

    async def read(self, cursors: Mapping[str, int], bytes_max: int) -> dict[str, Slice]:
        """Return what follows each exclusive cursor (-1 = from the start), about `bytes_max` each.

        Unknown ids are left out. Raises `Gone` (`events_pruned`) when a cursor's events are pruned.
        """

    async def request(self, request_id: str, user_id: str | None = None) -> Request:
        """Return one; raises `NotFound` also when it is not `user_id`'s (None = anyone's)."""

    async def requests(
        self,
        user_id: str | None,
        *,
        status: Status | None = None,
        chat_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[Request], str | None]:
        """Return a page, newest first, and the cursor of the next one (None = no more).

        `user_id` None: everyone's.
        """

    async def usage(self, since: float) -> list[Usage]:
        """Return what was asked from `since` (unix seconds) on, by person, agent and state."""

    async def positions(self) -> dict[str, int]:
        """Return the place in the queue (1 = next) of every request that waits to be admitted."""

    async def delete_request(self, request_id: str, user_id: str) -> None:
        """Stop it if it runs and remove it with its log; the messages stay."""

    async def input(self, request_id: str, user_id: str) -> list[JSON]:
        """Return the input items that the request was made with; raises `NotFound`."""

    async def counts(self) -> dict[str, int]:
        """Return how many requests there are in each non-terminal state: `queued`, `streaming`."""

    async def figures(self) -> Figures:
        """Return what the whole deployment has to do and has done; cheap, however much that was."""

    async def overview(self, since: float, step_s: float) -> Overview:
        """Return who works, what failed and what happened since then, in steps."""

    async def prune(
        self, *, events_s: float, requests_s: float, chats_s: float, dry_run: bool = False
    ) -> JSON:
        """Remove some of what ended longer ago than given (0 = keep for ever); count it by noun.

        Transient requests go with their chats a minute after their end, whatever is given.
        `dry_run`: remove nothing and count all that is due.
        """


class ChatStore(Protocol):
    """Chats, messages and feedback. Every method names the person; foreign is `NotFound`."""

    async def create_chat(
        self, user_id: str, agent_id: str, title: str, metadata: Mapping[str, str] = {}
    ) -> Chat:
        """Make an empty chat."""

    async def chat(self, chat_id: str, user_id: str) -> Chat:
        """Return one chat."""

    async def chat_of_client(self, client_id: str, user_id: str) -> Chat:
        """Return the person's living chat that a client calls so."""

    async def chats(
        self,
        user_id: str,
        *,
        query: str = "",
        archived: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[Chat], str | None]:
        """Return a page, pinned first, then newest activity; `query` searches titles and texts."""

    async def chats_since(self, user_id: str, revision: int, limit: int = 200) -> list[Chat]:
        """Return chats changed after `revision`, in order of change, deleted ones as tombstones."""

    async def revision(self, user_id: str) -> int:
        """Return the newest revision of any of the person's chats (0 = none)."""

    async def update_chat(
        self,
        chat_id: str,
        user_id: str,
        *,
        title: str | None = None,
        pinned: bool | None = None,
        archived: bool | None = None,
        current_message_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Chat:
        """Change what is given; raises `NotFound` also for a message of another chat."""

    async def mark_read(self, chat_id: str, user_id: str) -> Chat:
        """Clear the unread mark for all of the person's devices."""

    async def delete_chat(self, chat_id: str, user_id: str) -> list[str]:
        """Cancel what runs or waits in it and remove it; return the ids of those requests."""

    async def messages(self, chat_id: str, user_id: str) -> list[Message]:
        """Return the whole tree, parents before children."""

    async def texts(self, message_ids: Sequence[str], user_id: str) -> dict[str, str]:
        """Return the texts of those messages that are the person's, by id."""

    async def edit_message(self, message_id: str, user_id: str, text: str) -> Message:
        """Change a question that still waits. Raises `Conflict` (`message_sent`) later."""

    async def remove_message(self, message_id: str, user_id: str) -> str:
        """Withdraw a question that still waits; return its request's id."""

    async def add_messages(
        self, chat_id: str, user_id: str, messages: Sequence[NewMessage]
    ) -> list[Message]:
        """Put messages behind the active leaf; raises `Conflict` (`chat_busy`) in a busy chat."""

    async def drop_message(
        self, message_id: str, user_id: str, keep: Sequence[JSON] | None = None
    ) -> Chat:
        """Take a message out of its chat; what follows it follows its parent.

        `keep`: only reduce an answer to these items of its output. Raises `Conflict` (`chat_busy`)
        while a request of the chat has not ended.
        """

    async def add_feedback(self, feedback: Feedback) -> None:
        """Keep a verdict; a later one of the same person, request and name replaces it."""

    async def feedback(self, request_id: str, user_id: str) -> list[Feedback]:
        """Return the person's verdicts on a request."""

    async def request_of_trace(self, trace_id: str, user_id: str) -> Request:
        """Return the person's request with that trace id."""

    async def answer_item(self, item_id: str, user_id: str) -> JSON:
        """Return the item of that id in one of the person's answers; raises `NotFound`."""


class Outbox(Protocol):
    """Webhooks that wait for delivery. `accept(notify=True)` makes one when the request ends.

    A webhook is one of `response.completed | incomplete | failed | cancelled`; its row is written
    in the transaction that ends the request, so that no end is forgotten and none told too early.
    """

    async def take_webhooks(self, hide_s: float, limit: int = 20) -> list[Webhook]:
        """Return those that are due, oldest first, with the new attempt counted.

        Nobody is given them again within `hide_s`; if this process dies, somebody is after it.
        """

    async def settle_webhook(
        self, webhook_id: str, *, error: str | None = None, retry_s: float | None = None
    ) -> None:
        """Keep how it went: no error = delivered; else due in `retry_s`, None = given up."""

    async def webhooks(self, user_id: str, *, dead: bool = False, limit: int = 50) -> list[Webhook]:
        """Return the person's, newest first; `dead`: only those given up."""

    async def redeliver_webhook(self, webhook_id: str, user_id: str) -> Webhook:
        """Make one due now, whatever became of it; its attempts begin anew. Raises `NotFound`."""


class Store(RequestStore, ChatStore, Outbox, Credentials, Protocol):
    """Durable truth; whatever it cannot do now raises `Unavailable`."""

    async def open(self) -> None:
        """Connect, migrate under a lock, recover."""

    async def close(self) -> None:
        """Let go of everything; what was committed stays."""

    async def check(self) -> JSON:
        """Prove that it can write; return engine, version, schema, durability."""


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

    def trouble(self) -> str | None:
        """Say why wake-ups do not get through now; None: they do, as far as is known."""

    def subscribe(self, listener: Callable[[Collection[str]], None]) -> None:
        """Call `listener(topics)` in this process's loop for all wake-ups."""


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
