"""An agent that does not stop when it is told to does not keep the server from stopping."""

from __future__ import annotations

import httpx

from tests.world.server import Server

AGENT = """
import asyncio

async def stuck(messages, context):
    yield "so far "
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
"""
CONFIG = 'drain_grace_s = 0.5\n[agents.stuck]\nhandler = "python"\nmodule = "stuck_agent:stuck"\n'


async def test_sigterm_ends_a_server_whose_agent_ignores_it(tmp_path, monkeypatch):
    """Failure table, SIGTERM: at most 15 s. Guard: the drain's last bound; what was said stays."""
    (tmp_path / "stuck_agent.py").write_text(AGENT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = Server(tmp_path, CONFIG)
    try:
        await server.start()
        async with httpx.AsyncClient(base_url=server.url) as client:
            asked = await client.post("/api/invoke_endpoint", json={"message": "x"})
            path = f"/api/requests/{asked.json()['request_id']}/status"
            await client.get(path, params={"wait_s": 10, "after": 3})
        assert await server.stop(within_s=20) <= 15
        await server.start()
        async with httpx.AsyncClient(base_url=server.url) as client:
            status = (await client.get(path)).json()
        assert status["partial_content"] == "so far "
        assert status["status"] in ("queued", "streaming")
    finally:
        server.end()
