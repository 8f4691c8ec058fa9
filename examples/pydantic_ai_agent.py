"""A PydanticAI agent: `MODEL=openai:gpt-5 perdure serve pydantic_ai_agent:answer`."""

import os
from collections.abc import AsyncIterator
from typing import Any

from pydantic_ai import Agent

import perdure

# `test` is PydanticAI's own stand-in, which calls each tool once and needs no key.
agent = Agent(os.environ.get("MODEL", "test"), instructions="Answer in one sentence.")


@agent.tool_plain
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"It rains in {city}."


@perdure.agent(name="Weather", description="A PydanticAI agent with a tool.")
async def answer(messages: list[dict[str, Any]], context: object) -> AsyncIterator[str]:
    """Ask the agent and pass on its text as it comes."""
    del context
    async with agent.run_stream(messages[-1]["content"]) as run:
        async for piece in run.stream_text(delta=True):
            yield piece
