"""Asking, and what one can do with a request: look, poll, stop, answer again, remove, list."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Header, Query, Request, Response

from perdure import model
from perdure.accept import Question
from perdure.core import Core
from perdure.model import new_id
from perdure.ports import Accepted, NewMessage
from perdure.routers import shapes, views
from perdure.routers.agent_events import AgentEvents
from perdure.routers.body import JsonRoute
from perdure.routers.given import (
    PAGE_SIZE,
    After,
    Asker,
    Cursor,
    InState,
    Key,
    Known,
    Limit,
    RequestId,
    Running,
    Who,
    cursor_of,
    or_empty,
    placed,
)
from perdure.routers.on_behalf import OwnToken
from perdure.routers.problems import responses
from perdure.routers.streams import LogStream
from perdure.tail import Drained

router = APIRouter(prefix="/api", tags=["requests"], route_class=JsonRoute)

STREAM_DOC = {
    "description": "With `Accept: text/event-stream`: the events, as `…/stream` sends them.",
    "content": {"text/event-stream": {}},
}
ACCEPTED_DOC = {
    "description": "Stored. It will be answered, whatever becomes of this connection.",
    "headers": {
        "Location": {"description": "Address of the request.", "schema": {"type": "string"}},
        "Idempotent-Replayed": {
            "description": "`true`: an earlier call with the same key had made it.",
            "schema": {"type": "string"},
        },
    },
}
ETAG_DOC = {"ETag": {"description": "Changes with the answer.", "schema": {"type": "string"}}}


@router.post(
    "/invoke_endpoint",
    operation_id="invokeEndpoint",
    status_code=202,
    response_model=shapes.AcceptedRequest,
    responses={200: STREAM_DOC, 202: ACCEPTED_DOC, **responses(400, 404, 409, 413, 422, 429, 503)},
)
async def invoke(
    core: Running,
    person: Asker,
    body: Annotated[shapes.Invocation, Body()],
    key: Key,
    own_token: OwnToken,
    request: Request,
    dialect: Annotated[
        Literal["agent-events"] | None,
        Query(description="Stream the agent's own events, as the first users' front end reads it."),
    ] = None,
) -> Response:
    """Ask an agent. The answer is produced on the server, whether anybody is connected or not."""
    question = _question(body, person.user_id, key)
    question.user_token = own_token
    accepted = await core.acceptance.ask(question)
    headers = _accepted_headers(request, accepted)
    if dialect is not None:
        return AgentEvents(core, accepted.request, headers, created=body.chat_id is None)
    if wants_stream(request.headers.get("accept", "")):
        return LogStream(core, accepted.request.id, -1, headers)
    return shapes.answer(shapes.AcceptedRequest.of(accepted.request), 202, headers)


@router.get(
    "/requests",
    operation_id="listRequests",
    response_model=shapes.RequestPage,
    responses=responses(400, 404, 422, 503),
)
async def list_requests(
    core: Running,
    person: Who,
    status: InState = None,
    chat_id: Annotated[
        Known | None, or_empty(Known | None), Query(description="Only those of a chat.")
    ] = None,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
) -> Response:
    """List one's requests, newest first."""
    rows, following = await core.store.requests(
        person.user_id, status=status, chat_id=chat_id, limit=limit, cursor=cursor
    )
    shown = await views.request_shapes(core, rows)
    return shapes.answer(shapes.RequestPage(requests=shown, next_cursor=following))


@router.get(
    "/requests/{request_id}",
    operation_id="getRequest",
    response_model=shapes.AgentRequest,
    responses=responses(404, 503),
)
async def get_request(core: Running, person: Who, request_id: RequestId) -> Response:
    """Return one request whole."""
    row = await core.store.request(request_id, person.user_id)
    return shapes.answer(await views.request_shape(core, row))


