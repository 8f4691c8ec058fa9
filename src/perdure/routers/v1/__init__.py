"""The OpenAI-compatible API, `/v1`: a view of the log, which speaks this vocabulary already."""

from __future__ import annotations

from fastapi import APIRouter

from perdure.routers.v1 import conversations, models, responses

__all__ = ["router"]

router = APIRouter(prefix="/v1", include_in_schema=False)
for part in (responses, conversations, models):
    router.include_router(part.router)
