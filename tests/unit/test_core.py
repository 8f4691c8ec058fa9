"""A process's parts together: what one of them does must not be in the way of the others."""

from __future__ import annotations

import pytest

from perdure.app import build_core
from perdure.deltas import Finish
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
