"""One attempt of a request in this process: its claim, its builder, its clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from perdure.deltas import Delta
from perdure.errors import PerdureError, UpstreamError
from perdure.events import Builder, Closing
from perdure.fold import fold
from perdure.metrics import Metrics
from perdure.model import JSON, Failure, Status
from perdure.ports import Agent, Append, Call, Claim
from perdure.talk import as_items, as_messages
from perdure.user_tokens import UserToken

T = TypeVar("T")

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
        metrics: where its first words are counted.

    """

    __slots__ = (
        "_metrics",
        "_note",
        "_seen",
        "_silent",
        "_told",
        "agent",
        "asking",
        "attempt",
        "builder",
        "claim",
        "continuing",
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
        metrics: Metrics,
    ) -> None:
        self.request_id = claim.request.id
        self.claim = claim
        self.agent = agent
        self.task = task
        folded = fold(claim.events)
        self.continuing = goes_on(agent)
        self.attempt = claim.request.attempt
        self.partial = folded.text() if self.continuing and self.attempt > 1 else ""
        self.builder = Builder(
            folded, pending_max=PENDING_BYTES_MAX, text_bytes_max=answer_bytes_max
        )
        self.stopped: PerdureError | None = None
        self.handing_over = False
        self.asking = False
        self.ending = False
        self.noted = False
        self.heard = 0
        self.drops = 0
        self.touched = self.started = time.monotonic()
        self._note = note
        self._metrics = metrics
        self._silent = claim.request.attempt == 1
        self._seen = 0
        self._told: tuple[str | None, JSON | None, int] = (None, None, self.attempt)

    def put(self, delta: Delta) -> bool:
        """Add a delta to the log; tell whether there is room for another one right now."""
        self.heard += 1
        if not self.noted:
            self.noted = True
            self._note(self)
        return self.builder.add(delta)

    def take(self) -> Append | None:
        """Return what is new since the last take, numbered."""
        self.noted = False
        builder = self.builder
        if self._silent and builder.has_deltas:
            self._speak()
        log = builder.log
        events = log.take()
        first = log.next - len(events)
        told = (builder.trace_id, builder.position, self.attempt)
        if told == self._told:
            return Append(self.request_id, self.claim.claim_id, first, events) if events else None
        before, self._told = self._told, told
        return Append(
            self.request_id,
            self.claim.claim_id,
            first,
            events,
            _new(told[0], before[0]),
            _new(told[2], before[2]),
            _new(told[1], before[1]),
        )

    def _speak(self) -> None:
        """Count the time from the question to the first words of its first attempt."""
        self._silent = False
        waited = time.time() - self.claim.request.created_at
        self._metrics.first_token.labels(self.agent.id).observe(max(0.0, waited))

    def end(self, status: Status, error: Failure | None = None) -> tuple[Append, Closing]:
        """Close the answer; return its last events and what is to be kept."""
        if self._silent and self.builder.has_deltas:
            self._speak()
        closing = self.builder.end(status, error)
        events = self.builder.take()
        first = self.builder.next - len(events)
        trace_id = self.builder.trace_id
        position = self.builder.position
        last = Append(
            self.request_id, self.claim.claim_id, first, events, trace_id, self.attempt, position
        )
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

    def begin_again(self, reason: str, *, continued: bool) -> None:
        """Open another attempt, behind what there is or instead of it."""
        self.attempt += 1
        self.continuing = continued
        self.builder.in_progress(self.attempt, reason, continued)
        self.builder.has_deltas = False
        self.partial = self.builder.text() if continued else ""

    def open(self, user_token: UserToken | None = None) -> AsyncGenerator[Delta, None]:
        """Ask the agent."""
        request = self.claim.request
        call = Call(
            request_id=request.id,
            chat_id=request.chat_id,
            user_id=request.user_id,
            agent_id=request.agent_id,
            messages=as_messages(self.claim.messages, request.params.get("instructions")),
            attempt=self.attempt,
            partial=self.partial,
            metadata=request.metadata,
            put=self.put,
            items=as_items(self.claim.messages),
            params=request.params,
            upstream=self.position if self.continuing else None,
            user_token=user_token,
        )
        return self.agent.handler.stream(call)

    @property
    def position(self) -> JSON | None:
        """Where the upstream's own log stands, as far as it was told."""
        return self.builder.position or self.claim.request.upstream

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


def goes_on(agent: Agent) -> bool:
    """Tell whether an agent's next attempt goes on behind what the last one has said."""
    return agent.recovery == "continue" and agent.handler.can_continue


def _too_long(code: str, what: str, seconds: float) -> UpstreamError:
    return UpstreamError(f"The agent {what} {seconds:g} s.", code=code)


def _new(value: T, before: T) -> T | None:
    """Return a value unless it was told before."""
    return value if value != before else None
