"""One attempt of a request in this process: its claim, its builder, its clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection

from perdure.deltas import Delta
from perdure.errors import PerdureError, UpstreamError
from perdure.events import Builder, Closing
from perdure.fold import fold
from perdure.model import JSON, Failure, Message, Status
from perdure.ports import Agent, Append, Call, Claim

PENDING_BYTES_MAX = 64 * 1024
"""Bytes that a run may have waiting for the store before it must wait itself."""


class Run:
    """One attempt of a request in this process; what the journal writes for it.

    Args:
        claim: its ownership.
        agent: who answers.
        task: what runs it; cancelled to stop it.
        note: called with the run when there is something to store.
        answer_bytes_max: size from which the answer is too large.

    """

    __slots__ = (
        "_answer_bytes_max",
        "_attempt",
        "_note",
        "_seen",
        "_trace_id",
        "agent",
        "asking",
        "attempt",
        "builder",
        "claim",
        "drops",
        "ending",
        "handing_over",
        "heard",
        "noted",
        "partial",
        "request_id",
        "started",
        "stopped",
        "task",
        "touched",
    )

    def __init__(
        self,
        claim: Claim,
        agent: Agent,
        task: asyncio.Task[None],
        note: Callable[[Run], None],
        answer_bytes_max: int,
    ) -> None:
        self.request_id = claim.request.id
        self.claim = claim
        self.agent = agent
        self.task = task
        folded = fold(claim.events)
        self.partial = folded.text()
        self.builder = Builder(folded)
        self.attempt = claim.request.attempt
        self.stopped: PerdureError | None = None
        self.handing_over = False
        self.asking = False
        self.ending = False
        self.noted = False
        self.heard = 0
        self.drops = 0
        self.touched = self.started = time.monotonic()
        self._note = note
        self._answer_bytes_max = answer_bytes_max
        self._seen = 0
        self._trace_id: str | None = None
        self._attempt = self.attempt

    def put(self, delta: Delta) -> bool:
        """Add a delta to the log; tell whether there is room for another one right now."""
        self.builder.add(delta)
        self.heard += 1
        if not self.noted:
            self.noted = True
            self._note(self)
        return self.roomy

    @property
    def roomy(self) -> bool:
        """Whether the agent may go on at once."""
        return not (self.full or self.too_large)

    @property
    def full(self) -> bool:
        """Whether so much waits for the store that the agent has to wait, too."""
        return self.builder.pending > PENDING_BYTES_MAX

    @property
    def too_large(self) -> bool:
        """Whether the answer is longer than allowed."""
        return self.builder.text_bytes > self._answer_bytes_max

    def take(self) -> Append | None:
        """Return what is new since the last take, numbered."""
        self.noted = False
        builder = self.builder
        events = builder.take()
        first = builder.first - len(events)
        if builder.trace_id == self._trace_id and self.attempt == self._attempt:
            return Append(self.request_id, self.claim.claim_id, first, events) if events else None
        trace_id, self._trace_id = self._new_trace(), self.builder.trace_id
        if not events and trace_id is None:
            return None
        attempt, self._attempt = self._attempt, self.attempt
        return Append(
            self.request_id,
            self.claim.claim_id,
            first,
            events,
            trace_id,
            self.attempt if attempt != self.attempt else None,
        )

    def end(self, status: Status, error: Failure | None = None) -> tuple[Append, Closing]:
        """Close the answer; return its last events and what is to be kept."""
        closing = self.builder.end(status, error)
        events = self.builder.take()
        first = self.builder.first - len(events)
        trace_id = self.builder.trace_id
        last = Append(self.request_id, self.claim.claim_id, first, events, trace_id, self.attempt)
        return last, closing

    def lose(self, error: PerdureError) -> None:
        """Stop: the claim is lost, or nothing can be stored."""
        self.stop(error)

    def stop(self, error: PerdureError) -> None:
        """End the task with a reason; the first reason counts, and an end under way stands."""
        if self.stopped is None and not self.ending:
            self.stopped = error
            self.task.cancel()

    def hand_over(self) -> None:
        """End the task so that another worker goes on, unless it is ending anyway."""
        if not self.handing_over and not self.ending:
            self.handing_over = True
            self.task.cancel()

    def open(self) -> AsyncGenerator[Delta, None]:
        """Ask the agent."""
        request = self.claim.request
        call = Call(
            request_id=request.id,
            chat_id=request.chat_id,
            user_id=request.user_id,
            agent_id=request.agent_id,
            messages=_conversation(self.claim.messages),
            attempt=self.attempt,
            partial=self.partial,
            metadata=request.metadata,
            put=self.put,
        )
        return self.agent.handler.stream(call)

    def overdue(self, now: float) -> UpstreamError | None:
        """Return the time limit that is passed, if one is; waiting to retry is not silence."""
        if self.heard != self._seen:
            self._seen, self.touched = self.heard, now
        agent, silent = self.agent, now - self.touched
        if now - self.started > agent.total_timeout_s:
            return _too_long("total_timeout", "took longer than", agent.total_timeout_s)
        if not self.asking:
            return None
        if not self.builder.has_deltas and silent > agent.first_byte_timeout_s:
            return _too_long("first_byte_timeout", "said nothing for", agent.first_byte_timeout_s)
        if self.builder.has_deltas and silent > agent.idle_timeout_s:
            return _too_long("idle_timeout", "fell silent for", agent.idle_timeout_s)
        return None

    def _new_trace(self) -> str | None:
        trace_id = self.builder.trace_id
        return trace_id if trace_id != self._trace_id else None


def _conversation(messages: Collection[Message]) -> list[JSON]:
    """Return what the agent is told; answers without text (failed, stopped early) are left out."""
    return [
        {"role": message.role, "content": message.parts or message.text}
        for message in messages
        if message.text or message.parts
    ]


def _too_long(code: str, what: str, seconds: float) -> UpstreamError:
    return UpstreamError(f"The agent {what} {seconds:g} s.", code=code)
