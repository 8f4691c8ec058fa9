"""One process's parts, put together: what the routers talk to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from perdure.accept import Acceptance
from perdure.dispatch import Dispatch
from perdure.errors import PerdureError, SettingsError
from perdure.heartbeat import Heartbeat
from perdure.journal import Journal
from perdure.keyring import Keyring
from perdure.metrics import Metrics
from perdure.ports import AcceptLimits, Agent, Bus, Queue, Roll, RunLimits, Store, Tracker
from perdure.reconcile import Reconciler
from perdure.roster import Roster
from perdure.runner import Runner
from perdure.settings import Settings
from perdure.tail import Tails
from perdure.traces import Traces
from perdure.user_tokens import acts, forbid_core_dumps
from perdure.verdicts import Verdicts
from perdure.webhooks import Delivery


@dataclass(frozen=True)
class Adapters:
    """What stands behind the ports in this process.

    Attributes:
        lease_store: the store once more, for a thread that renews leases; None = the loop does.
        tracker: where the agents' traces are; None = nowhere.

    """

    store: Store
    queue: Queue
    bus: Bus
    lease_store: Store | None = None
    tracker: Tracker | None = None


class Core:
    """The life of a process: open, serve, drain, close.

    Args:
        settings: limits and times.
        agents: by id, at least one; the first is the default unless the settings name another.
        adapters: what stands behind the ports.
        slots: how many answers a worker process runs at once; 0 = this is none.

    """

    def __init__(
        self,
        settings: Settings,
        agents: Mapping[str, Agent],
        adapters: Adapters,
        *,
        slots: int = 0,
    ) -> None:
        self.settings = settings
        self.agents = agents
        self.slots = slots
        self.default_agent_id = _default(settings, agents)
        self.store, self.bus, self.queue = adapters.store, adapters.bus, adapters.queue
        self.tracker = tracker = adapters.tracker
        self.verdicts = Verdicts(self.store, tracker) if tracker is not None else None
        self.started_at = time.time()
        self.draining = False
        self.keyring = Keyring(self.store, settings.auth)
        self.metrics = Metrics(version("perdure"))
        limits = _limits(settings, agents)
        self.dispatch = Dispatch(self.store, self.queue, limits.run)
        self.acceptance = self._acceptance(limits)
        self.webhooks = Delivery(self.store, settings.webhooks, self.metrics)
        self.tails = Tails(self.store, self.bus)
        self.journal = Journal(self.store, self.bus, self.metrics)
        self.journal.on_stored = self.tails.take
        self.runner = self._runner()
        self.roster = self._roster()
        self.reconciler = self._reconciler()
        self.heartbeat = self._heartbeat(adapters.lease_store)
        self.traces = Traces()
        self.metrics.draining.set_function(lambda: self.draining)
        self.metrics.readers.set_function(lambda: self.tails.readers)
        if not settings.has_workers:  # they are in other processes, which no token reaches
            self.acceptance.user_tokens = self.runner.user_tokens
        self.queue.consume(self.runner.deliver)
        self.besides: list[Callable[[], Awaitable[None]]] = []  # to let go of in the end, too
        self.opened = False
        self._opening: asyncio.Task[None] | None = None
        self._drained: asyncio.Task[None] | None = None

    def _runner(self) -> Runner:
        return Runner(
            self.store,
            self.journal,
            self.bus,
            self.agents,
            freed=self.dispatch.ring,
            lease_s=self.settings.lease_s,
            answer_bytes_max=self.settings.limits.answer_bytes_max,
        )

    def _roster(self) -> Roster:
        """Return who looks after workers; a worker itself is there, and says nothing of others."""
        needed = self.settings.has_workers and not self.slots
        return Roster(self.store if needed and isinstance(self.store, Roll) else None)

    def _reconciler(self) -> Reconciler:
        reconciler = Reconciler(
            self.store,
            self.bus,
            self.queue,
            self.dispatch,
            self.agents,
            retention=self.settings.retention,
            every_s=self.settings.reap_s,
        )
        reconciler.metrics, reconciler.roster = self.metrics, self.roster
        return reconciler

    def _acceptance(self, limits: AcceptLimits) -> Acceptance:
        acceptance = Acceptance(
            self.store,
            self.bus,
            self.dispatch,
            self.agents,
            default_agent_id=self.default_agent_id,
            limits=limits,
            message_bytes_max=self.settings.limits.message_bytes_max,
        )
        acceptance.notify = bool(self.settings.webhooks.url)
        return acceptance

    def _heartbeat(self, lease_store: Store | None) -> Heartbeat | None:
        if lease_store is None:
            return None
        return Heartbeat(
            self.runner,
            lease_store,
            lease_s=self.settings.lease_s,
            silent_max_s=self.settings.worker.silent_max_s,
            slots=self.slots,
        )

    def trace(self, traces: Traces) -> None:
        """Tell these of calls to agents and of ends; before `open`."""
        self.traces = traces
        self.acceptance.traces = self.runner.traces = self.reconciler.traces = traces

    async def open(self) -> None:
        """Open the store, take over what a dead self left, and start; once, however often called.

        Where this process owns the store alone, whatever is streaming there belongs to nobody;
        in a shared one only a lapsed lease says so. A store that cannot be opened is tried again
        by the next call.
        """
        if self._opening is None:
            # In a context of its own: whose call it was means nothing to what is begun here.
            opening = self._open()
            self._opening = asyncio.create_task(opening, name="open", context=Context())
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        if any(acts(agent.handler) for agent in self.agents.values()):
            forbid_core_dumps()
        try:
            await self.store.open()
            await self.reconciler.take_over(dead=self.settings.alone)
        except PerdureError:
            self._opening = None
            await self.store.close()  # else the next call would open it twice
            raise
        await self.bus.open()
        await self.queue.open()
        self.tails.start()
        self.journal.start()
        self.runner.start(renewing=self.heartbeat is None)
        if self.heartbeat is not None:
            self.heartbeat.start()
        if self.slots and isinstance(self.store, Roll):
            await self.store.present(self.runner.worker_id, self.slots, self.settings.lease_s)
        self.reconciler.start()
        self.webhooks.start()
        if self.verdicts is not None:
            self.verdicts.start()
        self.opened = True
        self.dispatch.ring()

    async def drain(self) -> None:
        """Stop taking questions, end streams with a hint, finish or hand over what runs.

        A second call while the first is under way ends its grace.
        """
        if self._drained is None:
            self._drained = asyncio.create_task(self._drain(), name="drain")
        else:
            self.runner.hand_over_now()
        await asyncio.shield(self._drained)

    async def _drain(self) -> None:
        self.draining = self.acceptance.draining = True
        self.dispatch.closed = True
        self.tails.drain()
        if self.heartbeat is not None:
            self.heartbeat.leave()
        await self.runner.drain(self.settings.drain_grace_s)

    async def close(self) -> None:
        """Drain, then let go of everything, also where a part cannot; raise what it has raised."""
        parts: list[Callable[[], Awaitable[None]]] = [
            self.drain,
            *([self.heartbeat.close] if self.heartbeat is not None else ()),
            self.reconciler.close,
            self.webhooks.close,
            *([self.verdicts.close] if self.verdicts is not None else ()),
            self.journal.close,
            self.tails.close,
            self.queue.close,
            self.bus.close,
            *(agent.handler.close for agent in self.agents.values()),
            *self.besides,
            self.store.close,
            partial(asyncio.to_thread, self.traces.close),
        ]
        async with AsyncExitStack() as stack:
            for part in reversed(parts):
                stack.push_async_callback(part)


def _default(settings: Settings, agents: Mapping[str, Agent]) -> str:
    if not agents:
        detail = "There is no agent: configure one under [agents.<id>] or name a module:function."
        raise SettingsError(detail)
    chosen = settings.default_agent or next(iter(agents))
    if chosen not in agents:
        detail = f"default_agent: there is no agent {chosen}; there are {', '.join(agents)}."
        raise SettingsError(detail)
    return chosen


def _limits(settings: Settings, agents: Mapping[str, Agent]) -> AcceptLimits:
    limits = settings.limits
    run = RunLimits(
        running_max=limits.running_max,
        running_per_user_max=limits.running_per_user_max,
        by_slots=settings.has_workers,
        running_per_agent_max={
            agent.id: agent.running_max for agent in agents.values() if agent.running_max
        },
    )
    return AcceptLimits(
        queued_max=limits.queued_max,
        queued_per_user_max=limits.queued_per_user_max,
        messages_max=limits.messages_max,
        run=run,
    )
