"""`python -m tests.world.sabotage GUARD serve …`: the real program with one guard switched off.

For controls: a chaos test that still passes under its sabotage proves nothing. `die-undelivered` is
no guard but a fault at an instant that no signal from outside could hit.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from perdure import accept, cli, runner, tail
from perdure.ports import Accepted, Append
from perdure.stores import sqlite
from perdure.stores.sqlite.database import Database
from perdure.stores.sqlite.log import Live, Log

LATE_S = 0.7


class LateDatabase(Database):
    """Shows first and commits later: whoever is told and killed in between was told a lie."""

    def open(self) -> None:
        super().open()
        self.reader.close()
        self.reader = self.writer
        self.writer.execute("BEGIN IMMEDIATE")

    def flush(self) -> None:
        batch, self._pending = self._pending, []
        for work, future in batch:
            result, problem = self._attempt(work)
            if not future.done():
                future.set_exception(problem) if problem else future.set_result(result)
        if not hasattr(self, "_late"):
            self._late = asyncio.get_running_loop().call_later(LATE_S, self._commit)

    def _commit(self) -> None:
        del self._late
        self.writer.execute("COMMIT")
        self.writer.execute("BEGIN IMMEDIATE")


class OpenLog(Log):
    """Takes whatever anybody appends, under any claim and after any end."""

    def _owner(self, append: Append) -> Live:
        return self.live.setdefault(append.request_id, Live(append.claim_id, append.first))

    def owns(self, request_id: str, claim_id: str) -> bool:
        return True


def show_before_commit() -> None:
    sqlite.Database = LateDatabase  # type: ignore[attr-defined]


def no_fence() -> None:
    """Accept late writers, and let them stay deaf to the courtesy of being told."""
    sqlite.Log = OpenLog  # type: ignore[attr-defined]
    runner.Runner.lose = lambda *_: None  # type: ignore[method-assign]


def inclusive_cursor() -> None:
    """Answer from the cursor on, instead of after it."""
    reader = tail.Tails.reader

    def inclusive(self: tail.Tails, request_id: str, after: int) -> Any:
        return reader(self, request_id, max(-1, after - 1))

    tail.Tails.reader = inclusive  # type: ignore[method-assign]


def no_idempotency() -> None:
    """Forget the key of every question."""
    ask = accept.Acceptance.ask

    async def forgetful(self: accept.Acceptance, question: accept.Question) -> Accepted:
        return await ask(self, msgspec.structs.replace(question, idempotency_key=None))

    accept.Acceptance.ask = forgetful  # type: ignore[method-assign]


def no_shared_fence() -> None:
    """Let workers on PostgreSQL write whatever they once claimed, at whatever number is next."""
    from perdure.stores.postgres import log  # noqa: PLC0415  # not for those who have SQLite

    next_place = "g.id, r.next_sequence - g.count AS first, g.count, g.data, g.place"
    log.APPEND = log.APPEND.replace(log.OWNED, "r.id = g.id").replace(
        "RETURNING g.*", f"RETURNING {next_place}"
    )
    assert next_place in log.APPEND
    runner.Runner.lose = lambda *_: None  # type: ignore[method-assign]


def die_undelivered() -> None:
    """End the process as `kill -9` does, after the commit and before the first delivery."""
    from perdure.queues.celery import CeleryQueue  # noqa: PLC0415  # comes with an extra

    async def enqueue(_: CeleryQueue, request_ids: list[str]) -> None:
        if request_ids:
            os.kill(os.getpid(), signal.SIGKILL)

    CeleryQueue.enqueue = enqueue  # type: ignore[method-assign, assignment]


GUARDS: dict[str, Callable[[], Any]] = {
    "commit-before-show": show_before_commit,
    "fence": no_fence,
    "cursor": inclusive_cursor,
    "idempotency": no_idempotency,
    "shared-fence": no_shared_fence,
    "die-undelivered": die_undelivered,
}

if __name__ == "__main__":
    GUARDS[sys.argv[1]]()
    sys.exit(cli.main(sys.argv[2:]))
