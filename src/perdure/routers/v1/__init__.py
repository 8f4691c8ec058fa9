"""The OpenAI-compatible API, `/v1`: a view of the log, which speaks this vocabulary already."""

from __future__ import annotations

from perdure.routers.v1 import conversations, models, responses, turns

__all__ = ["PARTS"]

PARTS = (responses, turns, conversations, models)
