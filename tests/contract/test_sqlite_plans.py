"""What happens for each question, and each second, costs the same however much is stored.

The guard is `rows.UNFINISHED`: without this term SQLite passes over the indexes of the unfinished
requests and looks at every request that was ever made.
"""

from __future__ import annotations

import re
import time

import apsw
import pytest

from perdure.model import Status
from perdure.stores.sqlite import SqliteStore
from tests.contract.stores import READ_BYTES, RUN, SqliteHarness, question, take

GROWING = "request|message|chat|segment|webhook|idempotency|input|feedback"
BOUNDED = "request_waiting|request_active|request_active_chat|webhook_due"
"""Indexes whose size is that of the work in hand."""

SCAN = re.compile(rf"SCAN ({GROWING}|[a-z])\b(?! (VIRTUAL|USING (COVERING )?INDEX ({BOUNDED})))")


@pytest.fixture
async def store(tmp_path):
    harness = SqliteHarness(tmp_path)
    await harness.store.open()
    yield harness.store
    await harness.store.close()


class Plans:
    """Remembers what SQLite does for each statement that a store runs."""

    def __init__(self, store: SqliteStore) -> None:
        self.steps: dict[str, list[str]] = {}
        self._asked = apsw.Connection(str(store.db.path), flags=apsw.SQLITE_OPEN_READONLY)
        for connection in (store.db.writer, store.db.reader):
            connection.exec_trace = self._heard

    def _heard(self, _cursor: apsw.Cursor, sql: str, values: apsw.Bindings | None) -> bool:
        if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", sql) and sql not in self.steps:
            plan = self._asked.execute(f"EXPLAIN QUERY PLAN {sql}", values)
            self.steps[sql] = [row[3] for row in plan]
        return True

    @property
    def scans(self) -> dict[str, list[str]]:
        """The statements that look at all rows of something that grows."""
        found = {
            sql: [step for step in steps if SCAN.match(step)] for sql, steps in self.steps.items()
        }
        return {sql: steps for sql, steps in found.items() if steps}

    def close(self) -> None:
        self._asked.close()


async def live(store: SqliteStore, user: str) -> None:
    """Do what is done for each question, each answer, each look at a chat, and each second."""
    for _ in range(2):
        made = await store.accept(question(user))
        await store.admit(RUN)
        claim = await take(store, made.request.id)
        await store.renew({made.request.id: claim.claim_id}, 30)
        await store.read({made.request.id: -1}, READ_BYTES)
        await store.positions()
        await store.counts()
        await store.figures()
        await store.undelivered(10)
        await store.reap(lambda _: None)
        await store.cancel(made.request.id)
        await store.read({made.request.id: 0}, READ_BYTES)
        request = await store.request(made.request.id, user)
        await store.chat(request.chat_id, user)
        await store.chats(user)
        await store.chats_since(user, 0)
        await store.messages(request.chat_id, user)
        await store.requests(None, status=Status.STREAMING)
        await store.requests(user, chat_id=request.chat_id)
        await store.take_webhooks(30)
        await store.overview(time.time() - 60, 10)


async def test_no_daily_work_looks_at_all_that_is_stored(store):
    plans = Plans(store)
    await live(store, "alice")
    assert len(plans.steps) > 30
    assert plans.scans == {}
    plans.close()


def test_a_scan_is_told_from_a_search():
    """The control of the test above."""
    assert SCAN.match("SCAN request")
    assert SCAN.match("SCAN request USING INDEX request_person")
    assert SCAN.match("SCAN r USING COVERING INDEX request_everyone")
    assert not SCAN.match("SCAN request USING INDEX request_waiting")
    assert not SCAN.match("SEARCH request USING INDEX request_person (user_id=?)")
    assert not SCAN.match("SCAN journal")
