"""`/v1/responses`: create, retrieve, stream, cancel, delete; whatever the OpenAI clients call."""

from __future__ import annotations

import re
from typing import Annotated, Any, NoReturn

from fastapi import APIRouter, Query, Request, Response

from perdure import model
from perdure.core import Core
from perdure.errors import Invalid, NotFound, Unavailable
from perdure.model import JSON, Status
from perdure.routers.given import Asker, Key, Running, Who, known
from perdure.routers.on_behalf import OwnToken
from perdure.routers.streams import refuse_draining
from perdure.routers.v1 import following, params, retries
from perdure.routers.v1.creating import create
from perdure.routers.v1.items import missing, read, wrong_type
from perdure.routers.v1.shapes import (
    CompactBody,
    CreateResponse,
    DeletedObject,
    ItemList,
    Page,
    ResponseId,
    ResponseObject,
    body,
    refusals,
)
from perdure.routers.v1.shown import answer, shown_response
from perdure.tail import Drained

router = APIRouter(prefix="/v1", tags=["openai"])

INTEGER = re.compile(r"-1|[0-9]{1,15}", re.ASCII)


ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The response, whole or as it stands; with `stream` its events.",
        "content": {"text/event-stream": {}},
    },
    **refusals(404, 409, 429, 503),
}


@router.post(
    "/responses",
    operation_id="createResponse",
    response_model=ResponseObject,
    responses=ANSWERS,
    openapi_extra=body(CreateResponse),
)
async def create_response(
    core: Running, person: Asker, key: Key, call: Request, own_token: OwnToken
) -> Response:
    """Ask an agent: in the background or not, by events or whole.

    With `stream` the answer is its events (frames `event`, `data`), then `data: [DONE]`. Forms are
    understood as well. The same path is a WebSocket: each message `{"type": "response.create", …}`
    is a turn, answered by the same events or by `{"type": "error", "status", "error"}`.
    """
    wish = params.read(await params.read_body(call))
    whole = not wish.stream and not wish.background
    row = None
    if whole and retries.is_retry(call):
        row = await retries.first_try(core, person.user_id, wish)
    if row is None:
        row = (await create(core, person.user_id, wish, key, own_token)).request
    if wish.stream:
        return following.ResponseStream(core, row, -1, owned=True)
    if wish.background:
        return await shown_response(core, row)
    return await _whole(core, row, wish, call)


@router.post(
    "/responses/compact",
    operation_id="compactResponse",
    response_model=ResponseObject,
    openapi_extra=body(CompactBody),
)
async def compact(person: Who, call: Request) -> Response:
    """Refuse to compact: nobody here can do it without loss."""
    del person
    if (await params.read_body(call)).get("model") is None:
        missing("model")
    detail = (
        "Compaction is not supported by this server. Go on with previous_response_id or a "
        "conversation; the server keeps the history."
    )
    raise Invalid(detail, code="unsupported_operation")


@router.get(
    "/responses/{response_id}",
    operation_id="getResponse",
    response_model=ResponseObject,
    responses={200: ANSWERS[200], **refusals(404, 503)},
)
async def retrieve(
    core: Running,
    person: Who,
    response_id: ResponseId,
    stream: Annotated[str, Query(description="`true`: by events.")] = "false",
    starting_after: Annotated[
        str | None, Query(description="With `stream`: the number of the last event seen.")
    ] = None,
) -> Response:
    """Return a response as it stands, or its events after a cursor, at any time of its life."""
    row = await _found(core, response_id, person.user_id)
    if not _flag(stream, "stream"):
        return await shown_response(core, row)
    after = _cursor(starting_after)
    refuse_draining(core)
    if row.status.terminal:
        after = await _readable(core, row, after)
    return following.ResponseStream(core, row, after)


@router.post(
    "/responses/{response_id}/cancel",
    operation_id="cancelResponse",
    response_model=ResponseObject,
    responses=refusals(400, 404, 503),
)
async def cancel(core: Running, person: Who, response_id: ResponseId) -> Response:
    """Stop a response and keep what it said so far."""
    row = await _found(core, response_id, person.user_id)
    row = await core.acceptance.cancel(row.id, person.user_id)
    if row.status is Status.COMPLETED:
        raise Invalid("Cannot cancel a completed response.", code="response_completed")
    return await shown_response(core, row)


@router.delete(
    "/responses/{response_id}",
    operation_id="deleteResponse",
    response_model=DeletedObject,
    responses=refusals(404, 503),
)
async def delete(core: Running, person: Who, response_id: ResponseId) -> Response:
    """Stop a response if it runs, and remove it."""
    row = await _found(core, response_id, person.user_id)
    await core.acceptance.delete_request(row.id, person.user_id)
    return answer({"id": row.id, "object": "response", "deleted": True})


@router.get(
    "/responses/{response_id}/input_items",
    operation_id="listInputItems",
    response_model=ItemList,
    responses=refusals(400, 404, 503),
)
async def input_items(
    core: Running,
    person: Who,
    response_id: ResponseId,
    page: Page,
) -> Response:
    """List the items that a response was made from."""
    row = await _found(core, response_id, person.user_id)
    given = await core.store.input(row.id, person.user_id) or await _question(core, row)
    return page.of(given)


async def _whole(core: Core, row: model.Request, wish: params.Wish, call: Request) -> Response:
    """Wait for a response and return it whole; one that is not stored goes with its caller."""
    try:
        async with retries.held(core, row, wish):
            if not await following.ended(core, row, call):
                await retries.unanswered(core, row, wish)
        return await shown_response(core, await core.store.request(row.id, row.user_id))
    except Drained:
        await retries.unanswered(core, row, wish)
        goes_on = "" if row.transient else f"; the response {row.id} goes on: retrieve it"
        raise Unavailable(f"The server is restarting{goes_on}.", code="draining") from None
    finally:
        if row.transient:
            await following.discard(core, row)


async def _found(core: Core, response_id: str, user_id: str) -> model.Request:
    """Return a stored response; unknown, deleted, foreign and unstored ones look alike."""
    try:
        row = await core.store.request(known(response_id), user_id)
    except NotFound:
        _unknown(response_id)
    return _unknown(response_id) if row.transient else row


def _unknown(response_id: str) -> NoReturn:
    raise NotFound(f"Response with id '{response_id[:100]}' not found.")


async def _question(core: Core, row: model.Request) -> list[JSON]:
    """Return the question of a request that came by another API, as an input item."""
    found = await core.store.texts([row.user_message_id], row.user_id)
    text = found.get(row.user_message_id)
    return [{**item, "id": row.user_message_id} for item in read(text)] if text else []


async def _readable(core: Core, row: model.Request, after: int) -> int:
    """Return a cursor at which a finished log can be read: the start is always one."""
    if not row.events_pruned or after < 0 or after >= row.sequence_number:
        return after
    await core.store.read({row.id: after}, 1)
    return after


def _flag(value: str, name: str) -> bool:
    if value not in ("true", "false"):
        wrong_type(name, "a boolean", value)
    return value == "true"


def _cursor(value: str | None) -> int:
    if value is None:
        return -1
    if not INTEGER.fullmatch(value):
        detail = "'starting_after' must be the sequence number of an event."
        raise Invalid(detail, code="invalid_type", param="starting_after")
    return int(value)
