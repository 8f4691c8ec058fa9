"""JSON bodies, whatever their content type says.

A plain `fetch(url, {method: "POST", body: JSON.stringify(…)})` sends `text/plain`, and that must
work. It is safe because the guard refuses calls from pages of other sites.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response


class JsonRoute(APIRoute):
    """A route whose body is read as JSON, whatever its `Content-Type`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind a look at the header."""
        handle = super().get_route_handler()

        async def relabelled(request: Request) -> Response:
            kind = request.headers.get("content-type", "").split(";")[0].strip()
            if kind != "application/json" and not kind.endswith("+json"):
                others = [pair for pair in request.scope["headers"] if pair[0] != b"content-type"]
                request.scope["headers"] = [*others, (b"content-type", b"application/json")]
                request = Request(request.scope, request.receive)
            return await handle(request)

        return relabelled
