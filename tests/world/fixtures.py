"""A world shared by a module's tests; each test begins with empty records and an empty call log.

A module asks for it with `pytestmark = pytest.mark.asyncio(loop_scope="module")`, and says what it
needs in `WORLD`, the keyword arguments of `World`.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.world.world import World


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """Start the module's server; it lives until the last test of the module."""
    options = getattr(request.module, "WORLD", {})
    folder = tmp_path_factory.mktemp("world")
    async with World(folder, random.Random(0), **options) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared_world: World, rng: random.Random) -> AsyncIterator[World]:
    """Hand out the shared world as if it were new, and leave nothing running in it."""
    await shared_world.begin(rng)
    yield shared_world
    await shared_world.rest()
    print(shared_world.server.story())  # noqa: T201 pytest shows it beside a failure
