"""After kills, what Prometheus is told agrees with what the clients themselves counted."""

import asyncio
from collections import Counter

import httpx
import pytest

from tests.flow.serving import serving
from tests.world import figures
from tests.world.cluster import Cluster
from tests.world.server import free_port
from tests.world.waiting import eventually
from tests.world.world import World

ENDED = "perdure_requests_ended_total"
CALLS = "perdure_http_calls_total"


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
        await agrees_with_clients_and_agents(world)


class Since:
    """What the figures of one process have grown by."""

    def __init__(self, before, after):
        self._both = before, after

    def total(self, name, **labels):
        before, after = (figures.total(shown, name, **labels) for shown in self._both)
        return after - before

    def calls(self):
        """Return how many HTTP calls had which method and status, without those for figures."""
        before, after = (
            Counter(figures.by(shown, CALLS, "method", "status", "route")) for shown in self._both
        )
        grown: Counter[tuple[str, str]] = Counter()
        for (method, status, route), count in (after - before).items():
            if route != "/metrics":
                grown[method, status] += count
        return grown


async def agrees_with_clients_and_agents(world):
    """Calls, events and errors begin with a process: so this is about the life after the kills.

    Guards: `_count` of the HTTP guard, `events` of the journal, `upstream_errors` of the runner,
    `attach` of streams.
    """
    heard: Counter[tuple[str, str]] = Counter()

    async def hear(response):
        heard[response.request.method, str(response.status_code)] += 1

    before, earlier = await figures_of(world.server.url), len(world.accepted)
    world.upstream.forget()
    world.records.clear()
    world.api.http.event_hooks["response"].append(hear)
    for n in range(5):
        asked = await world.ask({"name": f"later {n}", "chunks": 40, "rate": 40})
        world.follow(("sse", "poll")[n % 2], asked, fickle=True)
    await world.ask({"name": "refused", "status": 400})
    await world.ask({"name": "busy", "status": 503, "fail_times": 2, "retry_after": 0})
    await world.ask({"name": "cut", "chunks": 20, "error_at": 5})
    logs = await world.judge()
    since = Since(before, await figures_of(world.server.url))

    windows = [one.ended for record in world.records for one in record.windows]
    streams = sum(one in {"whole", "cut", "dropped"} for one in windows) + len(logs)
    heard["GET", "200"] += streams + sum(len(record.partials) for record in world.records)
    assert since.calls() == heard
    assert since.total("perdure_attachments_total", transport="sse") == streams
    theirs = list(logs.values())[earlier:]
    told = sum(len(log.parsed) - 1 - begun(log) for log in theirs)
    assert since.total("perdure_events_total") == told
    failed = sum(not call.complete for call in world.upstream.calls)
    assert since.total("perdure_upstream_errors_total") == failed == 4


def begun(log):
    """Return the number of the event with which an answer begins: the rest is its run's."""
    return [event["type"] for event in log.parsed].index("response.in_progress")


async def until_streaming(served, request_id):
    async def streaming():
        request = await served.get(f"/api/requests/{request_id}")
        return request if request["status"] == "streaming" else None

    return await eventually(streaming, within_s=15, what=f"{request_id} runs")


async def test_hand_overs_are_as_many_as_are_taken_up_again(tmp_path):
    """Within one process: when it hands over, nobody collects its figures any more."""
    async with serving(tmp_path) as served:
        asked = [(await served.ask(str(n), "steered"))["request_id"] for n in range(3)]
        done = (await served.asked_and_ended())["request_id"]
        for one in asked:
            await until_streaming(served, one)
        metrics = served.core.metrics
    given = metrics.registry.get_sample_value("perdure_hand_overs_total")
    async with serving(tmp_path) as served:
        attempts = [(await until_streaming(served, one))["attempt"] for one in asked]
        assert (attempts, given) == ([2, 2, 2], 3)
        assert (await served.get(f"/api/requests/{done}"))["attempt"] == 1


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
