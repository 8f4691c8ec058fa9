"""For machines: is it alive, may it get traffic, and its figures for Prometheus."""

from __future__ import annotations

import time
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from perdure.core import Core
from perdure.model import JSON, Status
from perdure.routers import shapes
from perdure.routers.agents import VERSION
from perdure.routers.given import Running
from perdure.routers.problems import responses
from perdure.routers.public import public
from perdure.routers.streams import refuse_draining

router = APIRouter(tags=["server"])


class Health(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """The server can take questions."""

    status: Literal["ready"] = "ready"
    version: str
    store: JSON


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
    """Tell whether questions can be accepted now; 503 while draining or without the store."""
    refuse_draining(core)
    return shapes.answer(Readiness(version=VERSION, store=await core.store.check()))


@router.get(
    "/metrics", operation_id="getMetrics", response_class=_Metrics, responses=responses(503)
)
@public
async def metrics(core: Running) -> Response:
    """Give the figures in Prometheus's text format."""
    counts = await core.store.counts()
    return _Metrics("".join(_samples(core, counts)))


def _samples(core: Core, counts: dict[str, int]) -> list[str]:
    states = {state.value: counts.get(state.value, 0) for state in Status if not state.terminal}
    return [
        _sample("build_info", "What is running.", {f'{{version="{VERSION}"}}': 1}),
        _sample("uptime_seconds", "Since the start.", {"": time.time() - core.started_at}),
        _sample("draining", "1 while it is about to stop.", {"": int(core.draining)}),
        _sample(
            "requests",
            "Requests that have not ended, in the whole deployment.",
            {f'{{status="{state}"}}': count for state, count in states.items()},
        ),
        _sample("readers", "Readers that follow a request here.", {"": core.tails.readers}),
    ]


def _sample(name: str, about: str, values: dict[str, float]) -> str:
    lines = [f"perdure_{name}{labels} {value:g}" for labels, value in values.items()]
    head = [f"# HELP perdure_{name} {about}", f"# TYPE perdure_{name} gauge"]
    return "\n".join(head + lines) + "\n"
