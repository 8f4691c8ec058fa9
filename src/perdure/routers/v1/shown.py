"""What goes out under `/v1`: the Response object of a request, items, lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from fastapi import Response

from perdure.core import Core
from perdure.errors import Invalid
from perdure.events import of_request
from perdure.model import JSON, Failure, Message, Request, Status
from perdure.routers import views
from perdure.talk import items_of

POLL_MS = 1000
"""What an unfinished response's reader is asked to wait."""
LIMIT, LIMIT_MAX = 20, 100
WORDS = {Status.STREAMING: "in_progress"}


def answer(body: JSON, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON body as the answer of a call."""
    kept = {"Cache-Control": "no-store"} | (headers or {})
    return Response(msgspec.json.encode(body), headers=kept, media_type="application/json")


async def shown_response(core: Core, row: Request) -> Response:
    """Return the Response object of a request as it stands, with a hint for pollers."""
    now = await views.standing(core, row)
    hint = {} if now.status.terminal else {"openai-poll-after-ms": str(POLL_MS)}
    return answer(response_object(now), hint)


def response_object(now: views.Standing) -> JSON:
    """Return the Response object of a request as it stands."""
    row = now.row
    reason = row.incomplete_reason if now.status.terminal else None
    word = "incomplete" if reason else WORDS.get(now.status, now.status.value)
    completed = row.completed_at if word == "completed" else None
    return of_request(row) | {
        "status": word,
        "output": now.output,
        "completed_at": None if completed is None else int(completed),
        "error": _error(row.error) if now.status.terminal else None,
        "incomplete_details": {"reason": reason} if reason else None,
        "usage": row.usage,
    }


def _error(failure: Failure | None) -> JSON | None:
    """Return why there is no answer, with OpenAI's `type`: the AI SDK reads no error without one.

    Source: OpenAI's OpenAPI description, `ResponseError`.
    """
    if failure is None:
        return None
    return {"code": failure.code, "message": failure.message, "type": "server_error", "param": None}


def message_items(message: Message) -> list[JSON]:
    """Return a stored message as the items of a conversation."""
    given = items_of(message)
    if given:
        return given
    if message.output is not None:
        return message.output
    if not message.text and not message.parts:
        return []
    kind = "output_text" if message.role == "assistant" else "input_text"
    content = message.parts or [text_part(kind, message.text)]
    return [message_item(message.id, message.role, content)]


def message_item(item_id: str, role: str, content: Sequence[JSON]) -> JSON:
    """Return a message item."""
    return {
        "id": item_id,
        "type": "message",
        "status": "completed",
        "role": role,
        "content": list(content),
    }


def text_part(kind: str, text: str) -> JSON:
    """Return a text as a content part."""
    part: JSON = {"type": kind, "text": text}
    return {**part, "annotations": [], "logprobs": []} if kind == "output_text" else part


class Paging(msgspec.Struct, frozen=True):
    """Which page of a list is wanted."""

    limit: int
    order: Literal["asc", "desc"]
    after: str | None

    def of(self, items: Sequence[JSON]) -> Response:
        """Return the page of a list that is given oldest first."""
        listed = list(items) if self.order == "asc" else list(reversed(items))
        if self.after is not None:
            ids = [item["id"] for item in listed]
            if self.after not in ids:
                detail = f"No item with id '{self.after[:100]}' found in this list."
                raise Invalid(detail, code="invalid_value", param="after")
            listed = listed[ids.index(self.after) + 1 :]
        return answer(list_of(listed[: self.limit], has_more=len(listed) > self.limit))


def list_of(data: Sequence[JSON], *, has_more: bool = False) -> JSON:
    """Return items as a list object."""
    ends: dict[str, Any] = {
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }
    return {"object": "list", "data": list(data), **ends, "has_more": has_more}
