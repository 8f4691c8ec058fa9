"""What a serving endpoint is: which dialect it speaks, and on whose behalf it wants to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from perdure.model import JSON

Kind = Literal["chat", "chat_agent", "responses"]

KINDS: Mapping[str, Kind] = {
    "llm/v1/chat": "chat",
    "agent/v1/chat": "chat",
    "agent/v2/chat": "chat_agent",
    "agent/v1/responses": "responses",
    "agent/v2/responses": "responses",
}
"""The dialect of each `task`; MLflow's ChatModel (`agent/v1/chat`) answers as a model does."""

WANTS_CHAT = (
    "Missing required Chat parameter: 'messages'",
    "Model is missing inputs ['messages']",
    "extra inputs: ['input']",
)
WANTS_INPUT = ("Invalid parameters for ResponsesAgent",)
"""What an endpoint says that was asked in the other form."""

REQUEST_BYTES_MAX = 4 * 1024 * 1024
"""The largest request for an agent, a foundation model or an external one.

Source: Databricks, Model Serving limits and regions.
"""
REQUEST_S_MAX = 297.0
"""The longest request of Model Serving; nobody can raise it. Source: as above."""


class Endpoint(msgspec.Struct, frozen=True):
    """What is known of an endpoint.

    `told`: it said so itself; else `kind` is a guess. `needs_user`: it acts with the rights of the
    person who asks, and wants that person's token.
    """

    kind: Kind = "responses"
    told: bool = False
    needs_user: bool = False


def read(description: Any) -> Endpoint:
    """Return what `GET /api/2.0/serving-endpoints/{name}` tells; an unknown task is a guess."""
    if not isinstance(description, dict):
        return Endpoint()
    kind = KINDS.get(description.get("task") or "")
    scopes = _at(description, "auth_policy", "user_auth_policy", "api_scopes")
    supervisor = _at(description, "tile_endpoint_metadata", "problem_type")
    return Endpoint(
        kind=kind or "responses",
        told=kind is not None,
        needs_user=bool(scopes) or supervisor == "MULTI_AGENT_SUPERVISOR",
    )


def other_form(kind: Kind, said: str) -> Kind | None:
    """Return the dialect that a refusal asks for instead of `kind`, if it does."""
    if kind == "responses" and any(sign in said for sign in WANTS_CHAT):
        return "chat"  # without a ChatAgent's context, which a model would refuse
    if kind != "responses" and any(sign in said for sign in WANTS_INPUT):
        return "responses"
    return None


def _at(value: JSON, *path: str) -> Any:
    found: Any = value
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found
