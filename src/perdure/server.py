"""The process around the application: the socket, the signals, and the way out.

uvicorn waits for open streams before it ends, and ends them as if they were complete. So the drain
begins in the signal handler: streams are aborted with a hint, runs end or are handed over, and only
then uvicorn is told to stop.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from types import FrameType

import uvicorn
import uvloop
from fastapi import FastAPI

from perdure import logs
from perdure.connection import Connection
from perdure.core import Core
from perdure.errors import PerdureError, SettingsError
from perdure.settings import Settings

log = logging.getLogger("perdure")

LISTENERS = 16
"""libuv accepts one connection per listener and turn of the loop; more let crowds in under load."""
BACKLOG = 2048
CLOSE_S = 3
WS_PING_S, WS_PONG_S = 10, 15
"""A peer that is gone is found within the sum of these."""
GC_THRESHOLDS = (10_000, 100, 100)
"""Small collections of what is young, some 5 ms each, and rare ones of the rest: a full one over
many live answers would be felt as a stutter by all of them."""


class Server(uvicorn.Server):
    """uvicorn whose signals begin the drain; a second signal ends its grace, a third one all."""

    def __init__(self, config: uvicorn.Config, core: Core) -> None:
        super().__init__(config)
        self._core = core
        self._signals = 0
        self._loop = asyncio.get_running_loop()
        self._leaving: set[asyncio.Task[None]] = set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to leave; called by the signal handler, at any point of the program."""
        del frame
        self._signals += 1
        if self._signals > 2:  # noqa: PLR2004
            self.force_exit = True
        self._loop.call_soon_threadsafe(self._leave, signal.Signals(sig).name)

    def _leave(self, name: str) -> None:
        log.info("%s: draining; once more to hand over at once", name)
        task = asyncio.create_task(self._drain())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _drain(self) -> None:
        try:
            await self._core.drain()
        finally:
            self.should_exit = True


class _Routine(logging.Filter):
    """Drops uvicorn's complaint about streams that are aborted on purpose."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "without completing response" not in record.getMessage()


def run(core: Core, app: FastAPI) -> int:
    """Serve until a signal; return 0, or 1 after saying why it could not start."""
    logs.set_up(core.settings)
    logging.getLogger("uvicorn.error").addFilter(_Routine())
    logging.getLogger("uvicorn.error").setLevel("WARNING")
    try:
        uvloop.run(_serve(core, app))
    except PerdureError as error:
        sys.stderr.write(f"perdure: {error.detail}\n")
        return 1
    return 0


async def _serve(core: Core, app: FastAPI) -> None:
    listener = _listen(core.settings)
    await core.open()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    server = Server(_config(app, core), core)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is under nohup
        signal.signal(signal.SIGHUP, server.handle_exit)  # its terminal was closed
    try:
        _announce(core, listener)
        await server.serve(sockets=[listener, *(listener.dup() for _ in range(LISTENERS - 1))])
    finally:
        await core.close()
        if core.runner.stuck:
            # The event loop would wait for them for ever; what they wrote is stored.
            log.error("left behind, since they do not stop: %s", ", ".join(core.runner.stuck))
            logging.shutdown()
            os._exit(0)


def _config(app: FastAPI, core: Core) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Connection,
        loop="none",
        ws="websockets-sansio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=CLOSE_S,
        ws_max_size=core.settings.limits.body_bytes_max,
        ws_ping_interval=WS_PING_S,
        ws_ping_timeout=WS_PONG_S,
    )


def _listen(settings: Settings) -> socket.socket:
    """Bind the address; raise `SettingsError` with a sentence when that fails."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Who takes nothing of a whole answer for so long is cut off by the kernel.
        give_up_ms = int(1000 * settings.stream_write_timeout_s) + 5000
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, give_up_ms)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        detail = f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}."
        raise SettingsError(f"{detail} Choose another --port.", code="port_in_use") from None
    listener.setblocking(False)  # noqa: FBT003
    return listener


def _announce(core: Core, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    agents = ", ".join(core.agents)
    sys.stdout.write(f"Perdure is at http://{shown}:{port} (agents: {agents})\n")
    sys.stdout.flush()
