"""Unmodified official clients, four versions side by side, through a kill -9 of the server.

All four on SQLite; on PostgreSQL the newest of each language, since clients see no store.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.flow.clients import STORIES, Program, run
from tests.flow.stores import STORES, store_settings
from tests.unit.shapes import Response
from tests.upstream import Upstream
from tests.world.server import Server

CONFIG = """
[agents.demo]
base_url = "{url}"
model = "demo"
"""
SHORT = "".join(f"w{n} " for n in range(8))
LONG = "".join(f"w{n} " for n in range(60))
CREATED = "response.created"
Telling = Callable[[str], Awaitable[dict[str, Any]]]
TELLERS = {"sqlite": tuple(STORIES), "postgres": ("python-newest", "js-7")}
EACH = [(store, client) for store in STORES for client in TELLERS[store]]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told_on(tmp_path_factory: pytest.TempPathFactory) -> Telling:
    """Return what the clients told on a store, and the calls that reached the agent; once each."""
    known: dict[str, dict[str, Any]] = {}

    async def told(store: str) -> dict[str, Any]:
        if store not in known:
            known[store] = await _told(store, tmp_path_factory.mktemp("clients"))
        return known[store]

    return told


async def _told(store: str, folder: Path) -> dict[str, Any]:
    async with store_settings(store) as settings:
        with Upstream() as upstream:
            server = Server(folder, settings + CONFIG.format(url=upstream.url))
            stories = await _stories(server, TELLERS[store])
            return stories | {"calls": [call.body for call in upstream.calls]}


async def _stories(server: Server, tellers: Sequence[str]) -> dict[str, Any]:
    """Run them; the server is killed and started again while all have a stream dropped."""
    programs: dict[str, Program] = {}
    try:
        await server.start()
        for name in tellers:
            command, script, *more = STORIES[name]
            programs[name] = await run(command, script, f"{server.url}/v1", *more)
        await asyncio.gather(*(program.until("crash") for program in programs.values()))
        await server.kill9()
        await server.start()
        for program in programs.values():
            program.go_on()
        await asyncio.gather(*(program.until("survived") for program in programs.values()))
        return {name: program.told for name, program in programs.items()}
    finally:
        for program in programs.values():
            await program.end()
        server.end()


@pytest_asyncio.fixture(loop_scope="module", params=STORES)
async def told(request: pytest.FixtureRequest, told_on: Telling) -> dict[str, Any]:
    """What the clients told on a store."""
    return await told_on(request.param)


@pytest_asyncio.fixture(loop_scope="module", params=EACH, ids="-".join)
async def seen(request: pytest.FixtureRequest, told_on: Telling) -> dict[str, Any]:
    """What one client saw."""
    store, client = request.param
    return dict((await told_on(store))[client])


async def test_a_created_response_has_every_key_and_the_whole_text(seen):
    """Guard: `response.response` fills in all keys. `test_v1.py` checks their shapes."""
    created = seen["create"]
    wanted = set(Response.__annotations__) - {"conversation"}
    assert wanted <= created.keys()
    assert (created["status"], created["background"], created["store"]) == (
        "completed",
        False,
        True,
    )
    assert created["metadata"] == {"topic": "test"}
    assert created["instructions"] == "Be brief."
    assert seen["text"] == SHORT


async def test_a_background_response_is_polled_to_its_end(seen):
    first, background, last, text = seen["background"]
    assert (first in ("queued", "in_progress"), background, last, text) == (
        True,
        True,
        "completed",
        SHORT,
    )


async def test_a_stream_begins_with_created_and_ends_with_the_terminal_event(seen):
    stream = seen["stream"]
    assert stream["numbers"] == list(range(len(stream["numbers"])))
    assert (stream["types"][0], stream["types"][-1]) == (CREATED, "response.completed")
    assert stream["text"] == SHORT


async def test_a_dropped_stream_goes_on_after_its_cursor(seen):
    """Guard: leaving is never stopping, cursors are exclusive."""
    head, tail = seen["dropped"], seen["resumed"]
    assert head["numbers"] + tail["numbers"] == list(range(tail["numbers"][-1] + 1))
    assert head["text"] + tail["text"] == LONG


async def test_cancel_keeps_the_partial_and_is_idempotent(seen):
    assert seen["cancelled"] == ["cancelled", "cancelled", True]
    assert seen["partial"]
    assert LONG.startswith(seen["partial"])


async def test_refusals_are_typed_exceptions_with_message_code_param_and_request_id(seen):
    expected = {
        "completed": ("BadRequestError", 400, None),
        "deleted": ("NotFoundError", 404, None),
        "unknown": ("BadRequestError", 400, "previous_response_id"),
        "model": ("BadRequestError", 400, "model"),
        "unstorable": ("BadRequestError", 400, "background"),
    }
    for name, facts in expected.items():
        error = seen[name]
        assert (error["class"], error["status"], error["param"]) == facts, name
        assert error["message"], name
        assert error["request_id"], name
    assert "Cannot cancel a completed response." in seen["completed"]["message"]
    assert "not found" in seen["deleted"]["message"]
    assert seen["unstorable"]["code"] == "unsupported_parameter"


async def test_a_tool_call_goes_to_the_client_and_its_output_is_taken(seen):
    assert seen["call"] == ["function_call", "weather", '{"city": "Bonn"}']
    assert seen["answered"] == "completed"
    assert seen["items"] == ["function_call_output"]


async def test_the_output_of_a_tool_goes_back_to_the_agent_behind_its_call(told):
    """Guard: `talk.as_messages` tells calls with their outputs; `wishes` passes the tools."""
    bodies = [body for body in told["calls"] if body["messages"][-1]["role"] == "tool"]
    assert len(bodies) == len(told) - 1
    for body in bodies:
        call, output = body["messages"][-2:]
        assert call["tool_calls"][0]["function"]["name"] == "weather"
        assert output["tool_call_id"] == call["tool_calls"][0]["id"]
        assert output["content"] == "rain"
        assert body["tools"][0]["function"]["name"] == "weather"


async def test_a_response_survives_kill_9_and_is_read_on_and_replayed_whole(seen):
    """Guards: commit before show; second attempts keep the clients' rules for items."""
    head, tail = seen["crash"], seen["survived"]
    assert head["numbers"] + tail["numbers"] == list(range(tail["numbers"][-1] + 1))
    assert tail["types"].count("response.in_progress") == 1
    assert tail["types"][-1] == "response.completed"
    assert seen["replayed"]["status"] == "completed"
    assert seen["replayed"]["text"] == LONG
    assert seen["replayed"]["first"] == head["numbers"][-1] + 1


async def test_the_same_words_went_to_the_agent_for_every_client(told):
    """The instructions come first, as a system message of that call only."""
    briefed = [body for body in told["calls"] if body["messages"][0]["role"] == "system"]
    assert len(briefed) == len(told) - 1
    assert {json.dumps(body["messages"][0]) for body in briefed} == {
        '{"role": "system", "content": "Be brief."}'
    }
