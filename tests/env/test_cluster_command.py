"""`make cluster`: one command, one address, one Ctrl-C."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from scripts.balancer import Balancer
from tests.world import wire
from tests.world.server import environment, free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cluster():
    """Start it as the Makefile does; yield the process and its address."""
    command = [sys.executable, "-m", "scripts.cluster", "--port", "0", "--workers", "1"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert said.startswith("Perdure is at http://127.0.0.1:"), said
        yield process, said.split()[-1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)
        process.stdout.close()


@pytest.mark.timeout(120)
def test_a_cluster_answers_at_one_address_heals_and_stops_with_ctrl_c(cluster):
    """PostgreSQL, broker, two servers and a worker; a killed server is started again."""
    process, address = cluster
    with httpx.Client(base_url=address, timeout=20, trust_env=False) as client:
        asked = client.post("/api/invoke_endpoint", json={"message": "What is Perdure?"}).json()
        request = wait_for_end(client, asked["request_id"])
        assert (request["status"], len(request["final_response"]) > 20) == ("completed", True)
        assert "postgresql" in client.get("/readyz").text
        victim = next(p for p in psutil.Process(process.pid).children() if "serve" in p.cmdline())
        victim.kill()
        assert "started again" in said_after(process, "has ended")
        assert client.get(f"/api/requests/{asked['request_id']}").status_code == 200
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(40) == 0


def wait_for_end(client, request_id):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        query = {"wait_s": 5, "after": 10**6}
        status = client.get(f"/api/requests/{request_id}/status", params=query).json()
        if status["status"] not in ("queued", "streaming"):
            return status
    pytest.fail(f"{request_id} does not end: {status}")


def said_after(process, words):
    """Return the first line of the command with these words."""
    while line := process.stdout.readline():
        if words in line:
            return line
    return ""


async def test_the_balancer_passes_over_a_server_that_is_down():
    """Else every second connection would fail while one of two servers restarts."""

    async def greet(reader, writer):
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    up = server.sockets[0].getsockname()[1]
    front = Balancer([free_port(), up])
    await front.open()
    for _ in range(4):
        answer = await wire.request("GET", f"http://127.0.0.1:{front.port}/")
        assert await answer.body() == b"hi"
        answer.drop()
    await front.close()
    server.close()
