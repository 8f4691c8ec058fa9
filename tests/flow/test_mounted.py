"""Perdure inside an application of one's own: mounted, behind a path, opened by nobody."""

import asyncio
import signal
import sys

import httpx
import pytest

from perdure.stores.sqlite import SqliteStore
from tests.world.server import environment, free_port
from tests.world.waiting import eventually

MODULE = """
import pathlib
from fastapi import FastAPI
import perdure
from perdure.settings import Settings

async def first(messages, context):
    yield "one"

async def second(messages, context):
    yield "two"

here = pathlib.Path(__file__).parent
app = FastAPI()
for number, agent in enumerate((first, second)):
    folder = here / str(number)
    folder.mkdir(exist_ok=True)
    app.mount(f"/{number}", perdure.create_app({"agent": agent}, Settings(data_dir=folder)))
app.mount("/taken", perdure.create_app({"agent": first}, Settings(data_dir=here / "taken")))
"""


@pytest.fixture
async def host(tmp_path):
    """The application in a process of its own: its end must be in order, too."""
    (tmp_path / "host.py").write_text(MODULE, "utf-8")
    port = str(free_port())
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "host:app",
        "--port",
        port,
        "--root-path",
        "/before",
    ]
    process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=environment())
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:

        async def up():
            try:
                return await http.get("/none")
            except httpx.TransportError:
                return None

        try:
            await eventually(up, within_s=30, what="the application answers")
            yield http
        finally:
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 15) in (0, -signal.SIGTERM)


async def test_mounted_apps_open_at_their_first_call(host):
    """Frameworks run no lifespan of what is mounted. Guard: `_unopened` of the guard."""
    for number, said in enumerate(("one", "two")):
        place = f"/{number}"
        asked = await asyncio.gather(
            *(host.post(f"{place}/api/invoke_endpoint", json={"message": "hi"}) for _ in range(5))
        )
        assert {response.status_code for response in asked} == {202}
        for response in asked:
            request_id = response.json()["request_id"]
            assert response.headers["location"] == f"/before{place}/api/requests/{request_id}"
            stream = await host.get(f"{place}/api/requests/{request_id}/stream")
            assert said in stream.text
            assert stream.text.count("event: response.completed") == 1
        wrong = await host.put(f"{place}/api/chats")
        assert wrong.headers["allow"] == "GET, POST"
        probe = await host.get(f"{place}/readyz", headers={"Host": "by.another.name"})
        assert probe.status_code == 200


async def test_a_mounted_app_that_cannot_open_says_why_and_opens_once_it_can(host, tmp_path):
    """Guard: `_open` forgets that the store could not be opened."""
    taken = SqliteStore(tmp_path / "taken" / "perdure.db")
    await taken.open()
    try:
        for _ in range(2):
            refused = await host.get("/taken/api/chats")
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert "Another process is using" in refused.json()["detail"]
    finally:
        await taken.close()
    opened = await asyncio.gather(*(host.get("/taken/api/chats") for _ in range(5)))
    assert {response.status_code for response in opened} == {200}
