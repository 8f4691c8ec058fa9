"""Delivery through a Celery broker: one message per request, which carries the id and nothing else.

Celery has no say in what happens: no results, retries, deadlines, priorities or revocation. A lost
message is delivered again by the reconciler, a doubled one finds nothing to claim.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import KombuError

log = logging.getLogger("perdure.queue")

TASK = "respond"
ANSWER_S = 5
CONNECT_S = 3
FORCED: dict[str, Any] = {
    "task_acks_late": False,
    "task_ignore_result": True,
    "task_publish_retry": False,
    "task_serializer": "json",
    "accept_content": ["json"],
    "result_backend": None,
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    "worker_hijack_root_logger": False,
    "worker_send_task_events": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_max_retries": None,
    "broker_connection_retry_on_startup": True,
    "broker_channel_error_retry": True,  # a primary that became a replica refuses, and recovers
    "broker_connection_timeout": CONNECT_S,
}
"""What must hold, whatever a user configures: else answers run twice, or wait for ever."""


def application(broker_url: str, prefix: str) -> celery.Celery:
    """Return the Celery application of a deployment.

    Args:
        broker_url: where messages wait.
        prefix: keeps deployments on one broker apart.

    """
    app = celery.Celery("perdure", broker=broker_url, set_as_current=False)
    app.conf.update(FORCED)
    app.conf.task_default_queue = prefix
    if broker_url.startswith("redis"):
        app.conf.broker_transport_options = {
            "global_keyprefix": f"{prefix}:",
            "socket_timeout": ANSWER_S,
            "socket_connect_timeout": CONNECT_S,
            "socket_keepalive": True,
            "health_check_interval": 25,
        }
    return app


class CeleryQueue:
    """`ports.Queue` for a process that sends; what a worker receives comes through `worker`."""

    def __init__(self, broker_url: str, prefix: str) -> None:
        self.app = application(broker_url, prefix)
        self._deliver: Callable[[str], None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="celery-publisher")
        self._waiting: deque[str] = deque()
        self._failing: str | None = None

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self.app.close)

    async def enqueue(self, request_ids: Sequence[str]) -> None:
        """Send from a thread of its own: a broker that hangs must not hang the loop."""
        if request_ids:
            self._waiting.extend(request_ids)
            asyncio.get_running_loop().run_in_executor(self._thread, self._send)

    def trouble(self) -> str | None:
        return self._failing

    def consume(self, deliver: Callable[[str], None]) -> None:
        self._deliver = deliver

    def received(self, request_id: str) -> None:
        """Hand over what the worker's broker connection brought; in this process's loop."""
        if self._deliver is not None:
            self._deliver(request_id)

    def _send(self) -> None:
        """Send whatever waits by now in one piece: that costs a third of message by message."""
        request_ids = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not request_ids:
            return
        try:
            with self.app.producer_or_acquire() as producer, producer.batch():
                for request_id in request_ids:
                    self._publish(producer, request_id)
        except (KombuError, OSError) as error:
            why = error.__cause__ or error
            if not self._failing:
                log.warning("cannot reach the broker, will deliver again later: %s", why)
            self._failing = f"the broker cannot be reached: {why}"
            return
        if self._failing:
            log.warning("the broker takes messages again")
        self._failing = None

    def _publish(self, producer: Any, request_id: str) -> None:
        self.app.send_task(TASK, (request_id,), producer=producer, retry=False, ignore_result=True)


ECHO = "perdure.echo"
ECHOES_PER_SILENCE = 4


class Echo:
    """Finds a worker that is connected and hears nothing: it sends itself messages all the time.

    They take the way of any other message, through the broker and the consumer, but lie in a queue
    of this worker. When several were sent, a slot was free, and none came, the worker is deaf: it
    leaves, so that it is started again.
    """

    def __init__(
        self, app: celery.Celery, prefix: str, silent_max_s: float, free: Callable[[], bool]
    ) -> None:
        self._app = app
        self._queue = f"{prefix}.echo.{os.getpid():x}-{random.getrandbits(48):012x}"
        self._silent_max_s = silent_max_s
        self._free = free
        self._unheard = 0
        self._stop = threading.Event()
        app.task(self._heard, name=ECHO, ignore_result=True)

    def listen(self, worker: Any) -> None:
        """Let a worker that is being set up consume the queue of its own."""
        queue = Queue(
            self._queue, Exchange(self._queue), self._queue, durable=False, auto_delete=True
        )
        worker.app.amqp.queues.select_add(queue)

    def start(self) -> None:
        """Begin to send."""
        threading.Thread(target=self._sends, name="echo", daemon=True).start()

    def stop(self) -> None:
        """End; a worker that leaves hears nothing any more."""
        self._stop.set()

    def _heard(self) -> None:
        self._unheard = 0

    def _sends(self) -> None:
        while not self._stop.wait(self._silent_max_s / ECHOES_PER_SILENCE):
            if not self._free():
                self._unheard = 0
            elif self._unheard > ECHOES_PER_SILENCE:
                log.critical("this worker hears nothing of its broker any more: leaving")
                os.kill(os.getpid(), signal.SIGTERM)
                return
            elif self._sent():
                self._unheard += 1

    def _sent(self) -> bool:
        try:
            self._app.send_task(
                ECHO,
                queue=self._queue,
                expires=self._silent_max_s,
                retry=False,
                ignore_result=True,
            )
        except (KombuError, OSError):
            return False  # a broker that is away makes nobody deaf
        except Exception:
            log.exception("could not send itself an echo; whether this worker is deaf is unknown")
            return False
        return True
