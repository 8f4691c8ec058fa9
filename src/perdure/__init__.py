"""Perdure: a chat server for LLM agents whose answers outlast the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.deltas import (
    Annotation,
    Finish,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Trace,
    Usage,
)
from perdure.ports import Agent, Call

if TYPE_CHECKING:
    from perdure.app import create_app
    from perdure.handlers.python import agent

__all__ = [
    "Agent",
    "Annotation",
    "Call",
    "Finish",
    "Reasoning",
    "Refusal",
    "Text",
    "ToolCall",
    "ToolResult",
    "Trace",
    "Usage",
    "agent",
    "create_app",
]


def __getattr__(name: str) -> Any:
    """Import the server only when somebody asks for it: the command line starts fast."""
    if name == "create_app":
        from perdure.app import create_app

        return create_app
    if name == "agent":
        from perdure.handlers.python import agent

        return agent
    raise AttributeError(name)
