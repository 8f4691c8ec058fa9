"""A front end of the first users' app, unchanged, over an agent on Databricks."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from pathlib import Path

from perdure.handlers.databricks import Credentials, DatabricksHandler
from perdure.ports import Agent
from tests.databricks import Answer, frames, working
from tests.databricks.frames import call, done, message, output, text, trace
from tests.databricks.workspace import PAT
from tests.flow.clients import NODE
from tests.flow.serving import serving

SCRIPT = Path(__file__).parent / "sketches" / "origin.mjs"
ANSWERS = [
    Answer(
        frames=[
            done(call("find", "{}", "c1", "fc_1")),
            done(output("c1", "found")),
            text("Hel"),
            text("lo"),
            done(message("Hello"), databricks_output=trace("tr-1")),
        ]
    ),
    Answer(frames=[text("half "), {"error": "the agent exploded"}]),
]


async def test_the_first_users_front_end_works_unchanged(tmp_path: Path) -> None:
    async with working() as workspace:
        workspace.endpoints = {"agent": frames.RESPONSES}
        workspace.answers = list(ANSWERS)
        handler = DatabricksHandler("agent", Credentials(workspace.url, token=PAT))
        agents = {"agent": Agent(id="agent", handler=handler)}
        async with serving(tmp_path, user="ann", agents=agents) as served:
            program = await asyncio.create_subprocess_exec(
                NODE, SCRIPT, served.url, stdout=PIPE, stderr=PIPE
            )
            told, complaints = await asyncio.wait_for(program.communicate(), 40)
            assert told, complaints.decode()
            seen = json.loads(told)
            kept = await served.get(f"/api/chats/{seen['first']['chat_id']}/messages")
    first, second = seen["first"], seen["second"]
    assert (first["text"], first["tools"], first["done"]) == ("Hello", ["find"], True)
    assert (first["trace_id"], first["is_error"]) == ("tr-1", False)
    assert seen["verdict"] == 201
    assert (second["text"], second["is_error"], second["done"]) == ("half ", True, True)
    assert "the agent exploded" in second["error"]
    assert second["chat_id"] == first["chat_id"]
    assert [one["role"] for one in kept["messages"]] == ["user", "assistant"] * 2
    history = [item["role"] for item in workspace.asked[1].body["input"] if "role" in item]
    assert history == ["user", "assistant", "user"]
