"""A worker process: Celery delivers ids to it, one event loop runs all of its answers.

`perdure worker` starts it; `celery -A perdure.worker worker` does the same. Celery's threads only
wait: each holds one slot until its request has ended, was handed over, or belongs to somebody else.
What must hold is forced here, whatever a user configures or types.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

import uvloop
from celery import Celery, signals
from prometheus_client import start_http_server

from perdure import logs
from perdure.app import build_agents, build_core
from perdure.core import Core
from perdure.errors import PerdureError, SettingsError
from perdure.ports import Agent
from perdure.queues.celery import TASK, CeleryQueue, Echo
from perdure.runner import LEAVE_S
from perdure.settings import Settings, load

log = logging.getLogger("perdure.worker")

POOL = "threads"
OPEN_S = 60.0
CLOSE_S = 4.5
LATE_EXIT = 70


class Host:
    """The event loop of a worker process, in a thread of its own, and all that runs on it."""

    def __init__(self, settings: Settings, agents: Mapping[str, Agent]) -> None:
        self._settings = settings
        self._agents = agents
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="answers", daemon=True)
        self._core: Core | None = None
        self._figures: WSGIServer | None = None
        self._left = asyncio.Event()
        self._late: threading.Timer | None = None
        self._busy = 0

    @property
    def core(self) -> Core:
        """The parts of this process, once it is open."""
        assert self._core is not None, "the worker has not started"  # noqa: S101
        return self._core

    def start(self) -> None:
        """Open everything; raises `PerdureError` when that cannot be."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(OPEN_S)

    async def _open(self) -> None:
        core = build_core(self._settings, self._agents, worker=True)
        self._show_figures(core)
        await core.open()
        self._core = core

    def _show_figures(self, core: Core) -> None:
        """Let Prometheus ask this process, in a thread of its own; it has no other HTTP server."""
        wanted = self._settings.worker
        if not wanted.metrics_port:
            return
        try:
            self._figures, _ = start_http_server(
                wanted.metrics_port, wanted.metrics_host, core.metrics.registry
            )
        except OSError as error:
            where = f"{wanted.metrics_host}:{wanted.metrics_port}"
            detail = f"worker.metrics_port: cannot listen on {where}: {error.strerror}."
            raise SettingsError(detail, code="port_in_use") from None

    def run(self, request_id: str) -> bool:
        """See a delivered request through, from a thread of the pool; False: we are leaving."""
        done = asyncio.run_coroutine_threadsafe(self._run(request_id), self._loop)
        return done.result()

    async def _run(self, request_id: str) -> bool:
        """Wait for the run's end, but not for one that does not stop when the process leaves."""
        self._busy += 1
        run = asyncio.ensure_future(self.core.runner.run(request_id))
        left = asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait([run, left], return_when=asyncio.FIRST_COMPLETED)
            return run.result() if run.done() else True
        finally:
            left.cancel()
            self._busy -= 1

    @property
    def free(self) -> bool:
        """Whether a slot is free, so that a delivery would come at once."""
        return self._busy < self._settings.worker.running_max

    def leave(self) -> None:
        """Begin to leave, or end the grace when it has begun; from a signal handler."""
        if self._late is None:
            # A loop that is stuck drains nothing, nor would it start a timer: its leases will tell.
            late_s = self._settings.drain_grace_s + LEAVE_S + CLOSE_S
            self._late = threading.Timer(late_s, _give_up)
            self._late.daemon = True
            self._late.start()
        self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        self._leaving = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        await self.core.drain()
        self._left.set()

    def close(self) -> None:
        """Let go of everything; the pool has no work any more."""
        if self._core is not None:
            asyncio.run_coroutine_threadsafe(self._core.close(), self._loop).result(OPEN_S)
        if self._figures is not None:
            self._figures.shutdown()
            self._figures.server_close()


def _give_up() -> None:
    log.critical("stopping: what runs here does not stop")
    logging.shutdown()
    os._exit(LATE_EXIT)


def make(settings: Settings, agents: Mapping[str, Agent]) -> Celery:
    """Return a Celery application whose worker answers the requests of this deployment.

    Raises:
        SettingsError: the settings name no workers.

    """
    if not settings.has_workers:
        detail = "A worker needs a broker: set queue_url = celery+redis://… (and a shared store)."
        raise SettingsError(detail)
    app = CeleryQueue(settings.broker_url, settings.prefix).app
    app.conf.worker_pool = POOL
    app.conf.worker_concurrency = settings.worker.running_max
    host = Host(settings, agents)
    echo = Echo(app, settings.prefix, settings.worker.silent_max_s, free=lambda: host.free)

    @app.task(name=TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def respond(request_id: str) -> None:
        if not host.run(request_id):
            app.send_task(TASK, (request_id,), retry=False, ignore_result=True)

    _connect(host, echo)
    return app


def _connect(host: Host, echo: Echo) -> None:
    """Tie the host's life to that of Celery's worker."""

    @signals.worker_init.connect(weak=False)  # type: ignore[untyped-decorator]
    def start(sender: Any, **_: object) -> None:
        if not sender.pool_cls.__module__.endswith("concurrency.thread"):
            sys.exit("perdure: a worker needs Celery's pool `threads`; leave out --pool.")
        _start(host)

    @signals.celeryd_after_setup.connect(weak=False)  # type: ignore[untyped-decorator]
    def listen(instance: Any, **_: object) -> None:
        echo.listen(instance)

    @signals.worker_ready.connect(weak=False)  # type: ignore[untyped-decorator]
    def ready(**_: object) -> None:
        log.info("worker %s is ready", host.core.runner.worker_id)
        echo.start()

    @signals.worker_shutting_down.connect(weak=False)  # type: ignore[untyped-decorator]
    def leave(**_: object) -> None:
        echo.stop()
        host.leave()

    @signals.worker_shutdown.connect(weak=False)  # type: ignore[untyped-decorator]
    def close(**_: object) -> None:
        host.close()


def _start(host: Host) -> None:
    """Start, or leave: Celery only logs what is raised here, and goes on to take deliveries."""
    try:
        host.start()
    except PerdureError as error:
        sys.exit(f"perdure: {error.detail}")
    except Exception:
        log.exception("the worker cannot start")
        sys.exit(LATE_EXIT)


def run(settings: Settings, modules: Sequence[str] = ()) -> int:
    """Work until a signal says otherwise; return the exit code."""
    logs.set_up(settings)
    for chatter in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(chatter).setLevel(logging.WARNING)  # two lines for each question
    app = make(settings, build_agents(settings, modules))
    level = f"--loglevel={settings.log_level}"
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    name = f"--hostname=perdure-{os.getpid()}@%h"
    ended: list[int] = []

    @signals.worker_shutdown.connect(weak=False)  # type: ignore[untyped-decorator]
    def note(sender: Any, **_: object) -> None:
        ended.append(int(sender.exitcode or 0))  # else it is told to nobody

    try:
        app.worker_main(["worker", level, name, *quiet])
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
            return 1
        return int(end.code or 0)
    return max(ended, default=0)


def __getattr__(name: str) -> Celery:
    """Make the application for `celery -A perdure.worker`, from the settings of this folder."""
    if name not in ("app", "celery"):
        raise AttributeError(name)
    config = os.environ.get("PERDURE_CONFIG")
    settings = load(Path(config) if config else None)
    made = make(settings, build_agents(settings))
    globals().update(app=made, celery=made)
    return made
