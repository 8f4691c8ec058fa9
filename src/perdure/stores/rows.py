"""Rows of the tables as the nouns of `perdure.model`, and back; the same for all SQL adapters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from perdure.credentials import Credential
from perdure.model import JSON, Chat, Failure, Feedback, Message, Request, Status, Usage, Webhook
from perdure.records import ChatChanges, Figures, Overview, Tally, WorkerLoad
from perdure.stores import refusals

Row = Sequence[Any]

REQUEST = (
    "id, chat_id, user_id, agent_id, user_message_id, message_id, status, created_at,"
    " next_sequence, attempt, crashes, dispatched_at, not_before, started_at, completed_at,"
    " trace_id, error, usage, output, incomplete_reason, metadata, events_pruned,"
    " params, transient, upstream, traceparent"
)
UNFINISHED = "status IN ('queued', 'streaming')"
"""SQLite uses the indexes of the unfinished requests only where this very term is said."""

MESSAGE = "id, chat_id, parent_id, role, text, parts, output, request_id, created_at"
CHAT = (
    "id, user_id, agent_id, title, created_at, updated_at, revision, pinned, archived,"
    " deleted_at IS NOT NULL, current_message_id, unread, last_status,"
    " (SELECT id FROM request r WHERE r.chat_id = chat.id AND r.status = 'streaming'"
    f" AND r.{UNFINISHED} LIMIT 1),"
    " (SELECT count(*) FROM request r WHERE r.chat_id = chat.id AND r.status = 'queued'"
    f" AND r.{UNFINISHED}),"
    " metadata, client_id"
)
WEBHOOK = (
    "id, request_id, user_id, type, created_at, attempts, due_at, delivered_at, failed_at, error"
)
CREDENTIAL = "id, kind, user_id, name, scopes, digest, created_at, expires_at, used_at, details"
UNANSWERED = "\x1f"
"""Before the mark of an unanswered call, beside people's idempotency keys, which are printable."""
FEEDBACK = (
    "id, user_id, request_id, trace_id, name, value, rationale, created_at, author, tries, due_at"
)


def dump(value: object) -> str | None:
    """Encode a value as JSON text; None stays NULL."""
    return None if value is None else msgspec.json.encode(value).decode()


def columns(changes: ChatChanges) -> dict[str, Any]:
    """Return a chat's changes as values of its columns."""
    values: dict[str, Any] = {**changes}
    if "metadata" in values:
        values["metadata"] = dump(values["metadata"])
    return values


def load(text: str | None) -> Any:
    """Decode JSON text; NULL is None."""
    return None if text is None else msgspec.json.decode(text)


def required(found: Sequence[Row], noun: str, object_id: str) -> Row:
    """Return the first of the rows; raises `NotFound` when there is none."""
    if not found:
        raise refusals.unknown(noun, object_id)
    return found[0]


def item(outputs: Iterable[Row], item_id: str) -> JSON:
    """Return the item of that id in rows of one `output` each; raises `NotFound`."""
    for (output,) in outputs:
        for one in load(output):
            if one["id"] == item_id:
                return dict(one)
    raise refusals.unknown("item", item_id)


def figures(now: float, live: Sequence[Row], webhooks: Row, tallies: Sequence[Row]) -> Figures:
    """Make the figures of a deployment.

    Args:
        now: by the store's clock.
        live: by group: streaming?, admitted?, how many, oldest created_at, oldest dispatched_at.
        webhooks: how many wait, the oldest's created_at.
        tallies: `(agent_id, status, code, count)`.

    """
    waiting, unclaimed, streaming = (0, None), (0, None), 0
    for is_streaming, is_admitted, count, created_at, dispatched_at in live:
        if is_streaming:
            streaming += count
        elif is_admitted:
            unclaimed = (count, dispatched_at)
        else:
            waiting = (count, created_at)
    return Figures(
        waiting=waiting[0],
        queue_age_s=_age(now, waiting[1]),
        unclaimed=unclaimed[0],
        unclaimed_age_s=_age(now, unclaimed[1]),
        streaming=streaming,
        webhooks=webhooks[0],
        webhook_age_s=_age(now, webhooks[1]),
        ended=[Tally(*tally) for tally in tallies],
    )


def overview(
    since: float,
    step_s: float,
    workers: Sequence[Row],
    failures: Sequence[Row],
    course: Sequence[Row],
) -> Overview:
    """Make an overview of rows in the order of its nouns' fields."""
    return Overview(
        since=since,
        step_s=step_s,
        workers=[WorkerLoad(*worker) for worker in workers],
        failures=[Tally(*failure) for failure in failures],
        course=[(step, what, count) for step, what, count in course],
    )


