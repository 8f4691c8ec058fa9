"""A stand-in for the product, in memory and without any promise: it checks the benchmark itself."""

import asyncio
import os
from collections.abc import AsyncIterator
from itertools import count

import httpx
import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

UPSTREAM = os.environ["BENCH_UPSTREAM"]
app = FastAPI()
_client = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None))  # noqa: S113
_answers: dict[str, "Answer"] = {}
_numbers = count()


class Answer:
    """One answer: all its frames, and a bell that rings when there are more."""

    def __init__(self, message: str) -> None:
        """Start to produce it."""
        self.frames: list[bytes] = []
        self.done = False
        self.bell = asyncio.Event()
        self.task = asyncio.create_task(self._run(message))

    def add(self, kind: str, **more: object) -> None:
        """Append an event and wake the readers."""
        number = len(self.frames)
        data = msgspec.json.encode({"type": kind, "sequence_number": number, **more})
        self.frames.append(b"id: %d\nevent: %s\ndata: %s\n\n" % (number, kind.encode(), data))
        self.bell.set()
        self.bell = asyncio.Event()

    async def _run(self, message: str) -> None:
        body = {"model": message, "stream": True, "messages": [{"role": "user", "content": ""}]}
        kind = "response.failed"
        self.add("response.created")
        try:
            async with _client.stream("POST", f"{UPSTREAM}/chat/completions", json=body) as reply:
                async for line in reply.aiter_lines():
                    if not line.startswith("data: {"):
                        continue
                    for choice in msgspec.json.decode(line[6:])["choices"]:
                        if "content" in choice["delta"]:
                            text = choice["delta"]["content"]
                            self.add("response.output_text.delta", delta=text)
                        kind = "response.completed" if choice["finish_reason"] else kind
        finally:
            self.done = True
            self.add(kind)


@app.post("/api/invoke_endpoint", status_code=202)
async def invoke(request: Request) -> JSONResponse:
    """Accept a question."""
    body = await request.json()
    request_id = f"resp_{next(_numbers)}"
    text = body["message"] if "message" in body else body["messages"][-1]["content"]
    _answers[request_id] = Answer(text)
    return JSONResponse({"request_id": request_id, "status": "queued"}, 202)


@app.get("/api/requests/{request_id}/stream")
async def stream(request_id: str, request: Request) -> StreamingResponse:
    """Stream the events after the cursor."""
    answer = _answers[request_id]
    after = int(request.headers.get("last-event-id", "-1"))

    async def frames() -> AsyncIterator[bytes]:
        position = after + 1
        while True:
            bell = answer.bell
            if position < len(answer.frames):
                data = b"".join(answer.frames[position:])
                position = len(answer.frames)
                yield data
            elif answer.done:
                return
            else:
                await bell.wait()

    return StreamingResponse(frames(), media_type="text/event-stream")


@app.get("/readyz")
async def ready() -> dict[str, str]:
    """Be ready."""
    return {"status": "ready"}


@app.get("/api/requests")
async def requests() -> dict[str, list[str]]:
    """List nothing."""
    return {"requests": []}


@app.get("/api/requests/{request_id}/status")
async def status(request_id: str) -> dict[str, str]:
    """Tell whether it is over."""
    return {"status": "completed" if _answers[request_id].done else "streaming"}


@app.post("/api/requests/{request_id}/cancel")
async def cancel(request_id: str) -> dict[str, str]:
    """Stop it."""
    _answers[request_id].task.cancel()
    return {"status": "cancelled"}
