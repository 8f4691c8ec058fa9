"""What goes in and out under `/v1`, as the OpenAPI document shows it.

Bodies are checked by hand (`params`, `items`), so that refusals are OpenAI's; these models document
them and are never stricter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from perdure.model import JSON
from perdure.response import response
from perdure.routers.shapes import CHAT_ID, MESSAGE_ID, REQUEST_ID, example
from perdure.routers.v1.shown import LIMIT, LIMIT_MAX, Paging

AT_S = 1_795_000_000
TEXT = {"type": "output_text", "text": "Nothing is lost.", "annotations": [], "logprobs": []}
MESSAGE: JSON = {"id": MESSAGE_ID, "type": "message", "status": "completed", "role": "assistant"}
MESSAGE |= {"content": [TEXT]}
RESPONSE = response(id=REQUEST_ID, agent_id="guide", created_at=AT_S, background=False)
RESPONSE |= {"status": "completed", "completed_at": AT_S + 4, "output": [MESSAGE]}

ResponseId = Annotated[str, Path(description="`resp_…`")]
ConversationId = Annotated[str, Path(description="`chat_…`")]
ItemId = Annotated[str, Path(description="Of an item of the conversation.")]


async def _paging(
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Size of a page.")] = LIMIT,
    order: Annotated[Literal["asc", "desc"], Query(description="`desc`: newest first.")] = "desc",
    after: Annotated[
        str | None, Query(description="Id of the last item of the page before.")
    ] = None,
) -> Paging:
    return Paging(limit, order, after)


Page = Annotated[Paging, Depends(_paging)]

Metadata = Annotated[
    dict[str, Annotated[str, Field(max_length=512)]],
    Field(max_length=16, description="At most 16 pairs; keys of at most 64 characters."),
]
Input = Annotated[
    str | list[JSON],
    Field(max_length=10_000, description="A question, or items: messages, calls, their outputs."),
]
Penalty = Annotated[float, Field(ge=-2, le=2)]


class OpenAIError(BaseModel):
    """Why a call was not carried out, in the envelope of OpenAI's clients."""

    model_config = example(
        error={
            "message": f"Response with id '{REQUEST_ID}' not found.",
            "type": "invalid_request_error",
            "param": None,
            "code": "not_found",
        }
    )

    error: Annotated[JSON, Field(description="`message`, `type`, `param` and `code`, always.")]


class CreateResponse(BaseModel):
    """A question to an agent. What is not named here is ignored; null is as if it were absent."""

    model_config = example(model="guide", input="What happens when I close the tab?")

    model: str | None = Field(default=None, description="An agent's id; the default one.")
    input: Input | None = None
    instructions: str | None = None
    background: bool | None = Field(default=None, description="Answer at once, go on by itself.")
    stream: bool | None = Field(default=None, description="Answer by events.")
    store: bool | None = Field(default=None, description="false: it ends with its connection.")
    previous_response_id: str | None = None
    conversation: str | JSON | None = None
    tools: list[JSON] | None = None
    tool_choice: str | JSON | None = None
    parallel_tool_calls: bool | None = None
    metadata: Metadata | None = None
    include: list[Any] | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tool_calls: Annotated[int, Field(ge=1)] | None = None
    text: JSON | None = None
    reasoning: JSON | None = None
    truncation: Literal["auto", "disabled"] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None


class CompactBody(BaseModel):
    """A talk to be made shorter."""

    model_config = example(model="guide", input="What happens when I close the tab?")

    model: str
    input: Any = None
    previous_response_id: Any = None
    instructions: Any = None


class ConversationBody(BaseModel):
    """A conversation to be made."""

    model_config = example(items=[{"role": "user", "content": "Hello"}], metadata={"topic": "x"})

    items: Annotated[list[JSON], Field(max_length=20)] | None = None
    metadata: Metadata | None = None


class ConversationChange(BaseModel):
    """The metadata that a conversation has from now on."""

    model_config = example(metadata={"topic": "x"})

    metadata: Metadata | None = None


class NewItems(BaseModel):
    """Items to be put behind a conversation."""

    model_config = example(items=[{"role": "user", "content": "Hello"}])

    items: Annotated[list[JSON], Field(min_length=1, max_length=20)]


class ResponseObject(BaseModel):
    """A response as it stands; `output` holds what was said so far."""

    model_config = example(**RESPONSE)

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["queued", "in_progress", "completed", "failed", "cancelled", "incomplete"]
    background: bool
    store: bool
    model: str
    instructions: str | None
    previous_response_id: str | None
    metadata: dict[str, str]
    output: list[JSON]
    error: JSON | None
    incomplete_details: JSON | None
    usage: JSON | None
    tools: list[JSON]
    tool_choice: str | JSON
    parallel_tool_calls: bool
    truncation: str
    text: JSON
    reasoning: JSON | None
    temperature: float
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    top_logprobs: int
    max_output_tokens: int | None
    max_tool_calls: int | None
    service_tier: str
    safety_identifier: str | None
    prompt_cache_key: str | None


class DeletedObject(BaseModel):
    """What is no more."""

    model_config = example(id=REQUEST_ID, object="response", deleted=True)

    id: str
    object: Literal["response", "conversation.deleted"]
    deleted: Literal[True]


class ItemObject(BaseModel):
    """A message, a tool call, its output, or a thought; further keys as its type has them."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra=example(**MESSAGE)["json_schema_extra"]
    )

    id: str
    type: str


class ItemList(BaseModel):
    """A page of items."""

    object: Literal["list"]
    data: list[ItemObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ConversationObject(BaseModel):
    """A chat, as OpenAI's clients see it."""

    model_config = example(id=CHAT_ID, object="conversation", created_at=AT_S, metadata={})

    id: str
    object: Literal["conversation"]
    created_at: int
    metadata: dict[str, str]


class ModelObject(BaseModel):
    """An agent."""

    model_config = example(id="guide", object="model", created=AT_S, owned_by="perdure")

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """All agents."""

    object: Literal["list"]
    data: list[ModelObject]


BODIES: Sequence[type[BaseModel]] = (
    CreateResponse,
    CompactBody,
    ConversationBody,
    ConversationChange,
    NewItems,
    OpenAIError,
)
"""Models that no route's signature names."""


def body(of: type[BaseModel]) -> dict[str, Any]:
    """Return what a route says of its body, which it reads by itself."""
    schema = {"schema": {"$ref": f"#/components/schemas/{of.__name__}"}}
    kinds = ("application/json", "application/x-www-form-urlencoded")
    accepted = kinds if of is CreateResponse else kinds[:1]
    return {"requestBody": {"content": dict.fromkeys(accepted, schema)}}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return a route's own refusals for the document; their envelope is filled in there."""
    said = {400: "A parameter is wrong; `param` names it.", 404: "Unknown, deleted or foreign."}
    said |= {409: "It cannot be done as things stand.", 429: "Too many wait; see `Retry-After`."}
    said |= {503: "Not now; see `Retry-After`."}
    return {status: {"description": said[status]} for status in statuses}
