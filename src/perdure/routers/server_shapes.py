"""What goes out about the server itself: its agents, its limits, its look, and who is asking."""

from __future__ import annotations

from pydantic import BaseModel, Field

from perdure.routers.shapes import example


class Agent(BaseModel):
    """An agent that can be asked."""

    model_config = example(
        id="guide", name="Guide", description="Explains Perdure.", examples=["What is a lease?"]
    )

    id: str
    name: str
    description: str
    examples: list[str]


class Agents(BaseModel):
    """The agents, and the one that answers when none is named."""

    agents: list[Agent]
    default_agent_id: str


class Me(BaseModel):
    """Who the server takes the caller for."""

    model_config = example(user_id="local", display="You", auth_mode="none", admin=True)

    user_id: str
    display: str
    auth_mode: str
    admin: bool = Field(description="Whether one may use `/api/admin`.")


class Limits(BaseModel):
    """Limits that a client should know before it sends."""

    message_bytes_max: int
    body_bytes_max: int
    running_per_user_max: int
    queued_per_user_max: int


class Branding(BaseModel):
    """How the chat page looks."""

    model_config = example(name="Perdure", logo_url="", accent="#2f6b5e")

    name: str
    logo_url: str = Field(description="Empty = the built-in one.")
    accent: str = Field(description="`#rrggbb`; empty = the built-in one.")


class Config(BaseModel):
    """What a client needs to know of this server."""

    version: str
    auth_mode: str
    default_agent_id: str
    keepalive_s: float = Field(description="Silence after which a stream sends a comment or ping.")
    stream_max_s: float = Field(description="Age at which a stream ends early; 0 = never.")
    attachments_max: int = Field(description="Requests followed at once over one live connection.")
    limits: Limits
    ui: Branding
    trace_url: str = Field(description="Of a trace's page, with `{trace_id}` in it; empty = none.")
