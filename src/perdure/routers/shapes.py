"""What goes in and out for requests, as OpenAPI shows it; times are ISO 8601 in UTC.

Chats and messages have theirs in `chat_shapes`.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from fastapi import Response
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    model_validator,
)

from perdure import model
from perdure.model import JSON, Status
from perdure.ports import IfBusy
from perdure.routers.given import NUMBER_MAX, plain
from perdure.talk import flaw

REQUEST_ID = "resp_2f1c0a9be4d87356ac01f2e3"
CHAT_ID = "chat_77b0c2d1e4f5a6978899aabb"
MESSAGE_ID = "msg_0a1b2c3d4e5f60718293a4b5"
QUESTION_ID = "msg_9f8e7d6c5b4a39281706f5e4"
TRACE_ID = "tr-5f0e4b8a"
DEPTH_MAX = 32
AT = "2026-11-23T09:00:00.120000Z"

Text = Annotated[str, AfterValidator(plain)]
Name = Annotated[str, AfterValidator(plain), Field(min_length=1, max_length=128)]
Number = Annotated[int, Field(ge=-1, le=NUMBER_MAX)]
ShortText = Annotated[str, AfterValidator(plain), Field(max_length=4096)]
Metadata = Annotated[
    dict[
        Annotated[str, AfterValidator(plain), Field(min_length=1, max_length=64)],
        Annotated[str, AfterValidator(plain), Field(max_length=512)],
    ],
    Field(max_length=16),
]


def or_null(shape: Any, absent: object) -> BeforeValidator:
    """Let a field of this shape be null: then it counts as `absent`."""
    return BeforeValidator(
        lambda given: absent if given is None else given, json_schema_input_type=shape | None
    )


def example(**fields: Any) -> ConfigDict:
    """Return a model's configuration with one example for the schema."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


def moment(at: float | None) -> datetime | None:
    """Return a unix time as the wire shows it."""
    return None if at is None else datetime.fromtimestamp(at, UTC)


def since(at: float) -> datetime:
    """Return a unix time that is always there as the wire shows it."""
    return datetime.fromtimestamp(at, UTC)


