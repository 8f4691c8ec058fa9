"""A LangGraph graph as an agent: `perdure serve langgraph_agent:answer`."""

from collections.abc import AsyncIterator
from typing import Any, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph

import perdure


class State(TypedDict):
    """What the nodes share."""

    question: str
    plan: list[str]


async def plan(state: State) -> dict[str, list[str]]:
    """Decide what to say."""
    return {"plan": [f"You asked: {state['question']}", "And here is", "an answer."]}


async def write(state: State) -> dict[str, Any]:
    """Say it piece by piece; a model's tokens go the same way."""
    tell = get_stream_writer()
    for sentence in state["plan"]:
        tell(f"{sentence} ")
    return {}


builder = StateGraph(State)
builder.add_node("plan", plan)
builder.add_node("write", write)
builder.add_edge(START, "plan")
builder.add_edge("plan", "write")
builder.add_edge("write", END)
graph = builder.compile()


@perdure.agent(name="Graph", description="A LangGraph graph.")
async def answer(messages: list[dict[str, Any]], context: object) -> AsyncIterator[str]:
    """Run the graph and pass on what it says."""
    del context
    state = {"question": messages[-1]["content"], "plan": []}
    async for piece in graph.astream(state, stream_mode="custom"):
        yield piece
