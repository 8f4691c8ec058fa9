"""A trace's id is stored when it is seen: failures and stops do not lose it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from perdure.handlers.databricks import Credentials, DatabricksHandler
from perdure.ports import Agent
from tests.databricks import Answer, frames, working
from tests.databricks.frames import text, trace
from tests.databricks.workspace import PAT, Workspace
from tests.flow.serving import Served, serving

EARLY = {"type": "response.created", "response": {"id": "r"}, "databricks_output": trace("tr-1")}


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Served, Workspace]]:
    async with working() as workspace:
        workspace.endpoints = {"agent": frames.RESPONSES}
        handler = DatabricksHandler("agent", Credentials(workspace.url, token=PAT))
        agents = {"agent": Agent(id="agent", handler=handler)}
        async with serving(tmp_path, agents=agents) as served:
            yield served, workspace


async def test_a_failed_answer_keeps_it(both: Any) -> None:
    served, workspace = both
    workspace.answers = [Answer(frames=[EARLY, text("w0 "), {"error": "it exploded"}])]
    status = await served.ended((await served.ask("hi", "agent"))["request_id"])
    assert (status["status"], status["trace_id"]) == ("failed", "tr-1")


async def test_a_stopped_answer_keeps_it(both: Any) -> None:
    served, workspace = both
    workspace.answers = [Answer(frames=[EARLY, text("w0 ")], hold=True)]
    accepted = await served.ask("hi", "agent")
    await served.shown(accepted["request_id"], "w0 ")
    stopped = await served.http.post(f"/api/requests/{accepted['request_id']}/cancel")
    assert (stopped.json()["status"], stopped.json()["trace_id"]) == ("cancelled", "tr-1")
    await workspace.until(lambda: workspace.asked[0].closed)
