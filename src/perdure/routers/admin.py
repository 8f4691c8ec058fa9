"""For admins: how it all stands, everyone's requests and their cost; never what was said there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator

from perdure import model
from perdure.core import Core
from perdure.routers import shapes
from perdure.routers.admin_shapes import STEPS, AnyRequest, AnyRequestPage, Overview, UsageSum
from perdure.routers.given import (
    PAGE_SIZE,
    Admin,
    Cursor,
    InState,
    Limit,
    RequestId,
    Running,
    plain,
)
from perdure.routers.problems import responses

router = APIRouter(prefix="/api/admin", tags=["admin"])

HOUR_S = 3600
DAY_S = 24 * HOUR_S
USER = Query(max_length=256, description="Only this person's.")


@router.get(
    "/requests",
    operation_id="adminListRequests",
    response_model=AnyRequestPage,
    responses=responses(400, 403, 422, 503),
)
async def list_requests(
    core: Running,
    person: Admin,
    status: InState = None,
    user: Annotated[str | None, AfterValidator(plain), USER] = None,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
) -> Response:
    """List everyone's requests, newest first."""
    del person
    rows, following = await core.store.requests(
        user or None, status=status, limit=limit, cursor=cursor
    )
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
    return shapes.answer(UsageSum.of(begun, await core.store.usage(begun)))


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


async def _shown(core: Core, found: Sequence[model.Request]) -> list[AnyRequest]:
    return [AnyRequest.of(row, await core.acceptance.position(row)) for row in found]
