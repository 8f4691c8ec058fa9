"""Baseline C: FastAPI and the official openai client, each chunk decoded and encoded again."""

import os
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI

client = AsyncOpenAI(base_url=os.environ["BENCH_UPSTREAM"], api_key="none")
app = FastAPI()


@app.post("/v1/chat/completions")
async def complete(request: Request) -> StreamingResponse:
    """Stream one chat completion."""
    body: dict[str, Any] = await request.json()

    async def chunks() -> AsyncIterator[str]:
        stream = await client.chat.completions.create(**body)
        async for chunk in stream:
            yield f"data: {chunk.model_dump_json()}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(chunks(), media_type="text/event-stream")
