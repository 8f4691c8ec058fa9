"""What admins are shown: everyone's requests without their words, sums, and how it all stands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from pydantic import BaseModel, Field

from perdure import model, records
from perdure.core import Core
from perdure.model import JSON, Status
from perdure.routers.agents import VERSION
from perdure.routers.shapes import AT, REQUEST_ID, RequestError, example, moment, since

STEPS = 60
"""Of a course."""


class AnyRequest(BaseModel):
    """A request of anybody: its course without its words."""

    model_config = example(
        id=REQUEST_ID,
        chat_id="chat_0d1c2b3a4f5e69788796a5b4",
        user_id="ann@example.com",
        agent_id="guide",
        status="failed",
        error={"code": "idle_timeout", "message": "The agent was silent for 120 s."},
        incomplete_reason=None,
        trace_id=None,
        attempt=1,
        crashes=0,
        sequence_number=17,
        queue_position=None,
        created_at=AT,
        started_at=AT,
        completed_at=AT,
        usage=None,
    )

    id: str
    chat_id: str
    user_id: str
    agent_id: str
    status: Status
    error: RequestError | None
    incomplete_reason: str | None
    trace_id: str | None
    attempt: int = Field(description="Starts so far.")
    crashes: int = Field(description="Lost workers among them.")
    sequence_number: int = Field(description="The last durable event.")
    queue_position: int | None = Field(description="1 = next; null = it does not wait.")
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    usage: JSON | None

    @classmethod
    def of(cls, row: model.Request, position: int | None) -> Self:
        """Show a request."""
        return cls(
            id=row.id,
            chat_id=row.chat_id,
            user_id=row.user_id,
            agent_id=row.agent_id,
            status=row.status,
            error=RequestError.of(row.error),
            incomplete_reason=row.incomplete_reason,
            trace_id=row.trace_id,
            attempt=row.attempt,
            crashes=row.crashes,
            sequence_number=row.sequence_number,
            queue_position=position,
            created_at=since(row.created_at),
            started_at=moment(row.started_at),
            completed_at=moment(row.completed_at),
            usage=row.usage,
        )


class AnyRequestPage(BaseModel):
    """Requests of everyone, newest first."""

    requests: list[AnyRequest]
    next_cursor: str | None


class Used(BaseModel):
    """What one person asked of one agent."""

    model_config = example(
        user_id="ann@example.com",
        agent_id="guide",
        requests=12,
        completed=10,
        failed=1,
        cancelled=1,
        input_tokens=5210,
        output_tokens=9876,
    )

    user_id: str
    agent_id: str
    requests: int
    completed: int
    failed: int
    cancelled: int
    input_tokens: int = Field(description="As far as the agents counted.")
    output_tokens: int


class UsageSum(BaseModel):
    """What was asked since then, by person and agent."""

    since: datetime
    usage: list[Used]

    @classmethod
    def of(cls, begun: float, found: Sequence[model.Usage]) -> Self:
        """Show a store's sums."""
        return cls(since=since(begun), usage=_summed(found))


class Waiting(BaseModel):
    """What has not ended yet."""

    model_config = example(
        waiting=3,
        waiting_age_s=12.5,
        unclaimed=1,
        unclaimed_age_s=0.2,
        streaming=12,
        webhooks=0,
        webhook_age_s=0,
    )

    waiting: int = Field(description="Queued, and may not run yet: a limit is reached.")
    waiting_age_s: float = Field(description="Age of the oldest one of those.")
    unclaimed: int = Field(description="Queued, may run, and no worker has taken them yet.")
    unclaimed_age_s: float = Field(description="Longest time since one of those was delivered.")
    streaming: int
    webhooks: int = Field(description="Webhooks that are not delivered yet.")
    webhook_age_s: float


class Load(BaseModel):
    """A worker that produces answers now."""

    model_config = example(
        worker_id="worker-1f2e3d4c5b6a", running=12, oldest_started_at=AT, lease_until=AT
    )

    worker_id: str
    running: int
    oldest_started_at: datetime | None
    lease_until: datetime | None = Field(description="Of its lease that is over first.")


class Reason(BaseModel):
    """Why answers of an agent failed."""

    model_config = example(agent_id="guide", code="idle_timeout", count=3)

    agent_id: str
    code: str
    count: int