@router.get(
    "/requests/{request_id}/status",
    operation_id="getRequestStatus",
    response_model=shapes.RequestStatus,
    responses={
        200: {"description": "How far it is.", "headers": ETAG_DOC},
        304: {"description": "As `If-None-Match` knows it.", "headers": ETAG_DOC},
        **responses(400, 404, 422, 503),
    },
)
async def get_status(
    core: Running,
    person: Who,
    request_id: RequestId,
    wait_s: Annotated[
        float, Query(ge=0, le=30, allow_inf_nan=False, description="Seconds to wait for news.")
    ] = 0,
    after: After = None,
    if_none_match: Annotated[str | None, Header(description="ETags one has.")] = None,
) -> Response:
    """Poll an answer: at once, or with `wait_s` as soon as something after `after` is there."""
    row = await core.store.request(request_id, person.user_id)
    cursor = cursor_of(None, after)
    if wait_s and not row.status.terminal and row.sequence_number <= cursor:
        await _news(core, request_id, cursor, wait_s)
        row = await core.store.request(request_id, person.user_id)
    now = await views.standing(core, row)
    headers = {"ETag": etag(now), "Cache-Control": "private, no-cache"}
    if if_none_match and _known(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    return shapes.answer(views.status_shape(now), headers=headers)


@router.post(
    "/requests/{request_id}/cancel",
    operation_id="cancelRequest",
    response_model=shapes.AgentRequest,
    responses=responses(404, 503),
)
async def cancel(core: Running, person: Who, request_id: RequestId) -> Response:
    """Stop an answer and keep its text so far.

    The answer tells the state that won; stopping what has ended changes nothing.
    """
    row = await core.acceptance.cancel(request_id, person.user_id)
    return shapes.answer(await views.request_shape(core, row))


@router.post(
    "/requests/{request_id}/retry",
    operation_id="retryRequest",
    status_code=202,
    response_model=shapes.AcceptedRequest,
    responses={202: ACCEPTED_DOC, **responses(400, 404, 409, 429, 503)},
)
async def retry(
    core: Running,
    person: Asker,
    request_id: RequestId,
    key: Key,
    own_token: OwnToken,
    request: Request,
) -> Response:
    """Answer the same question once more; the new answer is a sibling of the old one."""
    accepted = await core.acceptance.again(request_id, person.user_id, own_token, key)
    shown = shapes.AcceptedRequest.of(accepted.request)
    return shapes.answer(shown, 202, _accepted_headers(request, accepted))


@router.delete(
    "/requests/{request_id}",
    operation_id="deleteRequest",
    status_code=204,
    responses=responses(404, 503),
)
async def delete(core: Running, person: Who, request_id: RequestId) -> Response:
    """Stop a request if it runs and remove it with its event log; the messages stay."""
    await core.acceptance.delete_request(request_id, person.user_id)
    return Response(status_code=204)


def wants_stream(accept: str) -> bool:
    """Tell whether an `Accept` header asks for server-sent events by name."""
    for part in accept.lower().split(","):
        kind, _, rest = part.partition(";")
        if kind.strip() == "text/event-stream":
            return rest.replace(" ", "") not in ("q=0", "q=0.0")
    return False


def etag(now: views.Standing) -> str:
    """Return the entity tag of a standing: it changes whenever what is shown changes."""
    return f'"{now.row.id}.{now.status}.{now.number}.{now.position or 0}"'


def _known(tag: str, if_none_match: str) -> bool:
    """Tell whether a caller has what `tag` stands for. Source: RFC 9110, 13.1.2."""
    had = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in had or had == ["*"]


async def _news(core: Core, request_id: str, after: int, wait_s: float) -> None:
    """Return when an event after `after` is durable, after `wait_s`, or when the server drains."""
    try:
        async with asyncio.timeout(wait_s):
            with core.tails.reader(request_id, after) as reader:
                while not reader.ended and await reader.read(wait_s) is None:
                    pass
    except (TimeoutError, Drained):
        return


def _question(body: shapes.Invocation, user_id: str, key: str | None) -> Question:
    """Return what to accept; the checks of its size and agent are the core's."""
    *earlier, asked = body.conversation()
    return Question(
        text=asked.text(),
        parts=asked.parts(),
        user_id=user_id,
        agent_id=body.agent_id,
        chat_id=body.chat_id,
        history=[
            NewMessage(new_id("msg"), message.role, message.text(), message.parts())
            for message in earlier
        ],
        parent_id=body.parent_id,
        from_root=body.from_root,
        if_busy=body.if_busy,
        metadata=body.metadata,
        idempotency_key=key,
        fingerprint=fingerprint(body),
    )


def fingerprint(body: shapes.Invocation) -> str:
    """Return what tells whether a repeated key repeats the body: a hash of its canonical JSON."""
    fields = body.model_dump(mode="json", exclude_none=True)
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _accepted_headers(call: Request, accepted: Accepted) -> dict[str, str]:
    request: model.Request = accepted.request
    headers = {
        "Location": placed(call, f"/api/requests/{request.id}"),
        "Perdure-Request-Id": request.id,
        "Perdure-Chat-Id": request.chat_id,
        "Perdure-Message-Id": request.message_id,
        "Perdure-User-Message-Id": request.user_message_id,
    }
    return headers | ({"Idempotent-Replayed": "true"} if accepted.replayed else {})
