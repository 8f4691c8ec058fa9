"""A process's parts together: what one of them does must not be in the way of the others."""

from __future__ import annotations

import pytest

from perdure.app import build_core
from perdure.deltas import Finish
from perdure.errors import Unavailable
from perdure.ports import Agent
from perdure.settings import Settings
from perdure.stores.sqlite import SqliteStore


class Clinging:
    """A handler that cannot let go of its connections."""

    can_continue = False

    async def stream(self, call):
        yield Finish()

    async def close(self):
        raise ZeroDivisionError


async def test_a_part_that_cannot_let_go_holds_up_no_other(tmp_path):
    """Guard: each part is closed whatever the others do; else the file would stay locked."""
    settings = Settings(data_dir=tmp_path)
    core = build_core(settings, {"clinging": Agent(id="clinging", handler=Clinging())})
    await core.open()
    with pytest.raises(ZeroDivisionError):
        await core.close()
    again = SqliteStore(settings.sqlite_path)
    await again.open()
    await again.close()


async def test_a_store_that_leaves_during_the_start_is_opened_anew_by_the_next_call(
    tmp_path, monkeypatch
):
    """Guard: `_open` lets go of the store; else a mounted app would answer 503 for ever."""
    core = build_core(Settings(data_dir=tmp_path), {"a": Agent(id="a", handler=Clinging())})
    take_over, tries = core.reconciler.take_over, []

    async def away_at_first(**how):
        tries.append(1)
        if len(tries) == 1:
            raise Unavailable("The store was away for a moment.")
        await take_over(**how)

    monkeypatch.setattr(core.reconciler, "take_over", away_at_first)
    with pytest.raises(Unavailable):
        await core.open()
    await core.open()
    assert core.opened
    with pytest.raises(ZeroDivisionError):
        await core.close()
