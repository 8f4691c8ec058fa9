"""Webhooks of one's requests: which were delivered, which were given up, and once more."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Path, Query, Response
from pydantic import AfterValidator, BaseModel, Field

from perdure import model
from perdure.routers import shapes
from perdure.routers.given import PAGE_SIZE, Limit, Running, Who, known
from perdure.routers.problems import responses
from perdure.routers.shapes import AT, REQUEST_ID, example, moment, since

router = APIRouter(prefix="/api", tags=["webhooks"])

EXAMPLE = {
    "id": "evt_0d1c2b3a4f5e69788796a5b4",
    "request_id": REQUEST_ID,
    "type": "response.completed",
    "state": "dead",
    "attempts": 17,
    "error": "status 500",
    "created_at": AT,
    "due_at": None,
    "delivered_at": None,
}


class Webhook(BaseModel):
    """A notice of a request's end."""

    model_config = example(**EXAMPLE)

    id: str
    request_id: str
    type: str
    state: Literal["waiting", "delivered", "dead"]
    attempts: int
    error: str | None = Field(description="Why the last try failed.")
    created_at: datetime
    due_at: datetime | None = Field(description="When it is tried next.")
    delivered_at: datetime | None

    @classmethod
    def of(cls, webhook: model.Webhook) -> Self:
        """Show a webhook."""
        dead = webhook.failed_at is not None
        return cls(
            id=webhook.id,
            request_id=webhook.request_id,
            type=webhook.type,
            state="delivered" if webhook.delivered_at else "dead" if dead else "waiting",
            attempts=webhook.attempts,
            error=webhook.error,
            created_at=since(webhook.created_at),
            due_at=moment(webhook.due_at),
            delivered_at=moment(webhook.delivered_at),
        )


class Webhooks(BaseModel):
    """Webhooks, newest first."""

    webhooks: list[Webhook]


@router.get(
    "/webhooks",
    operation_id="listWebhooks",
    response_model=Webhooks,
    responses=responses(422, 503),
)
async def list_webhooks(
    core: Running,
    person: Who,
    limit: Limit = PAGE_SIZE,
    dead: Annotated[
        Literal["true", "false"], Query(description="`true`: only those that were given up.")
    ] = "false",
) -> Response:
    """List the webhooks of one's requests, newest first."""
    found = await core.store.webhooks(person.user_id, dead=dead == "true", limit=limit)
    return shapes.answer(Webhooks(webhooks=[Webhook.of(webhook) for webhook in found]))


@router.post(
    "/webhooks/{webhook_id}/redeliver",
    operation_id="redeliverWebhook",
    status_code=202,
    response_model=Webhook,
    responses=responses(404, 503),
)
async def redeliver(
    core: Running,
    person: Who,
    webhook_id: Annotated[str, AfterValidator(known), Path(description="`evt_…`")],
) -> Response:
    """Deliver a webhook again, whatever became of it."""
    webhook = await core.store.redeliver_webhook(webhook_id, person.user_id)
    return shapes.answer(Webhook.of(webhook), 202)