class Bound(BaseModel):
    """A limit in force, and how much of it is used."""

    model_config = example(name="running_max", value=500, used=12)

    name: str
    value: int
    used: int | None = Field(description="null = it is counted per person or per object.")


class Course(BaseModel):
    """What happened, step by step, oldest first."""

    model_config = example(
        since=AT, step_s=60, asked=[3, 1], completed=[2, 1], failed=[0, 1], cancelled=[0, 0]
    )

    since: datetime
    step_s: float
    asked: list[int]
    completed: list[int]
    failed: list[int]
    cancelled: list[int]


class Means(BaseModel):
    """Whether something that answers need works, as far as this process knows."""

    model_config = example(name="queue", why=None)

    name: str
    why: str | None = Field(description="What is wrong with it; null = nothing is known.")


class Overview(BaseModel):
    """A deployment as it stands."""

    version: str
    now: Waiting
    workers: list[Load]
    reasons: list[Reason] = Field(description="Since the beginning of the course.")
    limits: list[Bound]
    parts: list[Means]
    course: Course

    @classmethod
    def of(cls, core: Core, figures: records.Figures, seen: records.Overview) -> Self:
        """Show what a store has found."""
        return cls(
            version=VERSION,
            now=Waiting(
                waiting=figures.waiting,
                waiting_age_s=figures.queue_age_s,
                unclaimed=figures.unclaimed,
                unclaimed_age_s=figures.unclaimed_age_s,
                streaming=figures.streaming,
                webhooks=figures.webhooks,
                webhook_age_s=figures.webhook_age_s,
            ),
            workers=[_load(one) for one in seen.workers],
            reasons=[
                Reason(agent_id=one.agent_id, code=one.code, count=one.count)
                for one in seen.failures
            ],
            limits=_limits(core, figures),
            parts=[
                Means(name="queue", why=core.queue.trouble()),
                Means(name="bus", why=core.bus.trouble()),
            ],
            course=_course(seen),
        )


def _summed(found: Sequence[model.Usage]) -> list[Used]:
    """Put the states of a person and agent into one line."""
    lines: dict[tuple[str, str], Used] = {}
    for one in found:
        start = Used(
            user_id=one.user_id,
            agent_id=one.agent_id,
            requests=0,
            completed=0,
            failed=0,
            cancelled=0,
            input_tokens=0,
            output_tokens=0,
        )
        line = lines.setdefault((one.user_id, one.agent_id), start)
        line.requests += one.requests
        line.input_tokens += one.input_tokens
        line.output_tokens += one.output_tokens
        if one.status.terminal:
            name = one.status.value
            setattr(line, name, getattr(line, name) + one.requests)
    return list(lines.values())


def _load(one: records.WorkerLoad) -> Load:
    return Load(
        worker_id=one.worker_id,
        running=one.running,
        oldest_started_at=moment(one.started_at),
        lease_until=moment(one.lease_until),
    )


def _limits(core: Core, figures: records.Figures) -> list[Bound]:
    limits = core.settings.limits
    running = figures.streaming + figures.unclaimed
    used = {"running_max": running, "queued_max": figures.waiting}
    names = ["running_max", "running_per_user_max", "queued_max", "queued_per_user_max"]
    if core.settings.auth.mode != "none":  # which counts nobody
        names += ["requests_per_minute_per_user", "calls_per_minute_per_user", "open_per_user_max"]
    found = [
        Bound(name=name, value=value, used=used.get(name))
        for name in names
        if (value := getattr(limits, name))  # a rate of 0 is none
    ]
    found += [
        Bound(name=f"agents.{agent.id}.running_max", value=agent.running_max, used=None)
        for agent in core.agents.values()
        if agent.running_max is not None
    ]
    return found


def _course(seen: records.Overview) -> Course:
    """Spread what was counted over steps, also those in which nothing happened."""
    lines = {name: [0] * STEPS for name in ("asked", "completed", "failed", "cancelled")}
    for step, what, count in seen.course:
        if 0 <= step < STEPS:
            lines[what][step] += count
        elif step == STEPS:
            lines[what][-1] += count  # between our look at the clock and the store's
    return Course(
        since=since(seen.since),
        step_s=seen.step_s,
        asked=lines["asked"],
        completed=lines[Status.COMPLETED.value],
        failed=lines[Status.FAILED.value],
        cancelled=lines[Status.CANCELLED.value],
    )
