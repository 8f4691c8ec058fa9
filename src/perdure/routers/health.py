"""For machines: is it alive, may it get traffic, and its figures for Prometheus."""

from __future__ import annotations

import logging
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from perdure.errors import PerdureError
from perdure.model import JSON
from perdure.records import Figures
from perdure.routers import shapes
from perdure.routers.agents import VERSION
from perdure.routers.given import Running
from perdure.routers.problems import responses
from perdure.routers.public import public
from perdure.routers.streams import refuse_draining

log = logging.getLogger("perdure.http")

router = APIRouter(tags=["server"])


class Health(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Part(BaseModel):
    """Something that answers can do without for a while."""

    model_config = shapes.example(ok=False, why="the broker cannot be reached")

    ok: bool
    why: str | None = Field(description="What is wrong with it, if anything is known.")


class Readiness(BaseModel):
    """The server can take questions; `queue` and `bus` tell whether something is slower now."""

    status: Literal["ready"] = "ready"
    version: str
    store: JSON
    queue: Part
    bus: Part


class _Metrics(PlainTextResponse):
    media_type = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/healthz", operation_id="getHealth", response_model=Health)
@public
async def healthz() -> Response:
    """Tell that the process is alive, whatever it can do."""
    return shapes.answer(Health())


@router.get(
    "/readyz", operation_id="getReadiness", response_model=Readiness, responses=responses(503)
)
@public
async def readyz(core: Running) -> Response:
    """Tell whether questions can be accepted now; 503, with the reason, if not.

    It is ready without its broker and its bus: questions are stored, answers come later.
    """
    refuse_draining(core)
    store = await core.store.check()
    queue = _part(core.queue.trouble() or await core.roster.trouble())
    bus = _part(core.bus.trouble())
    return shapes.answer(Readiness(version=VERSION, store=store, queue=queue, bus=bus))


@router.get("/metrics", operation_id="getMetrics", response_class=_Metrics)
@public
async def metrics(
    core: Running, accept: Annotated[str, Header(description="The format that is wanted.")] = ""
) -> Response:
    """Give the figures in Prometheus's text format; those of the store while it answers."""
    figures: Figures | None = None
    workers: int | None = None
    try:
        figures = await core.store.figures()
        workers = await core.roster.workers()
    except PerdureError as error:
        log.warning("metrics without those of the store: %s", error)
    body, media_type = core.metrics.show(accept, figures, workers)
    return Response(body, media_type=media_type)


def _part(why: str | None) -> Part:
    return Part(ok=why is None, why=why)
