"""After kills, what Prometheus is told agrees with what the clients themselves counted."""

import asyncio
from collections import Counter

import httpx
import pytest

from tests.world import figures
from tests.world.cluster import Cluster
from tests.world.server import free_port
from tests.world.world import World

ENDED = "perdure_requests_ended_total"


async def figures_of(url, port=None):
    """Ask a server, or a worker by its port, as Prometheus does."""
    address = url if port is None else f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        return figures.parse((await client.get(f"{address}/metrics")).text)


async def ask_all_kinds(world, number):
    """Ask for answers that complete, that fail, and that are stopped; return the last."""
    for n in range(6):
        script = {"name": f"good {number} {n}", "chunks": 30, "rate": 40}
        world.follow("sse", await world.ask(script))
    await world.ask({"name": f"refused {number}", "status": 400})
    await world.ask({"name": f"cut {number}", "chunks": 20, "error_at": 5})
    stopped = await world.ask({"name": f"stopped {number}", "chunks": 2000, "rate": 40})
    await world.called(f"stopped {number}")
    return stopped


async def clients_counts(world):
    """Return how often clients saw each end, by status and code of the error."""
    ends = [await world.api.ended(one, within_s=60) for one in world.accepted]
    return Counter((end["status"], (end["error"] or {}).get("code", "")) for end in ends)


@pytest.mark.timeout(180)
async def test_the_figures_agree_with_the_clients_after_kills_of_the_server(tmp_path, rng):
    """Guard: ends are counted in the transaction that ends, not in a process that can die."""
    async with World(tmp_path, rng) as world:
        for number in range(2):
            stopped = await ask_all_kinds(world, number)
            before = await asyncio.gather(*(world.api.request(one) for one in world.accepted))
            running = sum(one["status"] == "streaming" for one in before)
            await world.server.kill9()
            await world.server.start()
            shown = await figures_of(world.server.url)
            taken = figures.total(shown, "perdure_leases_lapsed_total")
            assert 0 < taken <= running, "who ran at the kill was taken over at the start"
            await world.api.cancel(stopped)
        counts = await clients_counts(world)
        await world.judge()
        shown = await figures_of(world.server.url)
        assert figures.by(shown, ENDED, "status", "code") == dict(counts)
        assert {status for status, _ in counts} == {"completed", "failed", "cancelled"}
        accepted = figures.total(shown, "perdure_requests_accepted_total")
        assert accepted == len(world.accepted)
        assert figures.total(shown, "perdure_requests") == 0
        resumed = figures.by(shown, "perdure_attachments_total", "cursor")["resumed"]
        assert resumed > 0, "readers came back behind their cursors"


@pytest.mark.timeout(240)
async def test_the_figures_of_servers_and_workers_agree_after_a_kill_of_a_worker(tmp_path, rng):
    """The sum over processes is what happened; what the killed one counted is in the store."""
    port = free_port()
    async with Cluster(tmp_path, rng, apis=2, workers=1, worker={"metrics_port": port}) as world:
        for n in range(6):
            await world.ask({"name": f"long {n}", "chunks": 60, "rate": 20})
        for n in range(6):
            await world.called(f"long {n}", within_s=30)
        before = await figures_of("", port)
        assert figures.total(before, "perdure_running") == 6
        assert figures.total(before, "perdure_attempts_total") == 6
        await world.workers[0].kill9()
        await world.workers[0].start()
        counts = await clients_counts(world)
        await world.judge_complete()
        servers = [await figures_of(server.url) for server in world.servers]
        for shown in servers:
            assert figures.by(shown, ENDED, "status", "code") == dict(counts)
        worker = await figures_of("", port)
        assert figures.total(worker, "perdure_attempts_total") == 6
        assert figures.total(worker, "perdure_attempt_seconds_count") == 6
        everywhere = [*servers[0], *servers[1], *worker]
        assert figures.total(everywhere, "perdure_leases_lapsed_total", outcome="queued") == 6
        theirs = {sample.name for sample in worker} & {ENDED, "perdure_store_up"}
        assert not theirs, "the store's figures are the servers'"
