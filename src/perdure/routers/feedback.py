"""Verdicts of people on answers; always kept here, whatever the agent does with them."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Body, Response

from perdure import model
from perdure.core import Core
from perdure.model import Request, new_id
from perdure.routers import shapes
from perdure.routers.body import JsonRoute
from perdure.routers.given import RequestId, Running, Who
from perdure.routers.on_behalf import Author
from perdure.routers.problems import responses

router = APIRouter(prefix="/api", tags=["feedback"], route_class=JsonRoute)


@router.post(
    "/log_assessment",
    operation_id="logAssessment",
    status_code=201,
    response_model=shapes.Feedback,
    responses=responses(400, 404, 413, 422, 503),
)
async def log_assessment(
    core: Running, person: Who, author: Author, body: Annotated[shapes.Assessment, Body()]
) -> Response:
    """Keep a verdict on an answer, named by its request or its trace.

    It goes on to where the agent's traces are, under the caller's name, as soon as the answer's
    trace is known.
    """
    row = await _judged(core, body, person.user_id)
    now = time.time()
    told = core.verdicts is not None and (row.trace_id is not None or not row.status.terminal)
    verdict = model.Feedback(
        id=new_id("fb"),
        user_id=person.user_id,
        request_id=row.id,
        trace_id=row.trace_id,
        name=body.name,
        value=body.value,
        rationale=body.rationale,
        created_at=now,
        author=author,
        due_at=now if told else None,
    )
    await core.store.add_feedback(verdict)
    if core.verdicts is not None:
        core.verdicts.ring()
    return shapes.answer(shapes.Feedback.of(verdict), 201)


@router.get(
    "/requests/{request_id}/feedback",
    operation_id="listFeedback",
    response_model=shapes.FeedbackList,
    responses=responses(404, 503),
)
async def list_feedback(core: Running, person: Who, request_id: RequestId) -> Response:
    """List one's verdicts on an answer."""
    row = await core.store.request(request_id, person.user_id)
    kept = await core.store.feedback(row.id, person.user_id)
    shown = [shapes.Feedback.of(verdict) for verdict in kept]
    return shapes.answer(shapes.FeedbackList(feedback=shown))


async def _judged(core: Core, body: shapes.Assessment, user_id: str) -> Request:
    if body.request_id is not None:
        return await core.store.request(body.request_id, user_id)
    return await core.store.request_of_trace(body.trace_id or "", user_id)
