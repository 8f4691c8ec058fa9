"""Running requests: claim, ask the agent, store what it says, end. One task per running request.

Leaving is never stopping: nothing here knows who reads. What ends a run from outside is the loss of
its claim (cancelled, taken over), a time limit, or the drain of this process.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from contextlib import aclosing
from contextvars import Context

from perdure import chores
from perdure.deltas import Delta, Finish
from perdure.errors import (
    AgentError,
    AnswerError,
    NotFound,
    OwnershipLost,
    PerdureError,
    UpstreamError,
)
from perdure.journal import Journal
from perdure.logs import REQUEST
from perdure.model import Failure, Request, Status
from perdure.outage import Outage
from perdure.ports import Agent, Bus, Call, RequestStore, Stoppable, Topic
from perdure.run import Run, goes_on
from perdure.traces import Traces
from perdure.user_tokens import UserTokens

log = logging.getLogger("perdure.runner")

SWEEP_S = 0.25
LEAVE_S = 5.0
"""How long a drain waits for runs that were told to stop; less than supervisors wait for us."""
STOP_S = 10.0
"""How long an agent may take to hear that it is to stop: its run holds a worker's slot so long."""
RETRY_FIRST_S = 0.5
RETRY_MAX_S = 8.0
FORGOTTEN = "upstream_forgot"
"""Code of an upstream that does not know the answer to be continued: it is begun anew."""


class _Absent:
    """The handler of an agent that is not configured any more."""

    can_continue = False

    def stream(self, call: Call) -> AsyncGenerator[Delta, None]:
        detail = f"The agent {call.agent_id} is no longer configured here."
        raise AgentError(detail, code="agent_removed")

    async def close(self) -> None:
        pass


