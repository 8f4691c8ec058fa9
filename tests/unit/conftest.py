"""Lets a module of unit tests name the event loops to run on: `LOOPS = {name: factory}`."""

import asyncio
from collections.abc import Callable, Mapping

import pytest


def pytest_asyncio_loop_factories(
    item: pytest.Function,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return getattr(item.module, "LOOPS", {"asyncio": asyncio.new_event_loop})
