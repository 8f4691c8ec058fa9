"""What goes in and out for chats and their messages, as OpenAPI shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, StrictBool, model_validator

from perdure import model
from perdure.model import Status
from perdure.routers.shapes import (
    AT,
    CHAT_ID,
    MESSAGE_ID,
    QUESTION_ID,
    REQUEST_ID,
    TRACE_ID,
    Name,
    Number,
    RequestError,
    Text,
    example,
    or_null,
    since,
)

Title = Annotated[Text, Field(min_length=1, max_length=200, pattern=r"\S")]


class Chat(BaseModel):
    """A conversation and its state as lists show it."""

    model_config = example(
        id=CHAT_ID,
        agent_id="guide",
        title="Explain quantum computing in detail",
        created_at=AT,
        updated_at=AT,
        revision=42,
        pinned=False,
        archived=False,
        deleted=False,
        current_message_id=MESSAGE_ID,
        running_request_id=None,
        queued=0,
        unread=True,
        last_status="completed",
    )

    id: str
    agent_id: str
    title: str
    created_at: datetime
    updated_at: datetime
    revision: int = Field(description="Grows with each change of any of the person's chats.")
    pinned: bool
    archived: bool
    deleted: bool = Field(description="True only in live messages: take it off the list.")
    current_message_id: str | None = Field(description="Last message of the active branch.")
    running_request_id: str | None
    queued: int = Field(description="Questions that wait.")
    unread: bool
    last_status: Status | None = Field(description="How the newest answer stands.")

    @classmethod
    def of(cls, chat: model.Chat) -> Self:
        """Show a chat."""
        return cls(
            id=chat.id,
            agent_id=chat.agent_id,
            title=chat.title,
            created_at=since(chat.created_at),
            updated_at=since(chat.updated_at),
            revision=chat.revision,
            pinned=chat.pinned,
            archived=chat.archived,
            deleted=chat.deleted,
            current_message_id=chat.current_message_id,
            running_request_id=chat.running_request_id,
            queued=chat.queued,
            unread=chat.unread,
            last_status=chat.last_status,
        )


class ChatPage(BaseModel):
    """Chats, pinned ones first, then newest activity."""

    chats: list[Chat]
    next_cursor: str | None
    revision: int = Field(description="Where to begin with live changes: `/api/live?since=`.")


class NewChat(BaseModel):
    """An empty chat to make; asking without a `chat_id` makes one as well."""

    model_config = example(agent_id="guide", title="Plans")

    agent_id: Name | None = None
    title: Annotated[Title, or_null(Title, "New chat")] = "New chat"


class ChatChanges(BaseModel):
    """What to change; absent = as it is."""

    model_config = example(title="Quantum computing", pinned=True)

    title: Title | None = None
    pinned: StrictBool | None = None
    archived: StrictBool | None = None
    current_message_id: Name | None = Field(default=None, description="Choose another branch.")

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_dump(exclude_none=True):
            message = "name something to change"
            raise ValueError(message)
        return self


class MessageText(BaseModel):
    """The new text of a question that still waits."""

    model_config = example(content="Explain quantum computing in one sentence")

    content: Annotated[Text, Field(min_length=1, pattern=r"\S")]


class Message(BaseModel):
    """A message of the tree.

    An answer in progress carries its content up to event `sequence_number`: paint it, then follow
    its stream after that number.
    """

    model_config = example(
        id=MESSAGE_ID,
        chat_id=CHAT_ID,
        parent_id=QUESTION_ID,
        role="assistant",
        content="Quantum computing is",
        created_at=AT,
        request_id=REQUEST_ID,
        output=[],
        status="streaming",
        sequence_number=17,
        queue_position=None,
        error=None,
        incomplete_reason=None,
        trace_id=TRACE_ID,
    )

    id: str
    chat_id: str
    parent_id: str | None
    role: str
    content: str
    created_at: datetime
    request_id: str | None = Field(description="The request whose question or answer this is.")
    output: list[dict[str, Any]] | None = Field(description="The answer's Open Responses items.")
    status: Status | None = Field(
        default=None, description="Of its request; null when there is none any more."
    )
    sequence_number: Number | None = Field(
        default=None, description="The event its content was taken at."
    )
    queue_position: int | None = None
    error: RequestError | None = None
    incomplete_reason: str | None = None
    trace_id: str | None = None


class MessageTree(BaseModel):
    """A chat's messages, parents before children, and which branch is active."""

    chat_id: str
    current_message_id: str | None
    branch: list[str] = Field(description="Ids of the active branch, first message first.")
    messages: list[Message]


class ChatExport(BaseModel):
    """Everything of a chat, for keeping elsewhere."""

    chat: Chat
    branch: list[str]
    messages: list[Message]
