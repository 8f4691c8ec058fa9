"""The page at `/` where no user interface is built in: what runs here, and where to read on."""

from __future__ import annotations

import html

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from perdure.routers.agents import VERSION
from perdure.routers.given import Running
from perdure.routers.pages import page
from perdure.routers.public import public

router = APIRouter()


@router.get("/", include_in_schema=False)
@public
async def home(core: Running) -> HTMLResponse:
    """Show what is running."""
    counts = await core.store.counts()
    agents = "".join(
        f"<tr><td><code>{html.escape(agent.id)}</code></td>"
        f"<td>{html.escape(agent.name or agent.id)}</td>"
        f'<td class="soft">{html.escape(agent.description)}</td></tr>'
        for agent in core.agents.values()
    )
    state = "restarting" if core.draining else "ready"
    return page(
        "Perdure",
        f"<h1>Perdure</h1><p class=soft>Version {html.escape(VERSION)}, {state}. "
        f"{counts.get('streaming', 0)} answering, {counts.get('queued', 0)} waiting.</p>"
        '<nav><a href="docs">API</a><a href="openapi.json">OpenAPI</a>'
        '<a href="readyz">Readiness</a><a href="metrics">Metrics</a></nav>'
        f"<h2>Agents</h2><table>{agents}</table>"
        "<h2>Ask</h2><pre>perdure ask &quot;How do you outlast a connection?&quot;</pre>",
    )
