"""Signs of life of a process that shares its store: leases renewed from a thread of its own.

A loop that computes for long must not lose its leases, and one that is stuck must not keep them:
the thread renews as long as the loop answers now and then, and ends the process when it does not.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable

from perdure.errors import PerdureError, Unavailable
from perdure.outage import Outage
from perdure.ports import Roll, Store
from perdure.runner import Runner

log = logging.getLogger("perdure.heartbeat")

TICK_S = 0.5
FROZEN_S = 5.0
"""A tick that is later than this says that the whole process was stopped, not only the loop."""
CLOSE_S = 5.0
RETRY_S = 2.0
LEASES_ON_ROLL = 2
"""A worker counts for so many leases after its last sign of life: an outage is no departure."""
STUCK_EXIT = 70


class Heartbeat:
    """Renews the leases of a process's runs.

    Args:
        runner: whose runs.
        store: for this thread alone, closed.
        lease_s: how long a claim holds without renewal.
        silent_max_s: how long the loop may fail to answer.
        slots: how many runs the process takes at once, to be kept on the store's roll; 0 = it is
            no worker, or the store has no roll.
        end: ends the process, with a sentence why.

    """

    def __init__(
        self,
        runner: Runner,
        store: Store,
        *,
        lease_s: float,
        silent_max_s: float,
        slots: int = 0,
        end: Callable[[str], None] | None = None,
    ) -> None:
        self._runner = runner
        self._store = store
        self._lease_s = lease_s
        self._silent_max_s = silent_max_s
        self._roll = store if slots and isinstance(store, Roll) else None
        self._slots = slots
        self._end = end or _exit
        self._renewing = Outage(log, "renewing leases")
        self._due = 0.0
        self._open = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, watching the loop that runs now."""
        self._loop = asyncio.get_running_loop()
        self._answered = self._renewed = time.monotonic()
        self._thread = threading.Thread(target=self._live, name="heartbeat", daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Take the process off the roll soon: it takes nothing more."""
        self._slots, self._due = 0, 0.0

    async def close(self) -> None:
        """End; leases lapse from here on."""
        if self._thread is not None:
            self._stop.set()
            await asyncio.to_thread(self._thread.join, CLOSE_S)

    def _live(self) -> None:
        asyncio.run(self._beats())

    async def _beats(self) -> None:
        ticked = time.monotonic()
        while not self._stop.is_set():
            await asyncio.sleep(min(TICK_S, self._lease_s / 6))
            now = time.monotonic()
            if now - ticked > FROZEN_S:
                self._answered = now  # nobody could answer: let the loop wake up first
            ticked = now
            self._look_after_loop(now)
            if now >= self._due:
                self._due = now + self._lease_s / 3
                if not await self._renew():
                    self._due = min(self._due, now + RETRY_S)
        await self._store.close()

    def _look_after_loop(self, now: float) -> None:
        silent = now - self._answered
        if silent > self._silent_max_s:
            self._end(f"the event loop did not answer for {silent:.0f} s")
        self._tell(self._answer)

    def _answer(self) -> None:
        self._answered = time.monotonic()

    async def _renew(self) -> bool:
        """Extend all leases and stay on the roll; tell whether that was possible.

        Without success for two thirds of a lease all runs stop.
        """
        claims = self._runner.claims()
        try:
            if not self._open:
                await self._store.open()
                self._open = True
            owned = await self._store.renew(claims, self._lease_s)
            if self._roll is not None:
                for_s = self._lease_s * LEASES_ON_ROLL
                await self._roll.present(self._runner.worker_id, self._slots, for_s)
        except PerdureError as error:
            self._failed(error)
            return False
        except Exception:
            # A bug below costs this renewal; with the thread all further ones would be lost.
            log.exception("the store broke on a renewal")
            self._failed(Unavailable("The leases could not be renewed."))
            return False
        self._renewing.worked()
        self._renewed = time.monotonic()
        for request_id in claims.keys() - owned:
            self._tell(self._runner.lose, request_id, claims[request_id])
        return True

    def _failed(self, error: PerdureError) -> None:
        self._renewing.failed(error)
        if time.monotonic() - self._renewed > self._lease_s * 2 / 3:
            self._tell(self._runner.fence, error)

    def _tell(self, what: Callable[..., None], *given: object) -> None:
        """Call something in the loop, if that still runs."""
        try:
            self._loop.call_soon_threadsafe(what, *given)
        except RuntimeError:
            self._stop.set()


def _exit(why: str) -> None:
    """End the process at once: its runs are taken over when their leases lapse."""
    log.critical("stopping: %s", why)
    logging.shutdown()
    os._exit(STUCK_EXIT)
