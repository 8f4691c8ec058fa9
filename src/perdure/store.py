"""The store's port: the durable truth, in the domain's verbs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, Unpack, runtime_checkable

from perdure.credentials import Credentials
from perdure.events import Closing
from perdure.model import JSON, Chat, Failure, Feedback, Message, Request, Status, Usage, Webhook
from perdure.records import (
    Accepted,
    Append,
    ChatChanges,
    Claim,
    Figures,
    NewMessage,
    NewRequest,
    Overview,
    RunLimits,
    Slice,
)

Verdict = Callable[[Request], Failure | None]
"""Decides about a request whose worker is gone: None = queue it again, else fail it so."""


class RequestStore(Protocol):
    """The life of requests and their logs. Each method is one transaction.

    Shared rules: a transition happens only along `model.TRANSITIONS`; terminal is final; events of
    a request are numbered 0, 1, 2 … without gaps in the transaction that writes them; what a method
    returned survives a crash of this process. The clock is the store's.

    Attributes:
        append_rest: for how many times as long as an `append` took the next one waits, so that more
            answers share it: longer where the event loop stands still meanwhile.

    """

    append_rest: float

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

        Transient ones are left out. `user_id` None: everyone's.
        """

    async def usage(self, since: float) -> list[Usage]:
        """Return what was asked from `since` (unix seconds) on, by person, agent and state."""

    async def positions(self) -> dict[str, int]:
        """Return the place in the queue (1 = next) of every request that waits to be admitted."""

    async def delete_request(self, request_id: str, user_id: str) -> None:
        """Stop it if it runs and remove it with its log; the messages stay."""

    async def input(self, request_id: str, user_id: str) -> list[JSON]:
        """Return the input items that the request was made with; raises `NotFound`."""

    async def unanswered(self, request_id: str, mark: str) -> None:
        """Note that whoever made a call got no answer; `mark` tells the same call made again."""

    async def rejoin(self, user_id: str, mark: str) -> Request | None:
        """Return the newest of the person's requests noted under `mark`; nobody else gets it."""

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
    """Chats, messages, feedback; foreign is `NotFound`. No list tells of a transient one's chat."""

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

    async def update_chat(self, chat_id: str, user_id: str, **changes: Unpack[ChatChanges]) -> Chat:
        """Change what is given; raises `NotFound` also for a message of another chat."""

    async def mark_read(self, chat_id: str, user_id: str) -> Chat:
        """Clear the unread mark for all of the person's devices."""

    async def delete_chat(self, chat_id: str, user_id: str) -> list[Request]:
        """Cancel what runs or waits in it and remove it; return what those requests were before."""

    async def messages(self, chat_id: str, user_id: str) -> list[Message]:
        """Return the whole tree, parents before children."""

    async def texts(self, message_ids: Sequence[str], user_id: str) -> dict[str, str]:
        """Return the texts of those messages that are the person's, by id."""

    async def edit_message(self, message_id: str, user_id: str, text: str) -> Message:
        """Change a question that still waits. Raises `Conflict` (`message_sent`) later."""

    async def remove_message(self, message_id: str, user_id: str) -> Request:
        """Withdraw a question that still waits; return what its request was before."""

    async def add_messages(
        self,
        chat_id: str,
        user_id: str,
        messages: Sequence[NewMessage],
        messages_max: int | None = None,
    ) -> list[Message]:
        """Put messages behind the active leaf.

        `messages_max`: of the chat, then; None = any number. Raises `Conflict`: `chat_busy` in a
        busy chat, `chat_full` when it would hold more.
        """

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
    """Webhooks and verdicts that wait for delivery.

    `accept(notify=True)` makes a webhook when the request ends.

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

    async def take_feedback(self, hide_s: float, limit: int = 20) -> list[Feedback]:
        """Return verdicts that are due, oldest first, with this try counted; hidden as webhooks.

        Each comes with its request's trace; one that has none waits for it, and comes without when
        the request has ended so.
        """

    async def settle_feedback(self, taken: Feedback, retry_s: float | None = None) -> None:
        """Let it be due in `retry_s`, None = never; a verdict that replaced it stays as it is."""


class Store(RequestStore, ChatStore, Outbox, Credentials, Protocol):
    """Durable truth; whatever it cannot do now raises `Unavailable`."""

    async def open(self) -> None:
        """Connect, migrate under a lock, recover."""

    async def close(self) -> None:
        """Let go of everything; what was committed stays."""

    async def check(self) -> JSON:
        """Prove that it can write; return engine, version, schema, durability."""


@runtime_checkable
class Roll(Protocol):
    """A store that knows which workers are there, so that no more is admitted than they can take.

    What is admitted beyond that would wait in the queue, which delivers in its own order: there a
    person's hundredth question goes before another's first.
    """

    async def present(self, worker_id: str, slots: int, for_s: float) -> None:
        """Count a worker's slots for `for_s` seconds from now; 0 slots: it takes nothing more."""

    async def workers(self) -> int:
        """Return how many are there and take something."""
