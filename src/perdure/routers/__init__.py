"""The routers: HTTP and WebSocket in front of the core. They know no database and no adapter."""

from __future__ import annotations

from functools import partial

from fastapi import FastAPI

from perdure.routers import (
    agents,
    ai_sdk,
    chats,
    docs,
    feedback,
    health,
    home,
    live,
    live_sse,
    messages,
    openapi,
    problems,
    requests,
    sockets,
    streams,
    v1,
    webhooks,
)
from perdure.routers.guard import Guard

__all__ = ["include"]


def include(app: FastAPI, *, with_home: bool = True) -> None:
    """Register the guard, the problems and all routes on an app.

    Args:
        app: made with `docs_url=None, redoc_url=None`; its `state.core` is set before it serves.
        with_home: whether `/` is the small page of `home`; not where a user interface is mounted.

    """
    app.description = openapi.DESCRIPTION
    app.add_middleware(Guard)
    problems.install(app)
    app.router.redirect_slashes = False
    for module in (requests, streams, sockets, live, live_sse, chats, messages, feedback, webhooks):
        app.include_router(module.router)
    app.include_router(ai_sdk.router)
    app.include_router(v1.router)
    for module in (agents, health, docs, *([home] if with_home else [])):
        app.include_router(module.router)
    app.openapi = partial(openapi.document, app)  # type: ignore[method-assign]
