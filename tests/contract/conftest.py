"""A store of each adapter, empty and open, for the promises of `ports.Store`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.ports import Store
from tests.contract.stores import ADAPTERS, Harness


@pytest.fixture(params=ADAPTERS)
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    async with ADAPTERS[request.param](tmp_path) as made:
        yield made


@pytest.fixture
def store(harness: Harness) -> Store:
    return harness.store
