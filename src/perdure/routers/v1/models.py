"""The agents, as models."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from perdure.core import Core
from perdure.errors import Invalid
from perdure.model import JSON
from perdure.routers.given import Running, Who
from perdure.routers.v1.shapes import ModelList, ModelObject, refusals
from perdure.routers.v1.shown import answer

router = APIRouter(prefix="/v1", tags=["openai"])


@router.get("/models", operation_id="listModels", response_model=ModelList)
async def list_models(core: Running, person: Who) -> Response:
    """List the agents."""
    del person  # only who is known may see them
    data = [_model(core, agent_id) for agent_id in core.agents]
    return answer({"object": "list", "data": data})


@router.get(
    "/models/{model}",
    operation_id="getModel",
    response_model=ModelObject,
    responses=refusals(404),
)
async def get_model(
    core: Running, person: Who, model: Annotated[str, Path(description="An agent's id.")]
) -> Response:
    """Return one agent."""
    del person
    if model not in core.agents:
        detail = f"The model '{model[:100]}' does not exist."
        raise Invalid(detail, code="model_not_found", status=404, param="model")
    return answer(_model(core, model))


def _model(core: Core, agent_id: str) -> JSON:
    created = int(core.started_at)
    return {"id": agent_id, "object": "model", "created": created, "owned_by": "perdure"}
