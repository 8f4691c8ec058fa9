"""Who can be asked, who is asking, and what a client should know of this server."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Request, Response

from perdure import ports
from perdure.routers import server_shapes, shapes
from perdure.routers.given import Running, Who, placed
from perdure.routers.live import ATTACHMENTS_MAX
from perdure.routers.problems import responses
from perdure.settings import Ui

router = APIRouter(prefix="/api", tags=["server"])

VERSION = version("perdure")
LOGO_PATH = "/logo"


@router.get(
    "/agents",
    operation_id="listAgents",
    response_model=server_shapes.Agents,
    responses=responses(503),
)
async def list_agents(core: Running, person: Who) -> Response:
    """List the agents."""
    del person  # only who is known may see them
    agents = [agent_shape(agent) for agent in core.agents.values()]
    return shapes.answer(
        server_shapes.Agents(agents=agents, default_agent_id=core.default_agent_id)
    )


@router.get("/me", operation_id="getMe", response_model=server_shapes.Me, responses=responses(503))
async def me(core: Running, person: Who) -> Response:
    """Tell who is asking."""
    mode = core.settings.auth.mode
    shown = server_shapes.Me(
        user_id=person.user_id, display=person.display, auth_mode=mode, admin=person.admin
    )
    return shapes.answer(shown)


@router.get(
    "/config",
    operation_id="getConfig",
    response_model=server_shapes.Config,
    responses=responses(503),
)
async def config(core: Running, person: Who, request: Request) -> Response:
    """Tell the limits and times that clients should know."""
    del person
    settings = core.settings
    logo_url = placed(request, LOGO_PATH) if settings.ui.logo else ""
    limits = server_shapes.Limits(
        message_bytes_max=settings.limits.message_bytes_max,
        body_bytes_max=settings.limits.body_bytes_max,
        running_per_user_max=settings.limits.running_per_user_max,
        queued_per_user_max=settings.limits.queued_per_user_max,
    )
    shown = server_shapes.Config(
        version=VERSION,
        auth_mode=settings.auth.mode,
        default_agent_id=core.default_agent_id,
        keepalive_s=settings.keepalive_s,
        stream_max_s=settings.stream_max_s,
        attachments_max=ATTACHMENTS_MAX,
        limits=limits,
        ui=branding(settings.ui, logo_url),
        trace_url=settings.ui.trace_url,
        traces=core.tracker is not None,
    )
    return shapes.answer(shown)


def branding(ui: Ui, logo_url: str) -> server_shapes.Branding:
    """Show how the chat page is to look."""
    return server_shapes.Branding(
        name=ui.name, logo_url=logo_url, accent=ui.accent, remote_images=ui.remote_images
    )


def agent_shape(agent: ports.Agent) -> server_shapes.Agent:
    """Show an agent; its id is its name when it has none."""
    return server_shapes.Agent(
        id=agent.id,
        name=agent.name or agent.id,
        description=agent.description,
        examples=list(agent.examples),
    )
