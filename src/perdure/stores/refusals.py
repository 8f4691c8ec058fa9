"""What stores say when they refuse: one sentence and one code for each reason, for all adapters."""

from __future__ import annotations

from perdure.errors import Conflict, Gone, NotFound, TooMany


def unknown(noun: str, object_id: str) -> NotFound:
    """Say that an id names nothing of the person's; foreign and unknown sound alike."""
    return NotFound(f"There is no {noun} {object_id}.", code=f"{noun}_not_found")


def unknown_message(message_id: str) -> NotFound:
    """Say that a chat has no such message."""
    detail = f"There is no message {message_id} in this chat."
    return NotFound(detail, code="message_not_found")


def key_of_another_body() -> Conflict:
    """Say that an idempotency key stands for another body."""
    detail = "This Idempotency-Key was used for another request; use a fresh one."
    return Conflict(detail, code="idempotency_key_reused")


def key_of_a_deleted_request() -> Conflict:
    """Say that what an idempotency key made is gone."""
    detail = "The request made with this Idempotency-Key was deleted; use a fresh one."
    return Conflict(detail, code="idempotency_key_reused")


def chat_busy() -> Conflict:
    """Say that a chat is answering, to a caller who wants no waiting."""
    detail = "This chat is still answering; wait, or send with if_busy = queue or interrupt."
    return Conflict(detail, code="chat_busy")


def chat_being_answered() -> Conflict:
    """Say that a chat cannot be edited while a request of it has not ended."""
    detail = "This chat is being answered; change it when that has ended."
    return Conflict(detail, code="chat_busy")


def other_agent(has: str, wanted: str) -> Conflict:
    """Say that a chat belongs to another agent."""
    detail = f"This chat belongs to the agent {has}; start a new one for {wanted}."
    return Conflict(detail, code="chat_has_other_agent")


def message_exists(message_id: str) -> Conflict:
    """Say that an id of a new message is taken."""
    return Conflict(f"There is a message {message_id} already.", code="message_exists")


def events_pruned() -> Gone:
    """Say that what follows a cursor is gone."""
    detail = "These events were removed; read the request itself for the final answer."
    return Gone(detail, code="events_pruned")


def chat_full(count: int, messages_max: int) -> Conflict:
    """Say that a chat has no room for what is to be added."""
    most = f"limits.messages_max = {messages_max}"
    detail = f"This chat holds {count} messages, and no more fit ({most}); start a new one."
    return Conflict(detail, code="chat_full")


def message_sent() -> Conflict:
    """Say that a question can no longer be changed."""
    detail = "This message is being answered or was answered; send an edited copy instead."
    return Conflict(detail, code="message_sent")


def queue_full(total: int) -> TooMany:
    """Say that too many wait."""
    detail = f"{total} requests are waiting already; try again in a moment."
    return TooMany(detail, code="queue_full")


def user_queue_full(mine: int) -> TooMany:
    """Say that too many of the person's wait."""
    detail = f"You have {mine} requests waiting already; try again when one has ended."
    return TooMany(detail, code="user_queue_full")