class Runner:
    """All runs of this process.

    Args:
        store, journal, bus: where answers go and who is told.
        agents: by id; an agent that is gone fails its requests.
        freed: called when a run has ended, so that the next may start.
        lease_s: how long a claim holds without renewal.
        answer_bytes_max: size at which an answer is cut off and failed.

    Attributes:
        traces: what surrounds calls to agents, and is told of ends.

    """

    def __init__(
        self,
        store: RequestStore,
        journal: Journal,
        bus: Bus,
        agents: Mapping[str, Agent],
        *,
        freed: Callable[[], None],
        lease_s: float,
        answer_bytes_max: int,
    ) -> None:
        self.worker_id = f"worker-{random.getrandbits(48):012x}"
        self.runs: dict[str, Run] = {}
        self.user_tokens = UserTokens()
        self._tasks: set[asyncio.Task[None]] = set()
        self._store = store
        self._journal = journal
        self._bus = bus
        self._agents = agents
        self._continuing = frozenset(agent.id for agent in agents.values() if goes_on(agent))
        self._freed = freed
        self._lease_s = lease_s
        self._answer_bytes_max = answer_bytes_max
        self.traces = Traces()
        self._metrics = journal.metrics
        self._metrics.running.set_function(lambda: len(self.runs))
        self._draining = False
        self._leaving = False
        self._chores: list[asyncio.Task[None]] = []
        bus.subscribe(self._heard)

    def start(self, *, renewing: bool = True) -> None:
        """Begin to watch the clock and to renew leases, unless somebody else does that."""
        self._chores = [chores.begin(self._sweep, "time limits")]
        if renewing:
            self._chores.append(chores.begin(self._renew, "leases"))

    def deliver(self, request_id: str) -> None:
        """Take a request that the queue delivered; a second delivery finds nothing to do."""
        if not self._draining:
            self._take(request_id)

    async def run(self, request_id: str) -> bool:
        """Take a delivered request and return when this process is done with it.

        False: this process is leaving and did not look at it.
        """
        if self._draining:
            return False
        await asyncio.wait([self._take(request_id)])
        return True

    def _take(self, request_id: str) -> asyncio.Task[None]:
        # In a context of its own: whose call or end has brought it here means nothing to the run.
        task = asyncio.create_task(self._work(request_id), name=request_id, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def drain(self, grace_s: float) -> None:
        """Take nothing new, let short runs end, then hand the others over."""
        self._draining = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        self.hand_over_now()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LEAVE_S)
        await chores.end(self._chores)

    @property
    def stuck(self) -> list[str]:
        """The requests whose handlers did not stop when they were told to."""
        return [task.get_name() for task in self._tasks]

    def hand_over_now(self) -> None:
        """End the grace of a drain under way."""
        self._leaving = True
        for run in list(self.runs.values()):
            run.hand_over()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a run broke; its lease will lapse", exc_info=task.exception())
        if not self._draining:
            self._freed()

    async def _work(self, request_id: str) -> None:
        """Claim a request and see it through."""
        REQUEST.set(request_id)
        claim = await self._store.claim(request_id, self.worker_id, self._lease_s, self._continuing)
        task = asyncio.current_task()
        if claim is None or task is None:
            return
        agent_id = claim.request.agent_id
        agent = self._agents.get(agent_id) or Agent(id=agent_id, handler=_Absent())
        run = Run(claim, agent, task, self._journal.note, self._answer_bytes_max, self._metrics)
        self.runs[request_id] = run
        self._count_start(claim.request)
        if self._leaving:
            run.hand_over()
        try:
            await self._bus.publish([Topic.events(request_id), Topic.chats(claim.request.user_id)])
            await self._answer(run)
        finally:
            if self.runs.get(request_id) is run:
                # Else it was taken over, and a later run of the same request is under way.
                del self.runs[request_id]
                self.user_tokens.drop(request_id)
            await self._bus.publish([Topic.chats(claim.request.user_id)])

    async def _answer(self, run: Run) -> None:
        """Run to the end and store which end it was."""
        try:
            await self._attempts(run)
        except asyncio.CancelledError:
            await self._interrupted(run)
        except AnswerError as error:
            failure = Failure(error.code, error.detail)
            await self._end(run, Status.FAILED, failure, _raised(error))
        except Exception as error:
            log.exception("the handler of %s broke on %s", run.agent.id, run.request_id)
            failure = Failure("server_error", f"The agent failed: {type(error).__name__}.")
            await self._end(run, Status.FAILED, failure)
        else:
            await self._end(run, Status.COMPLETED)

    async def _interrupted(self, run: Run) -> None:
        """Decide what a cancelled task means: drain, time limit, or the loss of the claim."""
        if run.handing_over and run.stopped is None:
            await self._journal.hand_over(run, run.claim.claim_id)
        elif isinstance(run.stopped, AnswerError):
            failure = Failure(run.stopped.code, run.stopped.detail)
            await self._end(run, Status.FAILED, failure)
            await self._stop_upstream(run)
        elif run.stopped is None:
            raise asyncio.CancelledError
        else:
            log.info("run of %s stopped: %s", run.request_id, run.stopped)
            await self._stop_upstream(run)

    async def _stop_upstream(self, run: Run) -> None:
        """Stop an agent that goes on by itself, unless another worker goes on with the answer."""
        handler, position = run.agent.handler, run.position
        if position is None or not isinstance(handler, Stoppable):
            return
        try:
            wanted = not (await self._store.request(run.request_id)).status.terminal
        except NotFound:
            wanted = False
        if wanted:
            return
        try:
            async with asyncio.timeout(STOP_S):
                await handler.stop(position)
        except TimeoutError:
            log.warning("%s did not take the word to stop %s", run.agent.id, run.request_id)

    async def _end(
        self,
        run: Run,
        status: Status,
        error: Failure | None = None,
        raised: BaseException | None = None,
    ) -> None:
        """Store the end; a lost claim means that somebody else has stored another one."""
        run.ending = True
        if await self._journal.finish(run, lambda: run.end(status, error)):
            took_s = time.monotonic() - run.started
            self._metrics.answered.labels(run.agent.id, status.value).observe(took_s)
            told = f"{run.request_id} {status.value} after {took_s:.1f} s"
            if error is None:
                log.info(told)
            else:
                why = (error.code, run.agent.id, error.message)
                log.warning("%s: %s (agent %s): %s", told, *why, exc_info=raised)
            if self.traces.wanted:
                self.traces.ended(await self._store.request(run.request_id))

    def _count_start(self, request: Request) -> None:
        self._metrics.attempts.labels(request.agent_id).inc()
        if request.attempt == 1 and request.started_at is not None:
            waited_s = max(0.0, request.started_at - request.created_at)
            self._metrics.waited.labels(request.agent_id).observe(waited_s)

    async def _attempts(self, run: Run) -> None:
        """Ask until the answer is complete; raise what ends it otherwise.

        Before the first delta a retryable error is retried within `retry_total_s`. After it only a
        dropped connection is, by the agent's policy, as a new attempt.
        """
        if run.handing_over:
            await asyncio.sleep(0)  # here the cancellation comes, before anybody is asked
        began, tries = time.monotonic(), 0
        while True:
            try:
                await self._ask(run)
            except UpstreamError as error:
                self._metrics.upstream_errors.labels(run.agent.id, error.code).inc()
                if error.code == FORGOTTEN and run.continuing:
                    run.begin_again(error.code, continued=False)
                    self._journal.note(run)
                    continue
                tries += 1
                if run.builder.has_deltas:
                    self._begin_again(run, error)
                    began = time.monotonic()
                await self._pause(run, error, tries, began)
            else:
                return

    def _begin_again(self, run: Run, error: UpstreamError) -> None:
        """Open a new attempt after a drop in mid-answer, or raise the error."""
        agent = run.agent
        run.drops += 1
        broken = run.claim.request.crashes + run.drops
        allowed = agent.recovery != "fail" and broken < agent.attempts_max
        if error.code != "upstream_dropped" or not error.retryable or not allowed:
            raise error
        run.begin_again(error.code, continued=run.continuing)
        self._journal.note(run)

    async def _pause(self, run: Run, error: UpstreamError, tries: int, began: float) -> None:
        """Wait before the next try, or raise when there is none."""
        jitter = random.uniform(0.75, 1.0)  # noqa: S311 - spreads load, keeps no secret
        delay = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** (tries - 1)) * jitter
        delay = max(delay, error.retry_after_s or 0.0)
        left = run.agent.retry_total_s - (time.monotonic() - began)
        if not error.retryable or delay > left:
            raise error
        log.info("%s: %s; trying again in %.1f s", run.request_id, error.detail, delay)
        await asyncio.sleep(delay)

    async def _ask(self, run: Run) -> None:
        """Ask the agent once; raise unless it finished its answer."""
        run.touched, run.asking = time.monotonic(), True
        try:
            user_token = self.user_tokens.of(run.request_id)
            with self.traces.call(run.claim.request, run.attempt):
                async with aclosing(run.open(user_token)) as deltas:
                    finished = await self._record(run, deltas)
        finally:
            run.asking = False
        if not finished:
            detail = "The agent's answer broke off without an end."
            raise UpstreamError(detail, code="upstream_dropped", retryable=True)

    async def _record(self, run: Run, deltas: AsyncIterator[Delta]) -> bool:
        """Put each delta into the log; tell whether the answer was finished."""
        async for delta in deltas:
            if run.builder.full or run.builder.too_large:
                await self._check(run)
            run.put(delta)
            if type(delta) is Finish:
                return True
        return False

    async def _check(self, run: Run) -> None:
        """Hold back a run that is faster than the store; end one that says too much."""
        if run.builder.full:
            await self._journal.flushed()
        if run.builder.too_large:
            detail = f"The answer is longer than {self._answer_bytes_max} bytes."
            raise UpstreamError(detail, code="answer_too_large")

    async def _sweep(self) -> None:
        """Stop runs that passed a time limit: one timer for all."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            for run in list(self.runs.values()):
                error = run.overdue(now)
                if error is not None:
                    run.stop(error)

    async def _renew(self) -> None:
        """Extend all leases three times per lease; a run whose claim is gone stops.

        Without success for two thirds of a lease all stop: nobody shall answer twice.
        """
        renewing, renewed = Outage(log, "renewing leases"), time.monotonic()
        while True:
            await asyncio.sleep(self._lease_s / 3)
            claims = self.claims()
            try:
                owned = await self._store.renew(claims, self._lease_s)
            except PerdureError as error:
                renewing.failed(error)
                if time.monotonic() - renewed > self._lease_s * 2 / 3:
                    self.fence(error)
                continue
            renewing.worked()
            renewed = time.monotonic()
            for request_id in claims.keys() - owned:
                self.lose(request_id, claims[request_id])

    def claims(self) -> dict[str, str]:
        """Return what runs here as `{request id: claim id}`; from any thread."""
        return {run.request_id: run.claim.claim_id for run in list(self.runs.values())}

    def fence(self, error: PerdureError) -> None:
        """Stop all runs: their leases may be over, and others may answer by now."""
        for run in list(self.runs.values()):
            run.stop(error)

    def _heard(self, topics: Collection[str]) -> None:
        for topic in topics:
            if topic.startswith("stop:"):
                self.lose(topic.removeprefix("stop:"))

    def lose(self, request_id: str, claim_id: str | None = None) -> None:
        """Stop a run whose claim is gone; `claim_id`: only the run under that very claim."""
        run = self.runs.get(request_id)
        if run is not None and claim_id in (None, run.claim.claim_id):
            if run.stopped is None and not run.ending:
                self._metrics.claims_lost.inc()
            detail = f"{request_id} was cancelled or taken over."
            run.stop(OwnershipLost(detail))


def _raised(error: AnswerError) -> BaseException | None:
    """Return what a Python agent has raised: whoever wrote it looks for the line."""
    return error.__context__ if isinstance(error, AgentError) else None
