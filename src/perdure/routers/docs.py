"""`/docs`: the OpenAPI document as one page to read, without scripts and without a network."""

from __future__ import annotations

import html
import json
from collections import defaultdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from perdure.model import JSON
from perdure.routers.pages import page, prose
from perdure.routers.public import public

router = APIRouter()

OPTIONAL = "<small>optional</small>"


@router.get("/docs", include_in_schema=False)
@public
async def docs(request: Request) -> HTMLResponse:
    """Show the API."""
    document: JSON = request.app.openapi()
    info = document["info"]
    head = f"<h1>{html.escape(info['title'])} {html.escape(info['version'])}</h1>"
    links = '<nav><a href="openapi.json">openapi.json</a></nav>'
    body = head + prose(info.get("description", "")) + links + _operations(document)
    return page(f"{info['title']}: API", body + _schemas(document))


def _operations(document: JSON) -> str:
    groups: dict[str, list[str]] = defaultdict(list)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups[tag].append(_operation(method, path, operation))
    return "".join(
        f"<h2>{html.escape(tag.capitalize())}</h2>{''.join(found)}" for tag, found in groups.items()
    )


def _operation(method: str, path: str, operation: JSON) -> str:
    identity = html.escape(operation.get("operationId", ""))
    parts = [prose(operation.get("description", "")), _parameters(operation)]
    content = operation.get("requestBody", {}).get("content", {})
    parts += [f"<h3>Body</h3><p>{_type(one.get('schema', {}))}</p>" for one in content.values()]
    parts.append(_answers(operation["responses"]))
    head = f"<b>{method.upper()}</b><code>{html.escape(path)}</code>"
    summary = f"{head} <small>{html.escape(operation.get('summary', ''))}</small>"
    return f'<details id="{identity}"><summary>{summary}</summary>{"".join(parts)}</details>'


def _parameters(operation: JSON) -> str:
    rows = "".join(
        f"<tr><td><code>{html.escape(one['name'])}</code></td><td>{one['in']}</td>"
        f"<td>{_type(one.get('schema', {}))}</td><td>{prose(one.get('description', ''))}</td></tr>"
        for one in operation.get("parameters", ())
    )
    return f"<h3>Parameters</h3><table>{rows}</table>" if rows else ""


def _answers(responses: JSON) -> str:
    rows = []
    for status, response in sorted(responses.items()):
        kinds = [
            f"<code>{html.escape(kind)}</code> {_type(one.get('schema', {'type': 'frames'}))}"
            for kind, one in response.get("content", {}).items()
        ]
        about = prose(response.get("description", ""))
        rows.append(f"<tr><td>{status}</td><td>{about}</td><td>{'<br>'.join(kinds)}</td></tr>")
    return f"<h3>Answers</h3><table>{''.join(rows)}</table>"


def _schemas(document: JSON) -> str:
    schemas = document.get("components", {}).get("schemas", {})
    return "<h2>Schemas</h2>" + "".join(_schema(name, one) for name, one in schemas.items())


def _schema(name: str, schema: JSON) -> str:
    needed = schema.get("required", ())
    rows = "".join(
        f"<tr><td><code>{html.escape(field)}</code> {'' if field in needed else OPTIONAL}</td>"
        f"<td>{_type(one)}</td><td>{prose(one.get('description', ''))}</td></tr>"
        for field, one in schema.get("properties", {}).items()
    )
    examples = "".join(
        f"<pre>{html.escape(json.dumps(one, indent=2, ensure_ascii=False))}</pre>"
        for one in schema.get("examples", ())
    )
    about = prose(schema.get("description", "")) + f"<table>{rows}</table>{examples}"
    head = f"<summary><code>{html.escape(name)}</code></summary>"
    return f'<details id="{html.escape(name)}">{head}{about}</details>'


def _type(schema: Any) -> str:
    """Return a schema in a few words, with links to the named ones."""
    if "$ref" in schema:
        name = html.escape(schema["$ref"].rsplit("/", 1)[1])
        return f'<a href="#{name}">{name}</a>'
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(_type(one) for one in schema[several])
    if "enum" in schema:
        return " or ".join(f"<code>{html.escape(json.dumps(one))}</code>" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return html.escape(str(schema.get("format") or schema.get("type") or "any"))
