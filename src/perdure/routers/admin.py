"""For admins: everyone's requests and what they cost, never what was said in them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, BaseModel, Field

from perdure import model
from perdure.core import Core
from perdure.model import JSON, Status
from perdure.routers import shapes
from perdure.routers.given import Admin, Cursor, Limit, RequestId, Running, plain
from perdure.routers.problems import responses
from perdure.routers.shapes import AT, REQUEST_ID, example, moment, since

router = APIRouter(prefix="/api/admin", tags=["admin"])

DAY_S = 86400
USER = Query(max_length=256, description="Only this person's.")


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
    error: shapes.RequestError | None
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
            error=shapes.RequestError.of(row.error),
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


@router.get(
    "/requests",
    operation_id="adminListRequests",
    response_model=AnyRequestPage,
    responses=responses(400, 403, 422, 503),
)
async def list_requests(
    core: Running,
    person: Admin,
    status: Annotated[Status | None, Query(description="Only requests in this state.")] = None,
    user: Annotated[str | None, AfterValidator(plain), USER] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List everyone's requests, newest first."""
    del person
    rows, following = await core.store.requests(user, status=status, limit=limit, cursor=cursor)
    page = AnyRequestPage(requests=await _shown(core, rows), next_cursor=following)
    return shapes.answer(page)


@router.post(
    "/requests/{request_id}/cancel",
    operation_id="adminCancelRequest",
    response_model=AnyRequest,
    responses=responses(403, 404, 503),
)
async def cancel(core: Running, person: Admin, request_id: RequestId) -> Response:
    """Stop anybody's answer; the text so far is kept for its owner."""
    del person
    row = await core.store.request(request_id)
    row = await core.acceptance.cancel(request_id, row.user_id)
    return shapes.answer((await _shown(core, [row]))[0])


@router.post(
    "/requests/{request_id}/retry",
    operation_id="adminRetryRequest",
    status_code=202,
    response_model=AnyRequest,
    responses=responses(403, 404, 409, 429, 503),
)
async def retry(core: Running, person: Admin, request_id: RequestId) -> Response:
    """Answer anybody's question once more, for its owner; the new request is returned."""
    del person
    row = await core.store.request(request_id)
    accepted = await core.acceptance.again(request_id, row.user_id)
    return shapes.answer((await _shown(core, [accepted.request]))[0], 202)


@router.get(
    "/usage",
    operation_id="adminGetUsage",
    response_model=UsageSum,
    responses=responses(403, 422, 503),
)
async def usage(
    core: Running,
    person: Admin,
    days: Annotated[
        float, Query(gt=0, le=3650, allow_inf_nan=False, description="How far back.")
    ] = 30,
) -> Response:
    """Sum up who asked what of whom, and the tokens that it took."""
    del person
    begun = time.time() - days * DAY_S
    return shapes.answer(UsageSum(since=since(begun), usage=summed(await core.store.usage(begun))))


def summed(found: Sequence[model.Usage]) -> list[Used]:
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


async def _shown(core: Core, found: Sequence[model.Request]) -> list[AnyRequest]:
    return [AnyRequest.of(row, await core.acceptance.position(row)) for row in found]
