"""`deploy/nginx.conf` in Debian's nginx before two real API processes: streams pass at once."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio

from scripts.prepare import find_tool
from tests.world.cluster import Cluster
from tests.world.readers import WsReader
from tests.world.records import Record
from tests.world.server import ROOT, Process, free_port
from tests.world.waiting import eventually

CONFIG = (ROOT / "deploy" / "nginx.conf").read_text()
SLOW = {"chunks": 40, "rate": 20}
KINDS = ["sse", "ws", "ws log"]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


class Nginx(Process):
    """A real nginx on the project's configuration, with other addresses."""

    def __init__(self, folder: Path, ports: list[int], **changes: str) -> None:
        folder.mkdir()
        super().__init__(folder, "nginx")
        program = find_tool("nginx")
        assert program, "there is no nginx: run `make setup`"
        self.port = free_port()
        (folder / "nginx.conf").write_text(adapted(folder, self.port, ports, **changes))
        self._command = [program, "-e", "stderr", "-p", str(folder), "-c", "nginx.conf"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def forgets(self, port: int) -> None:
        """Wait until no connection to a server that is gone is kept for the next question."""

        async def closed() -> bool:
            mine = [process, *process.children()]
            return not any(port in line.raddr for one in mine for line in one.net_connections())

        process = psutil.Process(self.pid)
        await eventually(closed, within_s=10, what=f"no connection to {port} is left")

    def tested(self) -> tuple[int, str]:
        """Return what nginx says of its configuration."""
        command = [*self._command, "-t"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        return done.returncode, done.stderr

    async def start(self) -> Nginx:
        self.spawn([*self._command, "-g", "daemon off;"])

        async def answers() -> bool:
            assert self.running, self.story()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                return False
            writer.close()
            await writer.wait_closed()
            return True

        await eventually(answers, within_s=10, what="nginx listens")
        return self


def adapted(folder: Path, port: int, ports: list[int], **changes: str) -> str:
    """Return the configuration with ports of this test, and folders that anybody may write."""
    # As root it would hand requests to somebody who may not write there.
    user = "user root; " if os.geteuid() == 0 else ""
    own = [f"{name}_temp_path {folder};" for name in ("client_body", "proxy", "fastcgi", "uwsgi")]
    given = {
        "listen 8080;": f"listen 127.0.0.1:{port};",
        "api1:8000": f"127.0.0.1:{ports[0]}",
        "api2:8000": f"127.0.0.1:{ports[1]}",
        "http {": "\n".join(["http {", *own, f"scgi_temp_path {folder};"]),
        "worker_processes auto;": f"{user}worker_processes 2; pid {folder}/nginx.pid;",
        "worker_rlimit_nofile 65536;": "",
        "worker_connections 16384;": "worker_connections 512;",
        **changes,
    }
    text = CONFIG
    for words, instead in given.items():
        assert text.count(words) == 1, words
        text = text.replace(words, instead)
    return text


@asynccontextmanager
async def standing(folder: Path, ports: list[int], **changes: str) -> AsyncIterator[Nginx]:
    nginx = Nginx(folder, ports, **changes)
    code, said = nginx.tested()
    assert code == 0, said
    assert "warn" not in said, said
    try:
        yield await nginx.start()
    finally:
        nginx.end()


class Fronted(Cluster):
    """Two API processes, whose readers all come through nginx."""

    nginx: Nginx

    def reader(self, kind, request_id, **more):
        reader = super().reader(kind, request_id, **more)
        reader.url = self.nginx.url
        return reader


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fronted")
    async with Fronted(folder, random.Random(0), apis=2, workers=0) as world:
        ports = [server.port for server in world.servers]
        async with standing(folder / "nginx", ports) as world.nginx:
            yield world


@pytest_asyncio.fixture(loop_scope="module")
async def world(made, rng):
    await made.begin(rng)
    yield made
    await made.rest()


async def first_text(reader):
    """Return once a reader was shown some text; it reads on."""
    following = asyncio.create_task(reader.follow(within_s=60))

    async def shown():
        return any(b"output_text.delta" in one.data for one in reader.record.shown)

    await eventually(shown, within_s=30, what="the first text is shown", every_s=0.02)
    return following


async def is_live(world, reader):
    """Tell whether the first text comes while the answer is still being written."""
    following = await first_text(reader)
    state = await world.api.request(reader.record.request_id)
    await following
    return state["status"] == "streaming"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_passes_at_once(world, kind):
    """Guard: no buffering."""
    request_id = await world.ask({"name": kind, **SLOW})
    assert await is_live(world, world.reader(kind, request_id))
    await world.judge_complete()


async def test_without_an_upgrade_there_is_no_websocket(world, tmp_path):
    """Control of the upgrade: its header is what nginx leaves out by itself."""
    ports = [server.port for server in world.servers]
    changes = {"proxy_set_header Upgrade $http_upgrade;": ""}
    async with standing(tmp_path / "nginx", ports, **changes) as plain:
        request_id = await world.ask({"name": "no socket", "chunks": 2})
        reader = WsReader(plain.url, Record(request_id, "no socket"))
        await reader.window()
        assert not reader.record.shown


async def test_readers_go_on_when_the_process_behind_their_stream_is_killed(world):
    """Promise 4 through a proxy: nginx finds the other one, each reader goes on at its cursor."""
    for n, kind in enumerate(["sse", "ws", "ws log", "sse", "ws", "long poll"]):
        request_id = await world.ask({"name": f"{n}", "chunks": 60, "rate": 15})
        world.follow(kind, request_id, within_s=60)
    await asyncio.gather(*(world.api.shown(one, 10) for one in world.accepted))
    await world.servers[0].kill9()
    await asyncio.gather(*world.followers)
    await world.servers[0].start()
    logs = await world.judge_complete()
    assert max(log.attempts for log in logs.values()) > 1, "none was taken over"
    cut = [record for record in world.records if len(record.windows) > 1]
    assert cut, "no stream went through the process that was killed"


async def test_questions_are_answered_while_one_process_is_away(world):
    """Guard: `proxy_next_upstream` and `max_fails`; POSTs that were never sent may go elsewhere."""
    await asyncio.sleep(2.5)  # why: for 2 s nginx passes over the other one, if a test killed it
    await world.servers[1].kill9()
    await world.nginx.forgets(world.servers[1].port)
    try:
        async with httpx.AsyncClient(base_url=world.nginx.url, trust_env=False) as http:
            for n in range(6):
                question = {"message": json.dumps({"name": f"q{n}", "chunks": 2})}
                answer = await http.post("/api/invoke_endpoint", json=question)
                assert answer.status_code == 202, answer.text
                world.remember(answer.json(), {"name": f"q{n}", "chunks": 2})
        await world.judge_complete()
    finally:
        await world.servers[1].start()


async def test_a_large_question_is_judged_by_perdure_and_a_huge_one_by_nginx(world):
    """The limit behind the limit: people get the problem that names the setting."""
    async with httpx.AsyncClient(base_url=world.nginx.url, trust_env=False) as http:
        large = await http.post("/api/invoke_endpoint", json={"message": "x" * 4_500_000})
        assert large.status_code == 413
        assert large.headers["content-type"] == "application/problem+json"
        huge = await http.post("/api/invoke_endpoint", json={"message": "x" * 5_500_000})
        assert huge.status_code == 413
        assert huge.headers["server"] == "nginx"


async def test_nobody_says_of_himself_who_he_is(tmp_path):
    """Guard: the headers that name a person are taken away; nginx is a trusted proxy."""
    heads: list[bytes] = []

    async def answer(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    backend = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = backend.sockets[0].getsockname()[1]
    async with backend, standing(tmp_path / "nginx", [port, port]) as nginx:
        claims = {f"X-Forwarded-{name}": "eve" for name in ("User", "Email", "Preferred-Username")}
        async with httpx.AsyncClient(base_url=nginx.url, trust_env=False) as http:
            assert (await http.get("/api/me", headers=claims)).status_code == 204
    (head,) = heads
    assert b"eve" not in head
    assert f"Host: 127.0.0.1:{nginx.port}".encode() in head
    assert b"X-Forwarded-For: 127.0.0.1" in head
