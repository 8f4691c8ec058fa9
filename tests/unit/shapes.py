"""Open Responses 2026-04-24 as strict types: the fields of each event, and which may be null.

Our logs hold nothing else, so an unknown key is an error too. Written down from the specification,
not from the code under test.
"""

from typing import Any, Literal

import msgspec

Status = Literal["in_progress", "completed", "incomplete"]


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """A JSON object with exactly these keys."""


class Url(Shape, tag="url_citation", tag_field="type"):
    url: str
    title: str
    start_index: int
    end_index: int


class OutputText(Shape, tag="output_text", tag_field="type"):
    text: str
    annotations: list[Url]
    logprobs: list[None]


class Refusal(Shape, tag="refusal", tag_field="type"):
    refusal: str


class SummaryText(Shape, tag="summary_text", tag_field="type"):
    text: str


class Message(Shape, tag="message", tag_field="type"):
    id: str
    status: Status
    role: Literal["assistant"]
    content: list[OutputText | Refusal]


class Reasoning(Shape, tag="reasoning", tag_field="type"):
    id: str
    status: Status
    summary: list[SummaryText]


class FunctionCall(Shape, tag="function_call", tag_field="type"):
    id: str
    status: Status
    call_id: str
    name: str
    arguments: str


class FunctionCallOutput(Shape, tag="function_call_output", tag_field="type"):
    id: str
    status: Status
    call_id: str
    output: str


Item = Message | Reasoning | FunctionCall | FunctionCallOutput


class Error(Shape):
    """`type` and `param` are OpenAI's own; the log has none of them."""

    code: str
    message: str
    type: Literal["server_error"] | msgspec.UnsetType = msgspec.UNSET
    param: msgspec.UnsetType | None = msgspec.UNSET


class IncompleteDetails(Shape):
    reason: str


class Cached(Shape):
    cached_tokens: int


class Thought(Shape):
    reasoning_tokens: int


class Usage(Shape):
    input_tokens: int
    input_tokens_details: Cached
    output_tokens: int
    output_tokens_details: Thought
    total_tokens: int


class Function(Shape, tag="function", tag_field="type"):
    name: str
    description: str | None
    parameters: dict[str, Any] | None
    strict: bool | None


class Effort(Shape):
    effort: str | None
    summary: str | None


class Format(Shape):
    type: Literal["text"]


class TextField(Shape):
    format: Format


class Conversation(Shape):
    id: str


class Response(Shape):
    """The 31 keys that are always there, and `conversation`, which may be."""

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
    output: list[Item]
    error: Error | None
    incomplete_details: IncompleteDetails | None
    usage: Usage | None
    tools: list[Function]
    tool_choice: str | dict[str, Any]
    parallel_tool_calls: bool
    truncation: Literal["disabled", "auto"]
    text: TextField
    reasoning: Effort | None
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
    conversation: Conversation | msgspec.UnsetType = msgspec.UNSET


class Event(msgspec.Struct, forbid_unknown_fields=True):
    """What all events have."""

    type: str
    sequence_number: int


class Lifecycle(Event):
    response: Response


class ItemEvent(Event):
    output_index: int
    item: Item


class InItem(Event):
    item_id: str
    output_index: int


class InContent(InItem):
    content_index: int


class InSummary(InItem):
    summary_index: int


class ContentPart(InContent):
    part: OutputText | Refusal


class SummaryPart(InSummary):
    part: SummaryText


class TextDelta(InContent):
    delta: str
    logprobs: list[None]


class TextDone(InContent):
    text: str
    logprobs: list[None]


class RefusalDelta(InContent):
    delta: str


class RefusalDone(InContent):
    refusal: str


class SummaryDelta(InSummary):
    delta: str


class SummaryDone(InSummary):
    text: str


class ArgumentsDelta(InItem):
    delta: str


class ArgumentsDone(InItem):
    arguments: str
    name: str


class Annotated(InContent):
    annotation_index: int
    annotation: Url


EVENTS: dict[str, type[Event]] = {
    "response.created": Lifecycle,
    "response.queued": Lifecycle,
    "response.in_progress": Lifecycle,
    "response.completed": Lifecycle,
    "response.incomplete": Lifecycle,
    "response.failed": Lifecycle,
    "response.output_item.added": ItemEvent,
    "response.output_item.done": ItemEvent,
    "response.content_part.added": ContentPart,
    "response.content_part.done": ContentPart,
    "response.reasoning_summary_part.added": SummaryPart,
    "response.reasoning_summary_part.done": SummaryPart,
    "response.output_text.delta": TextDelta,
    "response.output_text.done": TextDone,
    "response.output_text.annotation.added": Annotated,
    "response.refusal.delta": RefusalDelta,
    "response.refusal.done": RefusalDone,
    "response.reasoning_summary_text.delta": SummaryDelta,
    "response.reasoning_summary_text.done": SummaryDone,
    "response.function_call_arguments.delta": ArgumentsDelta,
    "response.function_call_arguments.done": ArgumentsDone,
}


def parse(event: bytes) -> Any:
    """Return an event as its type; raises `msgspec.ValidationError` if it has not its shape."""
    name = msgspec.json.decode(event)["type"]
    return msgspec.json.decode(event, type=EVENTS[name], strict=True)
