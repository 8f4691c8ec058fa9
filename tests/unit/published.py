"""The published schemas of Open Responses 2026-04-24, as the models that a library made of them.

`shapes` says what our logs hold and nothing else; this says that it is what the specification asks.
"""

from typing import Any

import openresponses_types as published
from pydantic import BaseModel

assert published.__spec_version__ == "2026-04-24"

_EVENTS: dict[str, type[BaseModel]] = {
    "response.created": published.ResponseCreatedStreamingEvent,
    "response.queued": published.ResponseQueuedStreamingEvent,
    "response.in_progress": published.ResponseInProgressStreamingEvent,
    "response.completed": published.ResponseCompletedStreamingEvent,
    "response.failed": published.ResponseFailedStreamingEvent,
    "response.incomplete": published.ResponseIncompleteStreamingEvent,
    "response.output_item.added": published.ResponseOutputItemAddedStreamingEvent,
    "response.output_item.done": published.ResponseOutputItemDoneStreamingEvent,
    "response.content_part.added": published.ResponseContentPartAddedStreamingEvent,
    "response.content_part.done": published.ResponseContentPartDoneStreamingEvent,
    "response.output_text.delta": published.ResponseOutputTextDeltaStreamingEvent,
    "response.output_text.done": published.ResponseOutputTextDoneStreamingEvent,
    "response.output_text.annotation.added": (
        published.ResponseOutputTextAnnotationAddedStreamingEvent
    ),
    "response.refusal.delta": published.ResponseRefusalDeltaStreamingEvent,
    "response.refusal.done": published.ResponseRefusalDoneStreamingEvent,
    "response.reasoning_summary_part.added": (
        published.ResponseReasoningSummaryPartAddedStreamingEvent
    ),
    "response.reasoning_summary_part.done": (
        published.ResponseReasoningSummaryPartDoneStreamingEvent
    ),
    "response.reasoning_summary_text.delta": published.ResponseReasoningSummaryDeltaStreamingEvent,
    "response.reasoning_summary_text.done": published.ResponseReasoningSummaryDoneStreamingEvent,
    "response.function_call_arguments.delta": (
        published.ResponseFunctionCallArgumentsDeltaStreamingEvent
    ),
    "response.function_call_arguments.done": (
        published.ResponseFunctionCallArgumentsDoneStreamingEvent
    ),
    "error": published.WebSocketErrorEvent,
}


def check_event(event: dict[str, Any]) -> None:
    """Raise `pydantic.ValidationError` if an event is not as the specification has it."""
    _EVENTS[event["type"]].model_validate(event)


def check_response(response: dict[str, Any]) -> None:
    """Raise `pydantic.ValidationError` if a Response object is not as the specification has it."""
    published.ResponseResource.model_validate(response)


def check_turn(message: dict[str, Any]) -> None:
    """Raise `pydantic.ValidationError` if a client's WebSocket message is none."""
    published.WebSocketResponseCreateEvent.model_validate(message)
