"""The disk takes no more bytes for a while: 503 for new questions, running answers wait, none lost.

The kernel refuses the writes (a file size limit set on the running process), as a full disk does.
"""

import asyncio
import resource

from tests.world.api import question
from tests.world.world import World

FULL_BYTES = 4096
FULL_S = 2.0


def disk_full(server):
    """Let the process write no file beyond its first 4 kB."""
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (FULL_BYTES, hard))


def disk_free(server):
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))


async def test_while_the_disk_is_full_questions_are_refused_and_answers_wait_and_then_go_on(
    tmp_path, rng
):
    """Failure table, disk full. Guards: no partial transaction; nothing shown before its commit."""
    async with World(tmp_path, rng) as world:
        for number in range(5):
            request_id = await world.ask({"name": f"f{number}", "chunks": 200, "rate": 50})
            for kind in ("sse", "ws", "poll"):
                world.follow(kind, request_id)
        for request_id in world.accepted:
            await world.api.shown(request_id, 50)
        disk_full(world.server)
        refused = await world.api.post_question(question({"name": "refused"}), key="once")
        assert (refused.status_code, refused.headers["content-type"]) == (
            503,
            "application/problem+json",
        )
        await asyncio.sleep(FULL_S)  # the fault itself: so long nothing can be stored
        disk_free(world.server)
        later = await world.ask_surely({"name": "later"}, key="once more")
        await world.api.ended(later)
        await world.judge_complete()
        found = (await world.api.get("/api/requests", limit=100))["requests"]
        assert {request["id"] for request in found} == set(world.accepted)
        assert not world.calls("refused")


async def test_while_the_disk_is_full_readyz_says_so_and_healthz_does_not(tmp_path, rng):
    """Ports, `Store.check`: it says when it cannot write, so that a balancer looks elsewhere."""
    async with World(tmp_path, rng) as world:
        await world.api.ended(await world.ask({"name": "before"}))
        disk_full(world.server)
        assert (await world.api.http.get("/readyz")).status_code == 503
        assert (await world.api.http.get("/healthz")).status_code == 200
        disk_free(world.server)
        assert (await world.api.http.get("/readyz")).status_code == 200
        await world.judge_complete()


async def test_a_kill_while_the_disk_is_full_takes_back_nothing_that_was_shown(tmp_path, rng):
    """Promise 3, both faults at once."""
    async with World(tmp_path, rng) as world:
        request_id = await world.ask({"name": "both", "chunks": 400, "rate": 100})
        for kind in ("sse", "ws", "poll"):
            world.follow(kind, request_id)
        await world.api.shown(request_id, 100)
        disk_full(world.server)
        await asyncio.sleep(0.5)  # the fault itself
        await world.server.kill9()
        await world.server.start()
        await world.judge_complete()


async def test_a_server_that_is_told_to_leave_while_the_disk_is_full_leaves_in_order(tmp_path, rng):
    """Guard: the checkpoint of `Database.close` may fail; it ended in a traceback and code 1."""
    async with World(tmp_path, rng) as world:
        await world.api.ended(await world.ask({"name": "before"}))
        disk_full(world.server)
        process = world.server.child
        assert process is not None
        await world.server.stop()
        assert "Traceback" not in world.server.story()
        assert process.returncode == 0
        await world.server.start()
        await world.judge_complete()
