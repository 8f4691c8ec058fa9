"""The agents, as models."""

from __future__ import annotations

from fastapi import APIRouter, Response

from perdure.core import Core
from perdure.errors import Invalid
from perdure.model import JSON
from perdure.routers.given import Running, Who
from perdure.routers.v1.shown import answer

router = APIRouter()


@router.get("/models")
async def list_models(core: Running, person: Who) -> Response:
    """List the agents."""
    del person  # only who is known may see them
    data = [_model(core, agent_id) for agent_id in core.agents]
    return answer({"object": "list", "data": data})


@router.get("/models/{model}")
async def get_model(core: Running, person: Who, model: str) -> Response:
    """Return one agent."""
    del person
    if model not in core.agents:
        detail = f"The model '{model[:100]}' does not exist."
        raise Invalid(detail, code="model_not_found", status=404, param="model")
    return answer(_model(core, model))


def _model(core: Core, agent_id: str) -> JSON:
    created = int(core.started_at)
    return {"id": agent_id, "object": "model", "created": created, "owned_by": "perdure"}
