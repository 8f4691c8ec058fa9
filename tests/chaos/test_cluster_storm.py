"""A day of a cluster in a minute: people ask, look, stop and vanish while everything breaks.

Seeded: `--seed` repeats what was asked and broken, as far as a machine's timing lets it. Judged are
the people's own memories, and the rows that must be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time

import httpx
import pytest

from tests.world import wire
from tests.world.api import JSON, question
from tests.world.checker import Log, log_complaints
from tests.world.cluster import Cluster
from tests.world.nemesis import Nemesis
from tests.world.waiting import eventually
from tests.world.world import whole

PEOPLE = 6
STORM_S = 32.0
SOAK_S = 660.0
SETTLED_S = 90.0
PATIENCE_S = 300.0
"""How long a reader waits beyond the storm. Within it no end is sure: an answer may be cut off each
time, and waits a minute before its ninth attempt."""
KINDS = ("sse", "ws", "ws log", "poll", "long poll")


class Person:
    """Somebody who asks one question after the other, by dice.

    Args:
        world: where they ask.
        name: theirs.
        rng: decides what they do.
        seconds: how long they go on asking.

    """

    def __init__(self, world: Cluster, name: str, rng: random.Random, seconds: float):
        self._world = world
        self._seconds = seconds
        self._name = name
        self._rng = rng
        self.stopped: dict[str, JSON] = {}
        """What was said to each of their stops, by request."""

    async def live(self) -> None:
        deadline, number = time.monotonic() + self._seconds, 0
        while time.monotonic() < deadline:
            number += 1
            await self._ask(f"{self._name} {number}")

    async def _ask(self, key: str) -> None:
        rng = self._rng
        script: JSON = {
            "name": key,
            "chunks": rng.randint(5, 120),
            "rate": rng.choice((10, 30, 60)),
        }
        if rng.random() < 0.1:
            script |= {"drop_at": rng.randrange(script["chunks"]), "fail_times": 1}
        if rng.random() < 0.3:
            await self._hang_up(script, key)
        request_id = await self._world.ask_surely(script, key, within_s=90)
        for _ in range(rng.randint(1, 2)):
            self._look(request_id)
        if rng.random() < 0.25:
            await asyncio.sleep(rng.uniform(0, 2))
            await self._stop(request_id)
        await asyncio.sleep(rng.uniform(0, 1.5))

    async def _hang_up(self, script: JSON, key: str) -> None:
        """Send the question and vanish before the answer is there."""
        body = httpx.Request("POST", "http://x", json=question(script)).content
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        url = f"{self._world.address}/api/invoke_endpoint"
        with contextlib.suppress(*wire_losses()):
            async with asyncio.timeout(self._rng.uniform(0, 0.02)):
                (await wire.request("POST", url, headers, body)).drop()

    def _look(self, request_id: str) -> None:
        """Follow the answer to its end, or leave for good in the middle of it."""
        kind, world = self._rng.choice(KINDS), self._world
        within_s = self._seconds + PATIENCE_S
        fickle = self._rng.random() < 0.5
        if self._rng.random() < 0.25:
            reader = world.reader(kind, request_id, fickle=fickle)
            reader.url = world.address
            follower = asyncio.create_task(reader.follow(within_s=within_s))
            asyncio.get_running_loop().call_later(self._rng.uniform(0, 3), follower.cancel)
        else:
            reader = world.follow(kind, request_id, fickle=fickle, within_s=within_s)
            reader.url = world.address

    async def _stop(self, request_id: str) -> None:
        """Press Stop until somebody says what became of it, and remember that."""

        async def told():
            with contextlib.suppress(httpx.HTTPError):
                response = await self._world.api.http.post(f"/api/requests/{request_id}/cancel")
                return response.json() if response.status_code == 200 else None

        what = f"{request_id} is stopped"
        self.stopped[request_id] = await eventually(told, within_s=90, what=what, every_s=0.1)


def wire_losses():
    return (OSError, EOFError, asyncio.IncompleteReadError, TimeoutError)


async def storm(world: Cluster, rng: random.Random, seconds: float) -> dict[str, JSON]:
    """Let people live and a nemesis reign; return what the stops were told, all being mended."""
    nemesis = Nemesis(world, random.Random(rng.random()))
    people = [Person(world, f"p{n}", random.Random(rng.random()), seconds) for n in range(PEOPLE)]
    try:
        lives = [person.live() for person in people]
        await asyncio.gather(nemesis.reign(seconds), *lives)
    finally:
        print(nemesis.story())  # noqa: T201 pytest shows it beside a failure
    return {key: told for person in people for key, told in person.stopped.items()}


async def judged(world: Cluster, stopped: dict[str, JSON]) -> None:
    """Hold everything that anybody was told against the logs and the rows."""
    logs = await world.judge(within_s=SETTLED_S)
    for request_id, log in logs.items():
        status = log.end["response"]["status"]
        if request_id not in stopped:
            assert status == "completed", (request_id, log.end)
        if status == "completed":
            assert log.text == whole(world.accepted[request_id]["script"]), request_id
    for request_id, told in stopped.items():
        log = logs[request_id]
        assert told["status"] == log.end["response"]["status"], request_id
        assert told["sequence_number"] == len(log.events) - 1, f"{request_id}: more after its end"
    asked = await world.rows("SELECT id FROM request")
    assert {row[0] for row in asked} == set(logs), "a question was lost or is there twice"
    messages = await world.rows("SELECT count(*) FROM message WHERE role = 'user'")
    assert messages == [(len(logs),)]


@pytest.mark.timeout(1500)
async def test_a_storm_over_a_cluster_loses_doubles_and_reorders_nothing(tmp_path, rng, soak):
    """Promises 1 to 7. Guards: commit before reply and show, lease, fence, cursor, idempotency.

    The control below, and those of `test_controls.py`, switch some of them off.
    """
    bus = rng.choice(("postgres", "redis"))
    async with Cluster(tmp_path, rng, apis=2, workers=3, bus=bus, own_database=True) as world:
        stopped = await storm(world, rng, SOAK_S if soak else STORM_S)
        await judged(world, stopped)
        assert len(world.accepted) >= PEOPLE
        assert any(record.shown for record in world.records), "nobody looked"


@pytest.mark.timeout(120)
async def test_the_storm_s_judge_sees_two_writers_of_one_answer(tmp_path, rng):
    """Control: with the fence off, a worker that was frozen writes on beside its successor."""
    async with Cluster(tmp_path, rng, apis=1, spoilt=("", "shared-fence")) as world:
        asked = [await world.ask({"name": f"z{n}", "chunks": 300, "rate": 15}) for n in range(4)]
        for request_id in asked:
            await world.api.shown(request_id, 30)
        world.workers[0].signal(signal.SIGSTOP)
        taken_over = "SELECT id FROM request WHERE attempt > 1 AND next_sequence > 40"
        await eventually(lambda: world.rows(taken_over), within_s=30, what="another worker writes")
        world.workers[0].signal(signal.SIGCONT)

        async def spoilt():
            logs = [await log_so_far(world, request_id) for request_id in asked]
            return [words for log in logs for words in log_complaints(log) if "numbers" in words]

        await eventually(spoilt, within_s=30, what="the judge sees a log with two writers")


async def log_so_far(world: Cluster, request_id: str) -> Log:
    """Return a log as it lies in the database, ended or not."""
    found = "SELECT data FROM segment WHERE request_id = $1 ORDER BY last"
    rows = await world.rows(found, request_id)
    return Log(request_id, tuple(event for (data,) in rows for event in data.split(b"\n")))