def answer(shape: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return `shape` as the JSON answer of a call; validated once, where it was made."""
    kept = {"Cache-Control": "no-store"} | (headers or {})
    return Response(shape.model_dump_json(), status, kept, media_type="application/json")


def storable(value: object, depth: int = 0) -> None:
    """Raise `ValueError` for JSON that some store cannot keep: NaN, NUL, surrogates, too deep."""
    if depth > DEPTH_MAX:
        message = f"nested deeper than {DEPTH_MAX} levels"
        raise ValueError(message)
    if isinstance(value, str):
        plain(value)
    elif isinstance(value, float) and not math.isfinite(value):
        message = "numbers must be finite"
        raise ValueError(message)
    elif isinstance(value, int) and abs(value) > NUMBER_MAX:
        message = f"integers must not exceed {NUMBER_MAX}"
        raise ValueError(message)
    elif isinstance(value, list):
        for one in value:
            storable(one, depth + 1)
    elif isinstance(value, dict):
        for key, one in value.items():
            plain(key)
            storable(one, depth + 1)


class ContentPart(BaseModel):
    """A piece of a message's content; `text`, `input_text` and `output_text` carry text."""

    model_config = ConfigDict(extra="allow")

    type: Name
    text: Text | None = None

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        storable(self.model_extra or {})
        wrong = flaw({"type": self.type, "text": self.text, **(self.model_extra or {})})
        if wrong:
            raise ValueError(wrong)
        return self


class InputMessage(BaseModel):
    """A message of the conversation as the client has it."""

    model_config = example(role="user", content="Explain quantum computing in detail")

    role: Literal["user", "assistant", "system", "developer", "tool"]
    content: Text | Annotated[list[ContentPart], Field(min_length=1, max_length=256)]

    def text(self) -> str:
        """Return the content's text, its parts joined."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if part.text)

    def parts(self) -> list[JSON] | None:
        """Return the content's parts when it was not plain text."""
        if isinstance(self.content, str):
            return None
        return [part.model_dump(exclude_none=True) for part in self.content]


class Invocation(BaseModel):
    """A question. Give either `message` or `messages`, whose last one is the question.

    Earlier messages become the history of a new chat; in a chat that exists, the server's own
    history counts.
    """

    model_config = example(
        agent_id="guide", messages=[{"role": "user", "content": "Explain quantum computing"}]
    )

    agent_id: Name | None = Field(default=None, description="The chat's agent, or the default one.")
    chat_id: Name | None = Field(default=None, description="Without it a new chat begins.")
    message: Text | None = None
    messages: Annotated[list[InputMessage], Field(min_length=1, max_length=10_000)] | None = None
    parent_id: Name | None = Field(
        default=None, description="Message to answer to; the active branch's last one by default."
    )
    from_root: Annotated[StrictBool, or_null(StrictBool, absent=False)] = Field(
        default=False,
        description="Begin the chat anew, beside its first question: how that one is edited.",
    )
    if_busy: Annotated[IfBusy, or_null(IfBusy, "queue")] = Field(
        default="queue", description="What to do while the chat's last question is unanswered."
    )
    metadata: Annotated[Metadata, or_null(Metadata, {})] = {}

    @model_validator(mode="after")
    def _has_a_question(self) -> Self:
        if (self.message is None) == (self.messages is None):
            message = "give either message or messages"
            raise ValueError(message)
        if self.messages and self.messages[-1].role != "user":
            message = "the last of messages must have the role user"
            raise ValueError(message)
        if self.parent_id is not None and self.chat_id is None:
            message = "parent_id needs the chat_id of its chat"
            raise ValueError(message)
        if self.from_root and (self.parent_id is not None or self.chat_id is None):
            message = "from_root needs a chat_id, and no parent_id"
            raise ValueError(message)
        return self

    def conversation(self) -> list[InputMessage]:
        """Return the messages, the question last."""
        return self.messages or [InputMessage(role="user", content=self.message or "")]


class AcceptedRequest(BaseModel):
    """The question is stored and will be answered, whatever becomes of this connection."""

    model_config = example(
        request_id=REQUEST_ID,
        chat_id=CHAT_ID,
        user_message_id=QUESTION_ID,
        message_id=MESSAGE_ID,
        status="queued",
    )

    request_id: str
    chat_id: str
    user_message_id: str
    message_id: str = Field(description="Of the answer.")
    status: Status = Field(description="`queued`: as it was accepted, also in a repetition.")

    @classmethod
    def of(cls, request: model.Request) -> Self:
        """Show what was accepted."""
        return cls(
            request_id=request.id,
            chat_id=request.chat_id,
            user_message_id=request.user_message_id,
            message_id=request.message_id,
            status=Status.QUEUED,
        )


class RequestError(BaseModel):
    """Why there is no complete answer."""

    model_config = example(code="idle_timeout", message="The agent was silent for 120 s.")

    code: str
    message: str

    @classmethod
    def of(cls, failure: model.Failure | None) -> Self | None:
        """Show a failure, if there is one."""
        return cls(code=failure.code, message=failure.message) if failure else None


class RequestStatus(BaseModel):
    """How far an answer is; `partial_content` is its text up to event `sequence_number`."""

    model_config = example(
        request_id=REQUEST_ID,
        status="streaming",
        partial_content="Quantum computing is",
        final_response=None,
        trace_id=None,
        error=None,
        sequence_number=17,
        queue_position=None,
    )

    request_id: str
    status: Status
    partial_content: str | None = Field(description="The text so far; null before it begins.")
    final_response: str | None = Field(description="The whole text, once completed.")
    trace_id: str | None
    error: RequestError | None
    sequence_number: Number
    queue_position: int | None = Field(description="1 = next; null when it does not wait.")


class AgentRequest(BaseModel):
    """One question and its answer."""

    model_config = example(
        id=REQUEST_ID,
        chat_id=CHAT_ID,
        agent_id="guide",
        user_message_id=QUESTION_ID,
        message_id=MESSAGE_ID,
        user_message="Explain quantum computing in detail",
        status="completed",
        partial_response="Quantum computing is …",
        final_response="Quantum computing is …",
        error=None,
        incomplete_reason=None,
        trace_id=TRACE_ID,
        attempt=1,
        attempts_max=3,
        sequence_number=412,
        queue_position=None,
        created_at=AT,
        started_at=AT,
        completed_at=AT,
        usage={"input_tokens": 12, "output_tokens": 400, "total_tokens": 412},
        metadata={},
        events_pruned=False,
    )

    id: str
    chat_id: str
    agent_id: str
    user_message_id: str
    message_id: str
    user_message: str
    status: Status
    partial_response: str | None = Field(description="The text so far; null before it begins.")
    final_response: str | None = Field(description="The whole text, once completed.")
    error: RequestError | None
    incomplete_reason: str | None = Field(
        description="Why a completed answer was cut short by the model, e.g. `max_output_tokens`."
    )
    trace_id: str | None
    attempt: int = Field(description="How often it was begun; 0 = not yet.")
    attempts_max: int = Field(description="Lost workers after which it fails.")
    sequence_number: Number = Field(description="Number of its last event.")
    queue_position: int | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    usage: dict[str, Any] | None
    metadata: dict[str, str]
    events_pruned: bool = Field(description="Its event log is gone; the answer itself is here.")


class RequestPage(BaseModel):
    """Requests, newest first."""

    requests: list[AgentRequest]
    next_cursor: str | None


class Assessment(BaseModel):
    """A verdict on an answer; a later one with the same name replaces it."""

    model_config = example(request_id=REQUEST_ID, name="thumbs", value=True, rationale="Clear.")

    trace_id: Name | None = None
    request_id: Name | None = None
    name: Name
    value: bool | int | Annotated[float, Field(allow_inf_nan=False)] | ShortText
    rationale: Annotated[Text, Field(max_length=16_384)] | None = None

    @model_validator(mode="after")
    def _names_an_answer(self) -> Self:
        if (self.trace_id is None) == (self.request_id is None):
            message = "give either trace_id or request_id"
            raise ValueError(message)
        storable(self.value)
        return self


class Feedback(BaseModel):
    """A verdict as it was kept."""

    model_config = example(
        id="fb_4a5b6c7d8e9f001122334455",
        request_id=REQUEST_ID,
        trace_id=TRACE_ID,
        name="thumbs",
        value=True,
        rationale="Clear.",
        created_at=AT,
    )

    id: str
    request_id: str
    trace_id: str | None
    name: str
    value: bool | int | float | str
    rationale: str | None
    created_at: datetime

    @classmethod
    def of(cls, kept: model.Feedback) -> Self:
        """Show a verdict."""
        return cls(
            id=kept.id,
            request_id=kept.request_id,
            trace_id=kept.trace_id,
            name=kept.name,
            value=kept.value,
            rationale=kept.rationale,
            created_at=since(kept.created_at),
        )


class FeedbackList(BaseModel):
    """The person's verdicts on an answer."""

    feedback: list[Feedback]
