"""`requests`, `agents` and `cancel`: one call each, shown as a table or as JSON."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from rich.markup import escape

from perdure.cli.exits import ExitCode
from perdure.cli.remote import Remote
from perdure.model import JSON
from perdure.steering import harmless

COLOURS = {
    "queued": "yellow",
    "streaming": "cyan",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
}

GAP = 2
LAST_MIN = 12
"""Columns of a terminal that the last cell of a row keeps."""


def requests(url: str, query: Mapping[str, str | None], *, as_json: bool) -> int:
    """Show requests, newest first."""
    given = urlencode({key: value for key, value in query.items() if value is not None})
    page = _get(url, f"/api/requests?{given}")
    found: list[JSON] = page["requests"]
    if as_json:
        print(json.dumps(page, ensure_ascii=False))
    elif not found:
        print("No requests. Ask something: perdure ask 'What happens when I close the tab?'")
    else:
        rows = [[r["id"], _state(r), r["agent_id"], _age(r), _line(r)] for r in found]
        _table(["request", "status", "agent", "age", "question"], rows)
    return ExitCode.OK


def agents(url: str, *, as_json: bool) -> int:
    """Show the agents that can be asked."""
    page = _get(url, "/api/agents")
    found: list[JSON] = page["agents"]
    if as_json:
        print(json.dumps(page, ensure_ascii=False))
    else:
        first = page.get("default_agent_id")
        rows = [[a["id"], _name(a, first), escape(a["description"])] for a in found]
        _table(["agent", "name", "description"], rows)
    return ExitCode.OK


def webhooks(url: str, *, dead: bool, as_json: bool) -> int:
    """Show webhooks, newest first; `dead`: only those that were given up."""
    page = _get(url, f"/api/webhooks?{urlencode({'dead': str(dead).lower()})}")
    found: list[JSON] = page["webhooks"]
    if as_json:
        print(json.dumps(page, ensure_ascii=False))
    else:
        keys = ("id", "type", "request_id", "state", "attempts", "error")
        _table(list(keys), [[escape(str(w[key] or "")) for key in keys] for w in found])
    return ExitCode.OK


def redeliver(url: str, webhook_id: str) -> int:
    """Have a webhook delivered again, whatever became of it."""
    asyncio.run(_redeliver(url, webhook_id))
    print(f"{webhook_id} is due now.")
    return ExitCode.OK


async def _redeliver(url: str, webhook_id: str) -> None:
    async with Remote(url) as server:
        await server.call("POST", f"/api/webhooks/{webhook_id}/redeliver")


def cancel(url: str, request_id: str, *, as_json: bool) -> int:
    """Stop an answer and say which state won; 0 when it is cancelled, 1 when it ended before."""
    state = asyncio.run(_cancel(url, request_id))
    if as_json:
        print(json.dumps(state, ensure_ascii=False))
    elif state["status"] == "cancelled":
        print(f"{request_id} is cancelled; the text so far is kept.")
    else:
        print(f"{request_id} had ended before: {state['status']}.")
    return ExitCode.OK if state["status"] == "cancelled" else ExitCode.FAILED


async def _cancel(url: str, request_id: str) -> JSON:
    async with Remote(url) as remote:
        return await remote.cancel(request_id)


def _get(url: str, path: str) -> Any:
    async def call() -> Any:
        async with Remote(url) as remote:
            return await remote.call("GET", path)

    return asyncio.run(call())


def _name(agent: JSON, first: object) -> str:
    return escape(agent["name"]) + (" (default)" if agent["id"] == first else "")


def _state(request: JSON) -> str:
    status, position = str(request["status"]), request.get("queue_position")
    shown = f"{status} ({position})" if status == "queued" and position else status
    return f"[{COLOURS.get(status, 'default')}]{shown}[/]"


def _line(request: JSON) -> str:
    """Return the first line of the question, without markup."""
    question = str(request.get("user_message") or "").strip()
    return escape((question.splitlines() or [""])[0])


def _age(request: JSON) -> str:
    seconds = time.time() - datetime.fromisoformat(request["created_at"]).timestamp()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415  # only tables pay for rich
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console()
    if not console.is_terminal:
        console.width = 200  # a pipe has no edge
    shown = [[harmless(cell) for cell in row] for row in rows]
    # Ids and states must stay whole: only the last column gives way, and then the terminal's edge.
    taken = sum(
        GAP + max(Text.from_markup(row[at]).cell_len for row in [columns, *shown])
        for at in range(len(columns) - 1)
    )
    left = max(LAST_MIN, console.width - taken)
    table = Table(*columns[:-1], box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    table.add_column(columns[-1], overflow="ellipsis", no_wrap=True, max_width=left)
    for row in shown:
        table.add_row(*row)
    console.width = taken + left
    console.print(table)
