"""What goes in and out under `/api/chat`, as the OpenAPI document shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, Field

from perdure.model import JSON
from perdure.routers.shapes import CHAT_ID, MESSAGE_ID, REQUEST_ID, example

QUESTION = {"id": "q1", "role": "user", "parts": [{"type": "text", "text": "Why?"}]}

ClientId = Annotated[str, Path(description="The client's own id of the chat.")]


class ChatBody(BaseModel):
    """What `useChat` sends; further keys are ignored."""

    model_config = example(id="c1", messages=[QUESTION], trigger="submit-message")

    id: Annotated[str, Field(min_length=1, max_length=255, description="The client's own.")]
    messages: Annotated[Any, Field(description="The client's copy of the talk, the question last.")]
    trigger: Any = Field(default=None, description="`regenerate-message`: answer once more.")
    messageId: Any = Field(default=None, description="The question that is edited, or the answer.")  # noqa: N815 - the AI SDK's name
    agent_id: Any = Field(default=None, description="Whom to ask; the chat's agent.")
    tools: list[JSON] | None = Field(default=None, description="The page's own, as under `/v1`.")


class ChatHistory(BaseModel):
    """A chat's messages, as `useChat` is given them."""

    model_config = example(
        id="c1",
        chat_id=CHAT_ID,
        messages=[{**QUESTION, "id": MESSAGE_ID, "metadata": {}}],
    )

    id: str
    chat_id: str
    messages: list[JSON]


class ChatStopped(BaseModel):
    """Which answers were stopped; what they said is stored."""

    model_config = example(stopped=[REQUEST_ID])

    stopped: list[str]


BODIES: Sequence[type[BaseModel]] = (ChatBody,)
"""Models that no route's signature names."""


def body(of: type[BaseModel]) -> dict[str, Any]:
    """Return what a route says of its body, which it reads by itself."""
    schema = {"schema": {"$ref": f"#/components/schemas/{of.__name__}"}}
    return {"requestBody": {"required": True, "content": {"application/json": schema}}}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return a route's own refusals for the document: sentences, which the AI SDK shows."""
    said = {404: "There is no such chat.", 409: "It cannot be done as things stand."}
    said |= {429: "Too many wait.", 503: "Not now."}
    return {status: {"description": said[status]} for status in statuses}
