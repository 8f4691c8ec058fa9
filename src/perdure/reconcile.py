"""Setting right what time and crashes have left: it delivers, takes over and prunes; it never runs.

One per process; each step is a guarded transaction, so that several of them do no harm.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from perdure import chores
from perdure.dispatch import Dispatch
from perdure.errors import PerdureError
from perdure.metrics import Metrics
from perdure.model import Failure, Request
from perdure.outage import Outage
from perdure.ports import Agent, Bus, Queue, Store, Topic
from perdure.roster import Roster
from perdure.settings import Retention
from perdure.traces import Traces

log = logging.getLogger("perdure.reconcile")

UNDELIVERED_S = 10.0
PRUNE_EVERY_S = 1.0
PRUNE_IDLE_MAX_S = 30.0
"""Longest distance of two looks for what is past its time, while nothing is."""
HOUR_S, DAY_S = 3600.0, 86_400.0


class Reconciler:
    """The chores of one process.

    Args:
        store, bus, queue, dispatch: what it sets right.
        agents: their recovery policies.
        retention: how long things are kept.
        every_s: distance of two rounds.

    Attributes:
        metrics: where it is counted.
        roster: who looks whether there are workers.
        traces: who is told of requests that end here.

    """

    def __init__(
        self,
        store: Store,
        bus: Bus,
        queue: Queue,
        dispatch: Dispatch,
        agents: Mapping[str, Agent],
        *,
        retention: Retention,
        every_s: float,
    ) -> None:
        self.metrics = Metrics()
        self.roster = Roster(None)
        self.traces = Traces()
        self._store = store
        self._bus = bus
        self._queue = queue
        self._dispatch = dispatch
        self._agents = agents
        self._retention = retention
        self._every_s = every_s
        self._reconciling = Outage(log, "reconciling")
        self._pruning = Outage(log, "pruning")
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin the rounds."""
        self._tasks = [
            chores.begin(self._rounds, "reconciler"),
            chores.begin(self._prunings, "retention"),
        ]

    async def close(self) -> None:
        """End the rounds."""
        await chores.end(self._tasks)

    async def take_over(self, *, dead: bool = False) -> None:
        """Take over requests whose worker is gone (`dead`: whoever is streaming) and tell it."""
        changed = await self._store.reap(self.verdict, dead=dead)
        topics: list[str] = []
        for request in changed:
            outcome = "failed" if request.status.terminal else "queued"
            self.metrics.lapsed.labels(outcome).inc()
            if request.status.terminal:
                self.traces.ended(request)
                topics.append(Topic.stop(request.id))
            # Of one that is queued again nobody is told to stop: that could come late and stop its
            # next worker. The last one, if it lives, learns it with its next write or renewal.
            topics += [Topic.events(request.id), Topic.chats(request.user_id)]
        if changed:
            log.warning("took over %d requests of lost workers", len(changed))
            await self._bus.publish(topics)

    def verdict(self, request: Request) -> Failure | None:
        """Decide about a request whose worker is gone, by its agent's policy."""
        agent = self._agents.get(request.agent_id)
        if agent is None:
            return Failure("agent_removed", f"The agent {request.agent_id} is no longer here.")
        if request.transient:
            return Failure("interrupted", "The server restarted, and store was false.")
        if agent.recovery == "fail":
            return Failure("interrupted", "The answer was interrupted; press Retry to ask again.")
        if request.crashes >= agent.attempts_max:
            detail = f"The worker was lost {request.crashes} times while it answered this."
            return Failure("worker_lost", detail)
        return None

    async def _rounds(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._every_s
            await asyncio.sleep(self._every_s)
            if loop.time() - due > self._every_s:
                # This process was stopped meanwhile: let it renew its own leases first.
                continue
            try:
                await self.take_over()
                lost = await self._store.undelivered(UNDELIVERED_S)
                self.metrics.redelivered.inc(len(lost))
                await self._queue.enqueue(lost)
                await self.roster.look()
            except PerdureError as error:
                self._reconciling.failed(error)
            else:
                self._reconciling.worked()
            self._dispatch.ring()

    async def _prunings(self) -> None:
        """Remove what is past its time; look ever more seldom while there is nothing."""
        pause_s = PRUNE_EVERY_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = PRUNE_EVERY_S if await self._prune() else min(PRUNE_IDLE_MAX_S, 2 * pause_s)

    async def _prune(self) -> bool:
        """Do one step; tell whether anything was removed."""
        keep, started = self._retention, time.monotonic()
        try:
            removed = await self._store.prune(
                events_s=keep.events_hours * HOUR_S,
                requests_s=keep.requests_days * DAY_S,
                chats_s=keep.chats_days * DAY_S,
            )
        except PerdureError as error:
            self._pruning.failed(error)
            return False
        self._pruning.worked()
        log.debug("pruned in %.1f ms", 1000 * (time.monotonic() - started))
        return any(removed.values())
