"""Baseline B: FastAPI and httpx, the proxy that most people write today."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

UPSTREAM = os.environ["BENCH_UPSTREAM"]
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=1000)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(limits=LIMITS, timeout=None) as client:  # noqa: S113 - as people do for streams
        app.state.client = client
        yield


app = FastAPI(lifespan=_lifespan)


@app.post("/v1/chat/completions")
async def complete(request: Request) -> StreamingResponse:
    """Pass one chat completion through."""
    client: httpx.AsyncClient = request.app.state.client
    outgoing = client.build_request(
        "POST",
        f"{UPSTREAM}/chat/completions",
        content=await request.body(),
        headers={"content-type": "application/json"},
    )

    async def copy() -> AsyncIterator[bytes]:
        response = await client.send(outgoing, stream=True)
        try:
            async for data in response.aiter_raw():
                yield data
        finally:
            await response.aclose()

    return StreamingResponse(copy(), media_type="text/event-stream")
