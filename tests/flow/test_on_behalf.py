"""Answers with a person's own rights: the token is used, and found nowhere."""

from __future__ import annotations

import asyncio
import base64
import json
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from perdure.handlers.databricks import Credentials, DatabricksHandler
from perdure.ports import Agent, Roll
from tests import databases, valkeys
from tests.databricks import Answer, Workspace, frames, working
from tests.databricks.frames import done, message, text
from tests.flow.serving import Served, serving
from tests.world.server import ROOT, Server
from tests.world.waiting import eventually

SECRET = "eyJhbGciOiJub25lIn0.the-own-token-of-ann.xyz"
OTHER = "eyJhbGciOiJub25lIn0.another-token-of-ann.xyz"
HOLD = Answer(frames=[text("w0 ")], hold=True)
WHOLE = Answer(frames=[text("w0 "), done(message("w0 "))])


@pytest.fixture
async def workspace() -> AsyncIterator[Workspace]:
    async with working() as made:
        made.endpoints = {"agent": frames.RESPONSES}
        made.user_tokens = {SECRET, OTHER}
        yield made


def config(workspace: Workspace) -> str:
    return f"""
log_level = "debug"
drain_grace_s = 0
[auth]
mode = "proxy"
[agents.agent]
handler = "databricks"
base_url = "{workspace.url}"
endpoint = "agent"
on_behalf_of = "always"
"""


def places(folder: Path) -> list[str]:
    """Return the files that hold a token, or a piece of one, whatever they are."""
    needles = [SECRET.encode(), OTHER.encode(), b"the-own-token-of-ann", b"another-token-of-ann"]
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and any(needle in path.read_bytes() for needle in needles)
    ]


@pytest.fixture
def core_dumps() -> Iterator[None]:
    """Allow core dumps to what is started, as far as this machine does."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


@pytest.mark.usefixtures("core_dumps")
async def test_the_token_is_in_no_file_and_a_restart_asks_for_a_new_one(
    workspace: Workspace, tmp_path: Path
) -> None:
    """Guards: `UserTokens` lives in memory only; `sign_in_again`; `forbid_core_dumps`."""
    workspace.answers = [HOLD]
    server = Server(tmp_path, config(workspace))
    who = {"X-Forwarded-User": "ann", "X-Forwarded-Access-Token": SECRET}
    cores = set(ROOT.glob("core*"))
    try:
        await server.start()
        async with httpx.AsyncClient(base_url=server.url, headers=who, timeout=20) as http:
            asked = (await http.post("/api/invoke_endpoint", json={"message": "hi"})).json()
            path = f"/api/requests/{asked['request_id']}"

            async def begun() -> bool:
                return bool((await http.get(f"{path}/status")).json()["partial_content"])

            await eventually(begun, within_s=20, what="the answer has begun")
            assert workspace.asked[0].token == SECRET
            for shown in (path, "/metrics", "/api/config", "/readyz"):
                told = await http.get(shown)
                assert SECRET not in f"{told.headers} {told.text}"
            assert psutil.Process(server.pid).rlimit(psutil.RLIMIT_CORE)[0] == 0
            server.signal(signal.SIGABRT)  # a crash, with whatever it leaves
            await server.gone(10)
            assert set(ROOT.glob("core*")) == cores

            workspace.answers = [WHOLE]
            await server.start()

            async def failed() -> dict[str, str] | None:
                return dict((await http.get(path)).json()["error"] or {}) or None

            error = await eventually(failed, within_s=20, what="it ends")
            assert error["code"] == "auth_required"
            assert len(workspace.asked) == 1  # nobody else's rights were used
            fresh = {"X-Forwarded-Access-Token": OTHER}
            again = (await http.post(f"{path}/retry", headers=fresh)).json()

            async def completed() -> bool:
                row = (await http.get(f"/api/requests/{again['request_id']}")).json()
                return bool(row["status"] == "completed" and row["final_response"] == "w0 ")

            await eventually(completed, within_s=20, what="the retry is answered")
            assert workspace.asked[-1].token == OTHER
        await server.stop()
    finally:
        server.end()
    assert (tmp_path / "data" / "perdure.db").exists()
    assert places(tmp_path) == []


async def test_the_token_is_in_no_message_of_the_queue_and_in_no_row(
    workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guard: a message is the request's id and nothing else; workers are reached by no token."""
    handler = DatabricksHandler("agent", Credentials(workspace.url, token="none"))
    agents = {"agent": Agent(id="agent", handler=handler)}
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(valkeys.fresh())
        url = await stack.enter_async_context(databases.fresh())
        made = serving(
            tmp_path,
            user="ann",
            agents=agents,
            log_level="debug",
            store_url=url,
            queue_url=f"celery+{broker}",
        )
        served = await stack.enter_async_context(made)
        assert isinstance(served.core.store, Roll)
        await served.core.store.present("worker", 1, 60)  # so that it is sent to somebody
        served.http.headers["X-Forwarded-Access-Token"] = SECRET
        asked = await served.ask("hi", "agent")

        async def sent() -> list[str]:
            return await asyncio.to_thread(messages, broker)

        (message,) = await eventually(sent, within_s=20, what="a message waits in the broker")
        assert asked["request_id"] in message
        told = [message, caplog.text, *await rows(url)]
        assert any(asked["request_id"] in row for row in told[2:])
    assert not [text for text in told if SECRET in text or "the-own-token-of-ann" in text]


