"""How a request stands, for every route that shows it: the row and the text at one event number."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from perdure.core import Core
from perdure.items import text_of
from perdure.model import JSON, Request, Status
from perdure.routers import shapes


class Standing(msgspec.Struct, frozen=True):
    """A request at event `number`: its row, and the answer's text and items up to there."""

    row: Request
    status: Status
    number: int
    text: str
    output: list[JSON]
    position: int | None = None

    @property
    def partial(self) -> str | None:
        """The text so far; None before it begins."""
        return self.text or (None if self.status is Status.QUEUED else "")

    @property
    def final(self) -> str | None:
        """The whole text, once completed."""
        return self.text if self.status is Status.COMPLETED else None


async def standing(core: Core, row: Request) -> Standing:
    """Return how the request of `row` stands now; the row is read again if the end came since."""
    while not row.status.terminal:
        seen = await core.tails.snapshot(row.id)
        if not seen.status.terminal:
            newer = seen.sequence_number > row.sequence_number
            status = seen.status if newer else row.status
            position = await core.acceptance.position(row) if status is Status.QUEUED else None
            return Standing(row, status, seen.sequence_number, seen.text, seen.output, position)
        row = await core.store.request(row.id, row.user_id)
    output = row.output or []
    return Standing(row, row.status, row.sequence_number, text_of(output), output)


def status_shape(now: Standing) -> shapes.RequestStatus:
    """Show how far a request is."""
    return shapes.RequestStatus(
        request_id=now.row.id,
        status=now.status,
        partial_content=now.partial,
        final_response=now.final,
        trace_id=now.row.trace_id,
        error=shapes.RequestError.of(now.row.error),
        sequence_number=now.number,
        queue_position=now.position,
    )


async def request_shape(core: Core, row: Request) -> shapes.AgentRequest:
    """Show one request whole."""
    return (await request_shapes(core, [row]))[0]


async def request_shapes(core: Core, rows: Sequence[Request]) -> list[shapes.AgentRequest]:
    """Show requests whole, with the questions they answer."""
    questions = await _questions(core, rows)
    found = [await standing(core, row) for row in rows]
    return [_request(core, now, questions.get(now.row.user_message_id, "")) for now in found]


async def _questions(core: Core, rows: Sequence[Request]) -> dict[str, str]:
    """Return `{user message id: text}` for all rows of a person."""
    ids = [row.user_message_id for row in rows]
    return await core.store.texts(ids, rows[0].user_id) if rows else {}


def _request(core: Core, now: Standing, question: str) -> shapes.AgentRequest:
    row = now.row
    agent = core.agents.get(row.agent_id)
    return shapes.AgentRequest(
        id=row.id,
        chat_id=row.chat_id,
        agent_id=row.agent_id,
        user_message_id=row.user_message_id,
        message_id=row.message_id,
        user_message=question,
        status=now.status,
        partial_response=now.partial,
        final_response=now.final,
        error=shapes.RequestError.of(row.error),
        incomplete_reason=row.incomplete_reason,
        trace_id=row.trace_id,
        attempt=row.attempt,
        attempts_max=agent.attempts_max if agent else row.attempt,
        sequence_number=now.number,
        queue_position=now.position,
        created_at=shapes.since(row.created_at),
        started_at=shapes.moment(row.started_at),
        completed_at=shapes.moment(row.completed_at),
        usage=row.usage,
        metadata=row.metadata,
        events_pruned=row.events_pruned,
    )
