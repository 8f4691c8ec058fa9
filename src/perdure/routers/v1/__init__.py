"""The OpenAI-compatible API, `/v1`: a view of the log, which speaks this vocabulary already."""

from __future__ import annotations

from fastapi import APIRouter

from perdure.routers.v1 import conversations, models, responses, turns

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["openai"])
for part in (responses, turns, conversations, models):
    router.include_router(part.router)
