"""`requests`, `agents` and `cancel`: one call each, shown as a table or as JSON."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from perdure.cli.exits import ExitCode
from perdure.cli.remote import Remote
from perdure.model import JSON

COLOURS = {
    "queued": "yellow",
    "streaming": "cyan",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
}


def requests(url: str, query: Mapping[str, str | None], *, as_json: bool) -> int:
    """Show requests, newest first."""
    given = urlencode({key: value for key, value in query.items() if value is not None})
    page = _get(url, f"/api/requests?{given}")
    found = _items(page, "requests")
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
    found = _items(page, "agents")
    if as_json:
        print(json.dumps(page, ensure_ascii=False))
    else:
        rows = [[a["id"], a.get("name") or "", a.get("description") or ""] for a in found]
        _table(["agent", "name", "description"], rows)
    return ExitCode.OK


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


def _items(page: Any, noun: str) -> list[JSON]:
    """Return the list inside a page, whether it is bare or below `noun`, `items` or `data`."""
    if isinstance(page, list):
        return page
    return next((page[key] for key in (noun, "items", "data") if key in page), [])


def _state(request: JSON) -> str:
    status, position = str(request["status"]), request.get("queue_position")
    shown = f"{status} ({position})" if status == "queued" and position else status
    return f"[{COLOURS.get(status, 'default')}]{shown}[/]"


def _line(request: JSON) -> str:
    """Return the first line of the question, without markup."""
    question = str(request.get("user_message") or "").strip()
    return (question.splitlines() or [""])[0].replace("[", r"\[")


def _age(request: JSON) -> str:
    seconds = time.time() - _unix(request["created_at"])
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _unix(moment: float | str) -> float:
    """Return unix seconds of a time that may come as ISO 8601."""
    if isinstance(moment, str):
        from datetime import datetime  # noqa: PLC0415

        return datetime.fromisoformat(moment).timestamp()
    return float(moment)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415  # only tables pay for rich
    from rich.table import Table  # noqa: PLC0415

    table = Table(*columns[:-1], box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    table.add_column(columns[-1], overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console.width = 200  # a pipe has no edge; ids must stay whole
    console.print(table)