def _age(now: float, since: float | None) -> float:
    return 0.0 if since is None else max(0.0, now - since)


def request(r: Row) -> Request:
    """Make a request of the columns `REQUEST`; its number is that of the row."""
    return Request(
        id=r[0],
        chat_id=r[1],
        user_id=r[2],
        agent_id=r[3],
        user_message_id=r[4],
        message_id=r[5],
        status=Status(r[6]),
        created_at=r[7],
        sequence_number=r[8] - 1,
        attempt=r[9],
        crashes=r[10],
        dispatched_at=r[11],
        not_before=r[12],
        started_at=r[13],
        completed_at=r[14],
        trace_id=r[15],
        error=None if r[16] is None else msgspec.json.decode(r[16], type=Failure),
        usage=load(r[17]),
        output=load(r[18]),
        incomplete_reason=r[19],
        metadata=load(r[20]),
        events_pruned=bool(r[21]),
        params=load(r[22]),
        transient=bool(r[23]),
        upstream=load(r[24]),
        traceparent=r[25],
    )


def message(r: Row) -> Message:
    """Make a message of the columns `MESSAGE`."""
    parts: list[JSON] | None = load(r[5])
    return Message(
        id=r[0],
        chat_id=r[1],
        parent_id=r[2],
        role=r[3],
        text=r[4],
        parts=parts,
        output=load(r[6]),
        request_id=r[7],
        created_at=r[8],
    )


def chat(r: Row) -> Chat:
    """Make a chat of the columns `CHAT`."""
    return Chat(
        id=r[0],
        user_id=r[1],
        agent_id=r[2],
        title=r[3],
        created_at=r[4],
        updated_at=r[5],
        revision=r[6],
        pinned=bool(r[7]),
        archived=bool(r[8]),
        deleted=bool(r[9]),
        current_message_id=r[10],
        unread=bool(r[11]),
        last_status=None if r[12] is None else Status(r[12]),
        running_request_id=r[13],
        queued=r[14],
        metadata=load(r[15]),
        client_id=r[16],
    )


FEEDBACK_ANEW = ", ".join(
    f"{name} = excluded.{name}"
    for name in FEEDBACK.split(", ")
    if name not in ("user_id", "request_id", "name")
)
"""What a later verdict changes."""


def feedback(r: Row) -> Feedback:
    """Make a verdict of the columns `FEEDBACK`."""
    return Feedback(
        id=r[0],
        user_id=r[1],
        request_id=r[2],
        trace_id=r[3],
        name=r[4],
        value=load(r[5]),
        rationale=r[6],
        created_at=r[7],
        author=r[8],
        tries=r[9],
        due_at=r[10],
    )


def feedback_values(given: Feedback) -> tuple[str | float | None, ...]:
    """Return the values of the columns `FEEDBACK`."""
    return (
        given.id,
        given.user_id,
        given.request_id,
        given.trace_id,
        given.name,
        dump(given.value),
        given.rationale,
        given.created_at,
        given.author,
        given.tries,
        given.due_at,
    )


def usage(r: Row) -> Usage:
    """Make a sum of the columns user, agent, status, count, input and output tokens."""
    return Usage(r[0], r[1], Status(r[2]), r[3], int(r[4]), int(r[5]))


def webhook(r: Row) -> Webhook:
    """Make a webhook of the columns `WEBHOOK`."""
    return Webhook(
        id=r[0],
        request_id=r[1],
        user_id=r[2],
        type=r[3],
        created_at=r[4],
        attempts=r[5],
        due_at=r[6],
        delivered_at=r[7],
        failed_at=r[8],
        error=r[9],
    )


def credential(r: Row) -> Credential:
    """Make a credential of the columns `CREDENTIAL`."""
    return Credential(
        id=r[0],
        kind=r[1],
        user_id=r[2],
        name=r[3],
        scopes=load(r[4]),
        digest=r[5],
        created_at=r[6],
        expires_at=r[7],
        used_at=r[8],
        details=load(r[9]),
    )


def of_credential(one: Credential) -> tuple[Any, ...]:
    """Return a credential as values of the columns `CREDENTIAL`."""
    return (
        one.id,
        one.kind,
        one.user_id,
        one.name,
        dump(one.scopes),
        one.digest,
        one.created_at,
        one.expires_at,
        one.used_at,
        dump(one.details),
    )
