"""The only place where errors become answers: `application/problem+json` (RFC 9457).

Routes raise; nobody else writes an error body. A 500 never tells more than that it happened.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from perdure.errors import Gone, PerdureError, Refused, TooMany, Unavailable
from perdure.routers import dialects

log = logging.getLogger("perdure.http")

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
"""What an unavailable server asks its callers to wait."""

INTERNAL = "The server failed on this call. Its log knows more under the call's x-request-id."
CODES = {
    400: "invalid_request",
    404: "no_such_route",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
}
DETAILS = {
    400: "The body cannot be read as JSON.",
    404: "There is no such address.",
    405: "This address does not answer that method.",
}


class Problem(BaseModel):
    """Why a call was not carried out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:perdure:problem:queue_full",
                    "title": "Queue full",
                    "status": 429,
                    "detail": "5000 requests are waiting, which is the limit. Try again later.",
                    "code": "queue_full",
                }
            ]
        }
    )

    type: str = Field(description="A URN made of the code.")
    title: str = Field(description="The code in plain words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What failed, and what to do; for a person.")
    code: str = Field(description="Stable name, for programs.")
    request_id: str | None = Field(default=None, description="The request it is about, if any.")
    request: str | None = Field(
        default=None, description="`events_pruned`: where the final answer stands."
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return a route's documented problems, for FastAPI's `responses`."""
    return {
        status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses
    }


def install(app: FastAPI) -> None:
    """Register the translation of every kind of error."""

    async def perdure(request: Request, error: Exception) -> Response:
        assert isinstance(error, PerdureError)  # noqa: S101 registered for nothing else
        return response(error, request_id_of(request), dialects.place_of(request))

    async def unreadable(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 registered for nothing else
        return _of_validation(error, request)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 registered for nothing else
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers |= _allow(request)
        return _of_http(error, request, headers)

    app.add_exception_handler(PerdureError, perdure)
    app.add_exception_handler(RequestValidationError, unreadable)
    app.add_exception_handler(HTTPException, http)


def problem(error: PerdureError, request_id: str | None = None) -> dict[str, Any]:
    """Return the problem that an error is for the outside, as JSON; `status` is in it."""
    if isinstance(error, Refused):
        found = _fields(error.status, error.code, error.detail, request_id)
    elif isinstance(error, Unavailable):
        found = _fields(503, error.code, error.detail, request_id)
    else:
        log.error("unexpected %s in a route", error.code, exc_info=error)
        found = _fields(500, "internal_error", INTERNAL, request_id)
    param = getattr(error, "param", None)
    if param:
        found["param"] = param
    if isinstance(error, Gone) and request_id:
        found["request"] = f"/api/requests/{request_id}"
    return found


def response(error: PerdureError, request_id: str | None = None, path: str = "") -> Response:
    """Return the answer to a call of `path` that raised `error`."""
    headers = {}
    if isinstance(error, TooMany):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if isinstance(error, Gone) and request_id:
        headers["Link"] = f'</api/requests/{request_id}>; rel="alternate"'
    return _response(problem(error, request_id), headers, path)


def internal(path: str) -> Response:
    """Return the answer to a call that broke; the caller has logged why."""
    return _response(_fields(500, "internal_error", INTERNAL, None), path=path)


def request_id_of(connection: HTTPConnection) -> str | None:
    """Return the id of the request that a call's path names, if it looks like one."""
    given = connection.scope.get("path_params", {}).get("request_id", "")
    return given if re.fullmatch(r"resp_[A-Za-z0-9]{1,64}", str(given)) else None


def _response(
    fields: dict[str, Any], headers: Mapping[str, str] | None = None, path: str = ""
) -> Response:
    """Say it in the dialect of the path: OpenAI's envelope, a plain sentence, or a problem."""
    if dialects.is_openai(path):
        return dialects.openai(fields, dict(headers or {}))
    if dialects.is_ai_sdk(path):
        return dialects.sentence(fields, dict(headers or {}))
    if dialects.is_origin(path):
        fields |= {"type": "error", "error": fields["code"], "message": fields["detail"]}
    return Response(
        msgspec.json.encode(fields), fields["status"], dict(headers or {}), media_type=MEDIA_TYPE
    )


def _fields(status: int, code: str, detail: str, request_id: str | None) -> dict[str, Any]:
    fields = {
        "type": f"urn:perdure:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        # Input may be quoted in a detail; a lone surrogate in it cannot be encoded.
        "detail": detail.encode("utf-8", "replace").decode(),
        "code": code,
    }
    return fields | ({"request_id": request_id} if request_id else {})


def _of_validation(error: RequestValidationError, request: Request) -> Response:
    """Say which fields are wrong and how; never echo what was sent."""
    errors, request_id, path = error.errors(), request_id_of(request), dialects.place_of(request)
    if any(one["type"] == "json_invalid" for one in errors):
        return _response(_fields(400, "invalid_json", DETAILS[400], request_id), path=path)
    told = [
        f"{_place(one['loc'])}: {one['msg'].removeprefix('Value error, ')[:200]}"
        for one in errors[:5]
    ]
    detail = "; ".join(told) + (f"; and {len(errors) - 5} more" if len(errors) > len(told) else "")
    fields = _fields(422, "invalid_request", detail + ".", request_id)
    if dialects.is_openai(path):
        fields |= dialects.openai_parameter(errors[0])
    return _response(fields, path=path)


def _place(parts: tuple[str | int, ...]) -> str:
    """Return where in the call an error is: `body.messages[0].role`."""
    named = [part for part in parts if isinstance(part, int) or not part.startswith("function-")]
    shown = [f"[{part}]" if isinstance(part, int) else f".{part[:40]}" for part in named]
    return "".join(shown).removeprefix(".")


def _allow(request: Request) -> dict[str, str]:
    """Return the header that names every method of an address; the router knows one route's."""
    paths: dict[str, dict[str, object]] = request.app.openapi()["paths"]
    here = dialects.path_of(request.scope)
    # An address that is written out stands before one with a parameter in its place.
    found = (
        [paths[here]]
        if here in paths
        else [
            operations
            for path, operations in paths.items()
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), here)
        ]
    )
    methods = {method.upper() for operations in found for method in operations}
    return {"allow": ", ".join(sorted(methods))} if methods else {}


def _of_http(error: HTTPException, request: Request, headers: Mapping[str, str]) -> Response:
    """Translate what the framework raises by itself."""
    request_id, path = request_id_of(request), dialects.place_of(request)
    status = error.status_code
    code = CODES.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "_")
    detail = DETAILS.get(status) or str(error.detail)
    if status == HTTPStatus.BAD_REQUEST:
        code = "invalid_json"
    return _response(_fields(status, code, detail, request_id), headers, path)
