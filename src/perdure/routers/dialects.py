"""Errors in the words of other people's clients: OpenAI's envelope, and the AI SDK's sentences."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response

CONFLICT, TOO_MANY, SERVER_ERRORS = 409, 429, 500
ORIGIN = "?dialect=agent-events"
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def is_openai(path: str) -> bool:
    """Tell whether a path belongs to the OpenAI-compatible API."""
    return path == "/v1" or path.startswith("/v1/")


def is_ai_sdk(path: str) -> bool:
    """Tell whether a path belongs to the AI SDK's endpoint."""
    return path == "/api/chat" or path.startswith("/api/chat/")


def place_of(connection: HTTPConnection) -> str:
    """Return a call's path, with the dialect that it asks for."""
    dialect = connection.query_params.get("dialect")
    return connection.url.path + (ORIGIN if dialect == "agent-events" else "")


def is_origin(place: str) -> bool:
    """Tell whether a call asks for the dialect of the app in which this began."""
    return place.endswith(ORIGIN)


def openai(problem: dict[str, Any], headers: dict[str, str]) -> Response:
    """Return a problem as OpenAI's clients read errors: all four keys, whatever the status.

    A conflict does not pass by itself, so the clients are told not to try again.
    """
    status = problem["status"]
    kind = TYPES.get(status)
    if kind is None:
        kind = "server_error" if status >= SERVER_ERRORS else "invalid_request_error"
    error = {
        "message": problem["detail"],
        "type": kind,
        "param": problem.get("param"),
        "code": problem["code"],
    }
    if status == CONFLICT:
        headers["x-should-retry"] = "false"
    body = msgspec.json.encode({"error": error})
    return Response(body, status, headers, media_type="application/json")


def sentence(problem: dict[str, Any], headers: dict[str, str]) -> Response:
    """Return a problem as a plain sentence: the AI SDK shows the body's text as it is."""
    return PlainTextResponse(problem["detail"], problem["status"], headers)