def messages(broker: str) -> list[str]:
    """Return what waits in a broker, its bodies decoded."""
    with valkeys.client(broker) as client:
        return [
            message + base64.b64decode(json.loads(message)["body"]).decode()
            for key in client.scan_iter(_type="list")
            for message in map(str, client.lrange(key, 0, -1))
        ]


async def rows(url: str) -> list[str]:
    """Return every row of a database as text."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname='public'")
        named = [f'SELECT t::text FROM "{name}" t' for (name,) in tables]  # noqa: S608
        found = [await connection.fetch(query) for query in named]
        return [row[0] for every in found for row in every]
    finally:
        await connection.close()


async def test_another_server_does_not_have_the_token_and_says_so(
    workspace: Workspace, tmp_path: Path
) -> None:
    """On a shared database: the answer ends with a reason, and a retry anywhere is answered.

    Guard: the token is in the memory of the server that was asked, and in no other place.
    """
    workspace.answers = [HOLD]
    async with databases.fresh() as url:
        shared = f'store_url = "{url}"\nlease_s = 3\nreap_s = 0.5\n'
        servers = [Server(tmp_path / name, shared + config(workspace)) for name in ("a", "b")]
        try:
            await asyncio.gather(*(server.start() for server in servers))
            who = {"X-Forwarded-User": "ann", "X-Forwarded-Access-Token": SECRET}
            async with httpx.AsyncClient(headers=who, timeout=20) as http:
                asking = f"{servers[0].url}/api/invoke_endpoint"
                asked = (await http.post(asking, json={"message": "hi"})).json()

                async def begun() -> bool:
                    return bool(workspace.asked)

                await eventually(begun, within_s=20, what="the answer has begun")
                servers[0].signal(signal.SIGKILL)
                await servers[0].gone(10)
                path = f"{servers[1].url}/api/requests/{asked['request_id']}"

                async def failed() -> dict[str, str] | None:
                    return dict((await http.get(path)).json()["error"] or {}) or None

                error = await eventually(failed, within_s=20, what="it ends")
                assert error["code"] == "auth_required"
                assert len(workspace.asked) == 1  # nobody else's rights were used
                workspace.answers = [WHOLE]
                again = (await http.post(f"{path}/retry")).json()

                async def completed() -> bool:
                    row = await http.get(f"{servers[1].url}/api/requests/{again['request_id']}")
                    return bool(row.json()["status"] == "completed")

                await eventually(completed, within_s=20, what="the retry is answered")
            await servers[1].stop()
        finally:
            for server in servers:
                server.end()
    assert places(tmp_path) == []


@pytest.fixture
async def served(workspace: Workspace, tmp_path: Path) -> AsyncIterator[Served]:
    credentials = Credentials(workspace.url, token="none")
    handler = DatabricksHandler("agent", credentials, on_behalf_of="always")
    agents = {"agent": Agent(id="agent", handler=handler)}
    async with serving(tmp_path, user="ann", agents=agents) as made:
        made.http.headers["X-Forwarded-Access-Token"] = SECRET
        yield made


async def test_the_memory_lets_go_of_it_when_the_answer_ends(
    served: Served, workspace: Workspace
) -> None:
    """Guard: `UserTokens.drop` at the end of a run and of a request that waited."""
    held = served.core.runner.user_tokens
    workspace.answers = [WHOLE]
    await served.asked_and_ended("hi", "agent")
    workspace.answers = [HOLD]
    running = await served.ask("hi", "agent")
    waiting = await served.ask("more", "agent", chat_id=running["chat_id"])
    await workspace.until(lambda: len(workspace.asked) == 2)
    assert len(held) == 2
    for one in (waiting, running):
        await served.http.post(f"/api/requests/{one['request_id']}/cancel")
    while len(held):  # noqa: ASYNC110  # it wakes nobody
        await asyncio.sleep(0.01)  # each look is a turn of the loop in which runs end


async def test_every_way_to_ask_takes_the_token_along(served: Served, workspace: Workspace) -> None:
    workspace.answers = [WHOLE]
    body = {"model": "agent", "input": "hi"}
    response = (await served.http.post("/v1/responses", json=body)).json()
    assert response["status"] == "completed", response
    parts = [{"type": "text", "text": "hi"}]
    chat = {"id": "c-1", "agent_id": "agent", "messages": [{"role": "user", "parts": parts}]}
    told = await served.http.post("/api/chat", json=chat)
    assert '"type":"finish"' in told.text.replace(" ", ""), told.text
    assert [one.token for one in workspace.asked] == [SECRET, SECRET]


async def test_an_agent_that_wants_no_token_is_given_none(served: Served) -> None:
    await served.ask("hi", "steered")
    assert len(served.core.runner.user_tokens) == 0
    served.steered.end()


async def test_without_a_proxy_that_is_known_the_header_is_nobodys(
    workspace: Workspace, tmp_path: Path
) -> None:
    """Guard: mode `proxy`; anybody could claim to be anybody otherwise."""
    credentials = Credentials(workspace.url, token="none")
    handler = DatabricksHandler("agent", credentials, on_behalf_of="always")
    async with serving(tmp_path, agents={"agent": Agent(id="agent", handler=handler)}) as served:
        served.http.headers["X-Forwarded-Access-Token"] = SECRET
        accepted = await served.ask("hi", "agent")
        status = await served.ended(accepted["request_id"])
        assert status["error"]["code"] == "auth_required"
    assert not workspace.asked
