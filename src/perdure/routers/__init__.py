"""The routers: HTTP and WebSocket in front of the core. They know no database and no adapter."""

from __future__ import annotations

from collections import Counter
from functools import partial

from fastapi import FastAPI

from perdure.routers import (
    admin,
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
    session,
    sockets,
    streams,
    tokens,
    traces,
    ui,
    v1,
    webhooks,
)
from perdure.routers.guard import Guard

__all__ = ["include"]

_PARTS = (
    *(requests, streams, sockets, live, live_sse, chats, messages, feedback, webhooks, traces),
    *(ai_sdk, *v1.PARTS, agents, admin, session, tokens, health, docs),
)
"""A call is compared with one route after the other: those that are asked most come first."""


def include(app: FastAPI, *, with_ui: bool = True) -> None:
    """Register the guard, the problems and all routes on an app.

    Args:
        app: made with `docs_url=None, redoc_url=None`; its `state.core` is set before it serves.
        with_ui: whether `/` is the chat page, where it is built in; else the small page of `home`.

    """
    app.description = openapi.DESCRIPTION
    app.state.open = Counter()
    app.add_middleware(Guard)
    problems.install(app)
    app.router.redirect_slashes = False
    page = ui.router() if with_ui and ui.is_built() else home.router
    for router in (*(part.router for part in _PARTS), page):
        # Not `include_router`: it looks for a route twice, in a copy that has no other use here.
        app.router.routes.extend(router.routes)
    app.openapi = partial(openapi.document, app)  # type: ignore[method-assign]
