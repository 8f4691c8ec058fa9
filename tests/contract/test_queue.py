"""The promise of the port `Queue`: each id reaches some worker, at least or at most once."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from perdure.ports import Queue
from perdure.queues.inprocess import InProcessQueue
from tests.world.waiting import eventually


@asynccontextmanager
async def inprocess() -> AsyncIterator[Queue]:
    yield InProcessQueue()


ADAPTERS: dict[str, Callable[[], AbstractAsyncContextManager[Queue]]] = {"inprocess": inprocess}


@pytest.fixture(params=ADAPTERS)
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[Queue]:
    async with ADAPTERS[request.param]() as made:
        yield made


class Worker:
    """Remembers what was delivered to it, and in which thread."""

    def __init__(self, queue):
        self.delivered = []
        self.threads = set()
        queue.consume(self._deliver)

    def _deliver(self, request_id):
        self.delivered.append(request_id)
        self.threads.add(threading.get_ident())

    async def has(self, *request_ids):
        async def all_there():
            return set(request_ids) <= set(self.delivered)

        await eventually(all_there, within_s=5, what=f"{request_ids} delivered")


async def test_each_id_is_delivered(queue):
    """A queue that works loses nothing; what it loses is delivered again by the reconciler."""
    worker = Worker(queue)
    ids = [f"resp_{n}" for n in range(100)]
    await queue.enqueue(ids[:50])
    for request_id in ids[50:]:
        await queue.enqueue([request_id])
    await worker.has(*ids)


async def test_deliveries_come_in_this_process_s_loop(queue):
    """A delivery starts a task; it needs the loop."""
    worker = Worker(queue)
    await queue.enqueue(["resp_1"])
    await worker.has("resp_1")
    assert worker.threads == {threading.get_ident()}


async def test_nothing_to_deliver_is_fine(queue):
    """An admission that found nobody enqueues nothing."""
    worker = Worker(queue)
    await queue.enqueue([])
    await queue.enqueue(["mark"])
    await worker.has("mark")
    assert worker.delivered == ["mark"]


async def test_enqueueing_before_anybody_consumes_is_no_error(queue):
    """A start may admit before its worker listens; the reconciler delivers again."""
    await queue.enqueue(["resp_early"])
    worker = Worker(queue)
    await queue.enqueue(["resp_late"])
    await worker.has("resp_late")
