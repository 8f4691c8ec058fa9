"""A FastAPI application of one's own with Perdure inside: `uvicorn fastapi_app:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import perdure


async def support(messages: list[dict[str, str]], context: object) -> AsyncIterator[str]:
    """Answer questions about orders."""
    del context
    yield "You asked: "
    yield messages[-1]["content"]


assistant = perdure.create_app(agents={"support": support})


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Open and close the part that is mounted: frameworks do not do it by themselves."""
    async with assistant.router.lifespan_context(assistant):
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/orders/{order_id}")
async def order(order_id: int) -> dict[str, int]:
    """Show an order: the application's own business."""
    return {"order_id": order_id}


app.mount("/assistant", assistant)
