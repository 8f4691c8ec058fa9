"""Errors in the words of other people's clients: OpenAI's envelope, and the AI SDK's sentences."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.types import Scope

CONFLICT, TOO_MANY, SERVER_ERRORS = 409, 429, 500
ORIGIN = "?dialect=agent-events"
PARAMETER_CODES = {
    "missing": "missing_required_parameter",
    "int_parsing": "invalid_type",
    "greater_than_equal": "integer_below_min_value",
    "less_than_equal": "integer_above_max_value",
}
"""OpenAI's codes for what the framework finds wrong."""
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def is_openai(path: str) -> bool:
    """Tell whether a path belongs to the OpenAI-compatible API."""
    return path == "/v1" or path.startswith("/v1/")


def is_ai_sdk(path: str) -> bool:
    """Tell whether a path belongs to the AI SDK's endpoint."""
    return path == "/api/chat" or path.startswith("/api/chat/")


def path_of(scope: Scope) -> str:
    """Return a call's path within this application, wherever it is mounted."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def place_of(connection: HTTPConnection) -> str:
    """Return a call's path within this application, with the dialect that it asks for."""
    dialect = connection.query_params.get("dialect")
    return path_of(connection.scope) + (ORIGIN if dialect == "agent-events" else "")


def is_origin(place: str) -> bool:
    """Tell whether a call asks for the dialect of the app in which this began."""
    return place.endswith(ORIGIN)


def openai(problem: dict[str, Any], headers: dict[str, str]) -> Response:
    """Return a problem as OpenAI's clients read errors: all four keys, whatever the status.

    A conflict does not pass by itself, so the clients are told not to try again.
    """
    status = problem["status"]
    if status == CONFLICT:
        headers["x-should-retry"] = "false"
    body = msgspec.json.encode({"error": openai_error(problem)})
    return Response(body, status, headers, media_type="application/json")


def openai_parameter(error: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a problem for a wrong parameter, as OpenAI refuses it: 400, by name."""
    name = ".".join(str(part) for part in error["loc"][1:])
    code = PARAMETER_CODES.get(error["type"], "invalid_value")
    detail = f"Invalid '{name}': {error['msg'][:200]}."
    return {"status": 400, "code": code, "param": name, "detail": detail}


def openai_error(problem: dict[str, Any]) -> dict[str, Any]:
    """Return a problem as the object that OpenAI's clients make an exception of."""
    status = problem["status"]
    other = "server_error" if status >= SERVER_ERRORS else "invalid_request_error"
    return {
        "message": problem["detail"],
        "type": TYPES.get(status, other),
        "param": problem.get("param"),
        "code": problem["code"],
    }


def sentence(problem: dict[str, Any], headers: dict[str, str]) -> Response:
    """Return a problem as a plain sentence: the AI SDK shows the body's text as it is."""
    return PlainTextResponse(problem["detail"], problem["status"], headers)
