"""The OpenAPI document: FastAPI's, with every error under the media type it is sent with."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI

from perdure.model import JSON
from perdure.routers import problems

DESCRIPTION = """
A chat server for LLM agents whose answers outlast the connection.

Ask with `POST /api/invoke_endpoint`; follow the answer by polling, server-sent events or WebSocket;
leave and come back whenever you like. Errors are `application/problem+json` with a stable `code`.
Unknown ids and those of other people answer alike: 404.
""".strip()
EVERYWHERE = (400, 401, 403, 408, 413, 421, 429, 500)
"""What the guard, the sign-in and accidents can answer to any call."""
FRAME = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "id": {"type": "string", "description": "The cursor: send it as `Last-Event-ID`."},
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
"""What a stream is a sequence of, in the words of OpenAPI 3.2."""

FASTAPI_ADDED = "Validation Error"
"""Marks the 422 that FastAPI puts on every route with parameters, also where none can occur."""


def document(app: FastAPI) -> JSON:
    """Return the app's OpenAPI document, made once."""
    if not app.openapi_schema:
        made = FastAPI.openapi(app)
        for methods in made["paths"].values():
            for operation in methods.values():
                operation["summary"] = _first_sentence(operation.get("description", ""))
                _complete(operation["responses"])
        schemas = made["components"]["schemas"]
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for schema in schemas.values():
            _restore_nulls(schema)
        app.openapi_schema = made
    return app.openapi_schema


def _first_sentence(description: str) -> str:
    """Return what a call does, as lists of calls show it; FastAPI would repeat the function."""
    sentence = " ".join(description.partition("\n\n")[0].split())
    return sentence.partition(". ")[0].partition("; ")[0].rstrip(".")


def _complete(responses: JSON) -> None:
    """Add the errors of every route, and name the media type of all of them."""
    if responses.get("422", {}).get("description") == FASTAPI_ADDED:
        del responses["422"]
    for status in EVERYWHERE:
        responses.setdefault(str(status), {"description": HTTPStatus(status).phrase})
    for code, response in responses.items():
        if code.isdecimal() and int(code) >= HTTPStatus.BAD_REQUEST:
            schema = {"$ref": "#/components/schemas/Problem"}
            response["content"] = {problems.MEDIA_TYPE: {"schema": schema}}
        stream = response.get("content", {}).get("text/event-stream")
        if stream is not None:
            stream.pop("schema", None)
            stream["itemSchema"] = FRAME


def _restore_nulls(schema: JSON) -> None:
    """Put back the nulls that FastAPI drops from examples: the keys are always there."""
    for example in schema.get("examples", ()):
        for name in schema.get("required", ()):
            example.setdefault(name, None)
