"""Many machines: servers and Celery workers in processes of their own, and each fault of the table.

Leases are 4 s here instead of 30, so that bounds which depend on them are a few seconds.
"""

from __future__ import annotations

import pytest

from tests.world.cluster import Cluster
from tests.world.waiting import eventually

pytestmark = pytest.mark.timeout(240)
TAKEN_OVER_S = 4 + 1 + 5  # lease, two looks of the reaper, and a slow machine


def script(name, chunks=40, rate=20, **more):
    return {"name": name, "chunks": chunks, "rate": rate, **more}


async def streaming(world, request_id):
    """Wait until an answer is being produced and some of it is stored."""

    async def begun():
        request = await world.api.request(request_id)
        return request["status"] == "streaming" and request["partial_response"]

    return await eventually(begun, within_s=20, what=f"{request_id} streams")


async def test_answers_of_workers_are_whole_at_every_server(tmp_path, rng):
    """The whole way: accepted here, run there, read anywhere, by all transports."""
    async with Cluster(tmp_path, rng) as world:
        for n in range(20):
            request_id = await world.ask(script(f"q{n}"))
            for kind in ("sse", "ws", "poll"):
                world.follow(kind, request_id, fickle=bool(n % 2))
        logs = await world.judge_complete()
        assert all(log.attempts == 1 for log in logs.values())
