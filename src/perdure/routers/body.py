"""JSON bodies, whatever their content type says.

A plain `fetch(url, {method: "POST", body: JSON.stringify(…)})` sends `text/plain`, and that must
work. It is safe because the guard refuses calls from pages of other sites.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from perdure.errors import Invalid

DEPTH_MAX = 64
"""How deep JSON may nest: deeper than any call needs, far from where parsers give up."""
BRACKETS_MAX = 200_000
"""How many objects and lists one body may hold."""
PIECES = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
"""A text (also one that does not end, lest each quote in it be tried anew) or a bracket."""


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
            if request.headers.get("content-length") != "0":
                refuse_deep(await request.body())
            return await handle(request)

        return relabelled


def refuse_deep(body: bytes) -> None:
    """Raise `Invalid` (`json_too_deep`) for JSON that nests deeper, or holds more, than is allowed.

    Most bodies have so few brackets that they need not be looked at more closely.
    """
    brackets = body.count(b"[") + body.count(b"{")
    if brackets > BRACKETS_MAX or (brackets > DEPTH_MAX and _deeper(body)):
        detail = f"JSON may nest {DEPTH_MAX} levels and hold {BRACKETS_MAX} lists and objects."
        raise Invalid(detail, code="json_too_deep")


def _deeper(body: bytes) -> bool:
    depth = 0
    for piece in PIECES.finditer(body):
        first = piece[0][:1]
        depth += (first in b"[{") - (first in b"]}")
        if depth > DEPTH_MAX:
            return True
    return False
