"""For admins: how the whole deployment stands, for people who look and act."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from perdure import records
from perdure.core import Core
from perdure.model import Status
from perdure.routers import shapes
from perdure.routers.agents import VERSION
from perdure.routers.given import Admin, Running
from perdure.routers.problems import responses
from perdure.routers.shapes import AT, example, moment, since

router = APIRouter(prefix="/api/admin", tags=["admin"])

HOUR_S = 3600
STEPS = 60


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


@router.get(
    "/overview",
    operation_id="adminGetOverview",
    response_model=Overview,
    responses=responses(403, 422, 503),
)
async def overview(
    core: Running,
    person: Admin,
    hours: Annotated[
        float, Query(ge=0.1, le=168, allow_inf_nan=False, description="How far back.")
    ] = 1,
) -> Response:
    """Tell what waits, who works, what fails and which limits hold."""
    del person
    length_s = hours * HOUR_S
    seen = await core.store.overview(time.time() - length_s, length_s / STEPS)
    return shapes.answer(Overview.of(core, await core.store.figures(), seen))


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
    names = ("running_max", "running_per_user_max", "queued_max", "queued_per_user_max")
    found = [Bound(name=name, value=getattr(limits, name), used=used.get(name)) for name in names]
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
