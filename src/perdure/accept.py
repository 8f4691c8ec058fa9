"""Taking questions and every other wish of a person: check, one transaction, wake whom it concerns.

When `ask` returns, the question is safe: message, request and event 0 are committed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Literal, Unpack

import msgspec

from perdure.dispatch import Dispatch
from perdure.errors import Conflict, Invalid, NotFound, Unavailable
from perdure.events import first_event, response
from perdure.model import JSON, Chat, Message, Request, Status, new_id, title_of
from perdure.ports import (
    Accepted,
    AcceptLimits,
    Agent,
    Bus,
    ChatChanges,
    IfBusy,
    NewMessage,
    NewRequest,
    Store,
    Topic,
)
from perdure.talk import is_blank
from perdure.traceparent import CALLER
from perdure.traces import Traces
from perdure.user_tokens import UserToken, UserTokens, acts

POSITIONS_AGE_S = 1.0


class Question(msgspec.Struct, kw_only=True):
    """What a person asks, before anything is decided about it.

    `history` is for a new chat only; `before` comes with the question in any chat. `answers`:
    instead of a text, the id of a stored message to answer. The rest as in `NewRequest`.
    """

    text: str
    user_id: str
    parts: list[JSON] | None = None
    agent_id: str | None = None
    chat_id: str | None = None
    history: Sequence[NewMessage] = ()
    parent_id: str | None = None
    from_root: bool = False
    if_busy: IfBusy = "queue"
    metadata: dict[str, str] = {}
    idempotency_key: str | None = None
    fingerprint: str = ""
    role: Literal["user", "assistant", "system", "developer", "tool"] = "user"
    message_id: str | None = None
    before: Sequence[NewMessage] = ()
    answers: str | None = None
    params: JSON = {}
    input: Sequence[JSON] = ()
    transient: bool = False
    client_chat_id: str | None = None
    any_agent: bool = False
    user_token: UserToken | None = None
    follows: str | None = None


class Acceptance:
    """The writing half of the API.

    Args:
        store, bus, dispatch: where it goes, who is woken, who starts it.
        agents: by id; the first is asked when a question names none.
        default_agent_id: whom to ask when a question names nobody.
        limits: how many may wait.
        message_bytes_max: size of one message's text, UTF-8.

    Attributes:
        draining: refuse questions, the process is about to stop.
        notify: whether ends are told by webhook.
        user_tokens: where people's own tokens wait for runs of this process; None = there are none.
        traces: who is told of requests that are cancelled here.

    """

    def __init__(
        self,
        store: Store,
        bus: Bus,
        dispatch: Dispatch,
        agents: Mapping[str, Agent],
        *,
        default_agent_id: str,
        limits: AcceptLimits,
        message_bytes_max: int,
    ) -> None:
        self.draining = False
        self.notify = False
        self.user_tokens: UserTokens | None = None
        self.traces = Traces()
        self._store = store
        self._bus = bus
        self._dispatch = dispatch
        self._agents = agents
        self._default_agent_id = default_agent_id
        self._limits = limits
        self._message_bytes_max = message_bytes_max
        self._positions: dict[str, int] = {}
        self._positions_at = float("-inf")

    async def ask(self, question: Question) -> Accepted:
        """Store a question and its request; it is committed when this returns.

        Raises:
            Invalid: empty or too large, or an unknown agent.
            NotFound, Conflict, TooMany: as `RequestStore.accept`.
            Unavailable: the server is stopping or cannot write.

        """
        if question.answers is None:
            self._check(question.text, question.parts)
        self._check_sizes([*question.history, *question.before])
        agent_id = await self._agent_of(question)
        new = self._new(
            question.user_id, question.chat_id, agent_id, question.metadata, question.params
        )
        title = title_of(question.history[0].text if question.history else question.text)
        message = NewMessage(
            id=question.message_id or new_id("msg"),
            role=question.role,
            text=question.text,
            parts=question.parts,
        )
        new = msgspec.structs.replace(
            new,
            title=title,
            history=[*(question.history if new.new_chat else ()), *question.before],
            question=message if question.answers is None else None,
            answers=question.answers,
            parent_id=question.parent_id,
            from_root=question.from_root,
            if_busy=question.if_busy,
            idempotency_key=question.idempotency_key,
            fingerprint=question.fingerprint,
            input=question.input,
            transient=question.transient,
            client_chat_id=question.client_chat_id,
            any_agent=question.any_agent,
            follows=question.follows,
        )
        return await self._accept(new, question.user_token)

    async def again(
        self,
        request_id: str,
        user_id: str,
        user_token: UserToken | None = None,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Ask the question of an ended request once more: a sibling answer, one for each key.

        Raises:
            Conflict: `request_unfinished` while it has not ended.
            NotFound: also for one that is not stored: its chat is about to go.

        """
        before = await self._store.request(request_id, user_id)
        if before.transient:
            raise NotFound(f"There is no request {request_id}.", code="request_not_found")
        if not before.status.terminal:
            detail = "This request has not ended yet; cancel it first to ask again."
            raise Conflict(detail, code="request_unfinished")
        if before.agent_id not in self._agents:
            detail = f"The agent {before.agent_id} is no longer configured here."
            raise Invalid(detail, code="unknown_agent")
        new = self._new(user_id, before.chat_id, before.agent_id, before.metadata, before.params)
        again = msgspec.structs.replace(
            new,
            answers=before.user_message_id,
            any_agent=True,
            idempotency_key=idempotency_key,
            fingerprint=f"retry {request_id}",
        )
        return await self._accept(again, user_token)

    async def cancel(self, request_id: str, user_id: str) -> Request:
        """End a request as cancelled unless it has ended; return the state that won."""
        before = await self._store.request(request_id, user_id)
        request = await self._store.cancel(request_id)
        await self._stopped([request_id], user_id)
        if not before.status.terminal and request.status is Status.CANCELLED:
            self.traces.ended(request)  # else it ended meanwhile, and its run has told so
        return request

    async def delete_request(self, request_id: str, user_id: str) -> None:
        """Stop a request and remove it."""
        before = [await self._store.request(request_id, user_id)] if self.traces.wanted else []
        await self._store.delete_request(request_id, user_id)
        await self._stopped([request_id], user_id)
        self._tell_of_ends(before)

    async def create_chat(
        self,
        user_id: str,
        agent_id: str | None,
        title: str,
        metadata: Mapping[str, str] = {},
        messages: Sequence[NewMessage] = (),
    ) -> Chat:
        """Make a chat, with its first messages if there are some."""
        if len(messages) > self._limits.messages_max:
            detail = f"A chat holds at most {self._limits.messages_max} messages."
            raise Conflict(detail, code="chat_full")
        self._check_sizes(messages)
        chat = await self._store.create_chat(
            user_id, self._known(agent_id), title or "New chat", metadata
        )
        if messages:
            await self._store.add_messages(chat.id, user_id, messages)
        await self._bus.publish([Topic.chats(user_id)])
        return chat

    async def add_messages(
        self, chat_id: str, user_id: str, messages: Sequence[NewMessage]
    ) -> None:
        """Put messages at the end of a chat, that nobody answers."""
        self._check_sizes(messages)
        await self._store.add_messages(chat_id, user_id, messages, self._limits.messages_max)
        await self._bus.publish([Topic.chats(user_id)])

    async def update_chat(self, chat_id: str, user_id: str, **changes: Unpack[ChatChanges]) -> Chat:
        """Rename, pin, archive a chat or switch its branch."""
        chat = await self._store.update_chat(chat_id, user_id, **changes)
        await self._bus.publish([Topic.chats(user_id)])
        return chat

    async def mark_read(self, chat_id: str, user_id: str) -> Chat:
        """Clear a chat's unread mark."""
        chat = await self._store.mark_read(chat_id, user_id)
        await self._bus.publish([Topic.chats(user_id)])
        return chat

    async def delete_chat(self, chat_id: str, user_id: str) -> None:
        """Stop what runs in a chat and remove it."""
        await self._removed(await self._store.delete_chat(chat_id, user_id), user_id)

    async def edit_message(self, message_id: str, user_id: str, text: str) -> Message:
        """Change a question that still waits."""
        self._check(text, None)
        message = await self._store.edit_message(message_id, user_id, text)
        await self._bus.publish([Topic.chats(user_id)])
        return message

    async def remove_message(self, message_id: str, user_id: str) -> None:
        """Withdraw a question that still waits."""
        await self._removed([await self._store.remove_message(message_id, user_id)], user_id)

    async def position(self, request: Request) -> int | None:
        """Return a waiting request's place in the queue (1 = next), at most a second old."""
        if request.status != Status.QUEUED or request.dispatched_at is not None:
            return None
        now = asyncio.get_running_loop().time()
        if now - self._positions_at > POSITIONS_AGE_S or request.id not in self._positions:
            self._positions = await self._store.positions()
            self._positions_at = now
        return self._positions.get(request.id)

    async def _accept(self, new: NewRequest, user_token: UserToken | None) -> Accepted:
        if self.draining:
            detail = "The server is restarting; send it again in a moment."
            raise Unavailable(detail, code="draining")
        accepted = await self._store_with(user_token, new)
        await self._stopped(accepted.interrupted, new.user_id)
        if self.traces.wanted:
            for request_id in accepted.interrupted:
                self.traces.ended(await self._store.request(request_id))
        await self._dispatch.deliver(accepted.admitted)
        if accepted.undecided:
            self._dispatch.ring()
        return accepted

    async def _store_with(self, user_token: UserToken | None, new: NewRequest) -> Accepted:
        """Store a request; the person's token is at hand before anybody can run it."""
        agent, tokens = self._agents.get(new.agent_id), self.user_tokens
        if user_token is None or tokens is None or agent is None or not acts(agent.handler):
            return await self._store.accept(new)
        tokens.keep(new.id, user_token)
        try:
            accepted = await self._store.accept(new)
        except BaseException:
            tokens.drop(new.id)
            raise
        if accepted.replayed:
            tokens.drop(new.id)
            if not accepted.request.status.terminal:
                tokens.keep(accepted.request.id, user_token)
        return accepted

    async def _stopped(self, request_ids: Sequence[str], user_id: str) -> None:
        """Tell workers to close, readers to look, and the queue that there is room."""
        topics = [Topic.chats(user_id)]
        for request_id in request_ids:
            if self.user_tokens is not None:
                self.user_tokens.drop(request_id)
            topics += [Topic.stop(request_id), Topic.events(request_id)]
        await self._bus.publish(topics)
        if request_ids:
            self._dispatch.ring()

    async def _removed(self, before: Sequence[Request], user_id: str) -> None:
        """Tell everybody of requests that ended by being removed."""
        await self._stopped([request.id for request in before], user_id)
        self._tell_of_ends(before)

    def _tell_of_ends(self, before: Sequence[Request]) -> None:
        """Trace the ends of removed requests: nothing of them is left to be read."""
        for request in before:
            if not request.status.terminal:
                ended = {"status": Status.CANCELLED, "completed_at": time.time()}
                self.traces.ended(msgspec.structs.replace(request, **ended))

    async def _agent_of(self, question: Question) -> str:
        """Return the agent to ask: the chat's own unless another one is named."""
        if question.chat_id is None or question.agent_id is not None:
            return self._known(question.agent_id)
        chat = await self._store.chat(question.chat_id, question.user_id)
        return self._known(chat.agent_id)

    def _known(self, agent_id: str | None) -> str:
        agent_id = agent_id or self._default_agent_id
        if agent_id not in self._agents:
            detail = f"There is no agent {agent_id}; GET /api/agents lists them."
            raise Invalid(detail, code="unknown_agent")
        return agent_id

    def _new(
        self,
        user_id: str,
        chat_id: str | None,
        agent_id: str,
        metadata: dict[str, str],
        params: JSON,
    ) -> NewRequest:
        request_id = new_id("resp")
        first = response(
            id=request_id,
            agent_id=agent_id,
            created_at=time.time(),
            metadata=metadata,
            conversation=params.get("conversation"),
            background=params.get("background", True),
            extra=params,
        )
        return NewRequest(
            id=request_id,
            chat_id=chat_id or new_id("chat"),
            new_chat=chat_id is None,
            user_id=user_id,
            agent_id=agent_id,
            message_id=new_id("msg"),
            first_event=first_event(first),
            limits=self._limits,
            metadata=metadata,
            params=params,
            notify=self.notify,
            start=True,
            traceparent=CALLER.get(),
        )

    def _check(self, text: str, parts: list[JSON] | None) -> None:
        if is_blank(text, parts):
            detail = "The message is empty."
            raise Invalid(detail, code="message_empty")
        self._check_size(text)

    def _check_sizes(self, messages: Sequence[NewMessage]) -> None:
        for message in messages:
            self._check_size(message.text)

    def _check_size(self, text: str) -> None:
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > self._message_bytes_max:
            detail = f"The message has {size} bytes; at most {self._message_bytes_max} are allowed."
            raise Invalid(detail, code="message_too_large", status=413)
