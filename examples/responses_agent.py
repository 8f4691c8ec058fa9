"""An agent with MLflow's own server: it calls a tool, streams its answer, and leaves a trace.

    pip install mlflow uvicorn httpx
    MLFLOW_TRACKING_URI=sqlite:///mlflow.db uvicorn examples.responses_agent:app --port 9000

The question may begin with a JSON object, to try things out: `{"words": 40, "pause_s": 0.1}`, or
`{"fail_at": 3}` to see what a failure in the middle looks like.
"""

import asyncio
import json
import logging

import mlflow
from fastapi import FastAPI
from mlflow.genai.agent_server import AgentServer, invoke, stream
from mlflow.types.responses import ResponsesAgentResponse
from mlflow.types.responses import ResponsesAgentStreamEvent as Event

log = logging.getLogger("agent")


@mlflow.trace(span_type="TOOL")
def count(question: str) -> int:
    return len(question.split())


def knobs_of(text: str) -> dict:
    return json.JSONDecoder().raw_decode(text)[0] if text.startswith("{") else {}


def question_of(request) -> str:
    content = request.input[-1].content
    return content if isinstance(content, str) else content[0]["text"]


@stream()
async def answer(request):
    question = question_of(request)
    knobs = knobs_of(question)
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "count"}
    yield Event(
        type="response.output_item.done",
        item={**call, "arguments": json.dumps({"question": question})},
    )
    output = {"type": "function_call_output", "call_id": "call_1", "output": str(count(question))}
    yield Event(type="response.output_item.done", item=output)
    text, words = "", knobs.get("words", 20)
    try:
        for number in range(words):
            await asyncio.sleep(knobs.get("pause_s", 0.02))
            if knobs.get("fail_at") == number:
                raise RuntimeError("the agent exploded")
            text += f"w{number} "
            yield Event(type="response.output_text.delta", item_id="msg_1", delta=f"w{number} ")
    except (asyncio.CancelledError, GeneratorExit):
        log.warning("stopped after %d of %d words", number, words)  # somebody pressed Stop
        raise
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"type": "message", "id": "msg_1", "role": "assistant", "content": content}
    yield Event(type="response.output_item.done", item=message)


@invoke()
async def whole(request):
    events = [event async for event in answer(request)]
    return ResponsesAgentResponse(output=[event.item for event in events if hasattr(event, "item")])


app = FastAPI()
app.mount("/serving-endpoints/demo", AgentServer("ResponsesAgent").app)
