"""What OpenAI's guides show, with the official client: each step as it is written there.

Background mode, streaming, conversation state, function calling, structured outputs and webhooks;
retries, refusals and the other versions: `test_openai_clients.py`, `test_webhooks.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from pydantic import BaseModel

from perdure.deltas import Delta, Reasoning, ToolCall
from tests.flow.serving import JSON, Served, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOOLS: Any = [
    {
        "type": "function",
        "name": "get_horoscope",
        "description": "Get today's horoscope.",
        "parameters": {
            "type": "object",
            "properties": {"sign": {"type": "string"}},
            "required": ["sign"],
            "additionalProperties": False,
        },
        "strict": True,
    }
]


class Agent:
    """Thinks, asks for two horoscopes, and tells them; remembers what it was told."""

    def __init__(self) -> None:
        self.heard: list[list[JSON]] = []

    async def answer(self, messages: list[JSON], context: Any) -> AsyncIterator[str | Delta]:
        self.heard.append(messages)
        outputs = [message["content"] for message in messages if message["role"] == "tool"]
        if "horoscope" not in str(messages) or outputs:
            yield " and ".join(outputs) or f"Answer {len(messages)}."
            return
        yield Reasoning("Two signs are named.")
        for sign in ("Aquarius", "Leo"):
            call_id = f"call_{sign}_{context.request_id}"
            yield ToolCall(sign, '{"sign": ', "get_horoscope", call_id)
            yield ToolCall(sign, f'"{sign}"}}', "get_horoscope", call_id)


agent = Agent()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    agents = {"guided": agent.answer, "json": as_json}
    async with serving(tmp_path_factory.mktemp("guides"), agents=agents) as running:
        yield running


async def as_json(messages: list[JSON], context: object) -> AsyncIterator[str]:
    yield '{"name": "Science Fair", '
    yield '"people": ["Ann"]}'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none") as made:
        yield made


async def asked(client: openai.AsyncOpenAI, **more: Any) -> Any:
    return await client.responses.create(**{"model": "guided", **more})


async def test_background_mode_is_polled_and_followed_from_a_cursor(client):
    response = await asked(client, input="A novel about otters.", background=True)
    while response.status in {"queued", "in_progress"}:
        await asyncio.sleep(0.02)  # as the guide waits, only shorter
        response = await client.responses.retrieve(response.id)
    assert (response.status, response.output_text) == ("completed", "Answer 1.")
    stream = await asked(client, input="A novel.", background=True, stream=True)
    seen = [event async for event in stream]
    cursor = seen[3].sequence_number
    rest = await client.responses.retrieve(seen[0].response.id, stream=True, starting_after=cursor)
    assert [event async for event in rest] == seen[4:]


async def test_the_history_is_kept_by_hand_by_the_last_response_or_in_a_conversation(client):
    history: Any = [{"role": "user", "content": "tell me a joke"}]
    response = await asked(client, input=history, store=False)
    history += [{"role": item.role, "content": item.content} for item in response.output]
    history.append({"role": "user", "content": "tell me another"})
    assert (await asked(client, input=history, store=False)).output_text == "Answer 3."
    told = [(message["role"], _text(message)) for message in agent.heard[-1]]
    by_hand = [("user", "tell me a joke"), ("assistant", "Answer 1.")]
    assert told == [*by_hand, ("user", "tell me another")]
    first = await asked(client, input="tell me a joke")
    again: Any = [{"role": "user", "content": "explain why this is funny."}]
    second = await asked(client, previous_response_id=first.id, input=again)
    assert second.output_text == "Answer 3."
    conversation = await client.conversations.create()
    for count in (1, 3):
        dodge: Any = [{"role": "user", "content": "What are the 5 Ds of dodgeball?"}]
        one = await asked(client, input=dodge, conversation=conversation.id)
        assert one.output_text == f"Answer {count}."


def _text(message: JSON) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


async def test_functions_are_called_and_their_outputs_sent_back_in_one_list(client):
    """`input_list += response.output`: with reasoning, several calls, and the client's objects."""
    given: Any = [{"role": "user", "content": "What is my horoscope? Aquarius, and Leo."}]
    response = await asked(client, tools=TOOLS, input=given)
    given += response.output
    assert [item.type for item in response.output] == ["reasoning", *["function_call"] * 2]
    for item in response.output:
        if item.type == "function_call":
            sign = json.loads(item.arguments)["sign"]
            output = f"{sign}: a baby otter."
            given.append(
                {"type": "function_call_output", "call_id": item.call_id, "output": output}
            )
    brief = "Respond only with a horoscope generated by a tool."
    final = await asked(client, instructions=brief, tools=TOOLS, input=given)
    assert final.output_text == "Aquarius: a baby otter. and Leo: a baby otter."
    assert json.loads(final.model_dump_json())["status"] == "completed"
    roles = [message["role"] for message in agent.heard[-1]]
    assert roles == ["system", "user", "assistant", "tool", "tool"]
    assert len(agent.heard[-1][2]["tool_calls"]) == 2


async def test_calls_of_functions_are_put_together_from_a_stream(client):
    stream = await asked(
        client,
        input="A horoscope, please.",
        tools=TOOLS,
        tool_choice={"type": "function", "name": "get_horoscope"},
        parallel_tool_calls=True,
        stream=True,
    )
    calls: dict[int, Any] = {}
    async for event in stream:
        if event.type == "response.output_item.added":
            calls[event.output_index] = event.item
        elif event.type == "response.function_call_arguments.delta":
            calls[event.output_index].arguments += event.delta
        elif event.type == "response.function_call_arguments.done":
            assert calls[event.output_index].arguments == event.arguments
    signs = [json.loads(call.arguments)["sign"] for call in calls.values() if "arg" in str(call)]
    assert signs == ["Aquarius", "Leo"]


async def test_what_is_to_be_an_object_is_parsed(client):
    class Event(BaseModel):
        name: str
        people: list[str]

    whole = await client.responses.parse(model="json", input="x", text_format=Event)
    assert whole.output_parsed == Event(name="Science Fair", people=["Ann"])
    async with client.responses.stream(model="json", input="x", text_format=Event) as stream:
        final = await stream.get_final_response()
    assert final.output_parsed == whole.output_parsed


async def test_compaction_says_that_it_is_not_offered(client):
    with pytest.raises(openai.BadRequestError) as refused:
        await client.responses.compact(model="guided", input="a long talk")
    assert refused.value.code == "unsupported_operation"
    assert "previous_response_id" in refused.value.message
