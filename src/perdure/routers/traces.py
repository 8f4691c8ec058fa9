"""The agent's own record of an answer, read from where the agents keep them."""

from __future__ import annotations

from fastapi import APIRouter, Response

from perdure.errors import NotFound
from perdure.routers import shapes, trace_shapes
from perdure.routers.given import RequestId, Running, Who
from perdure.routers.problems import responses

router = APIRouter(prefix="/api", tags=["requests"])


@router.get(
    "/requests/{request_id}/trace",
    operation_id="getTrace",
    response_model=trace_shapes.Trace,
    responses=responses(404, 503),
)
async def trace(core: Running, person: Who, request_id: RequestId) -> Response:
    """Return the steps that the agent recorded of an answer; large contents are cut."""
    row = await core.store.request(request_id, person.user_id)
    if core.tracker is None or row.trace_id is None:
        raise NotFound("There is no trace of this answer here.", code="no_trace")
    return shapes.answer(trace_shapes.Trace.of(await core.tracker.trace(row.trace_id)))
