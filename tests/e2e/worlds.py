"""The servers of the browser tests: modules that need the same settings share one."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tests.world.world import World

FRAGILE = {
    "agent": {"attempts_max": 1, "recovery": "fail", "examples": ["Why?", "How so?"]},
    "agents": {"thinker": {"handler": "python", "module": "tests.e2e.talkers:thinker"}},
}
"""What most modules need: an agent whose answers end with the first fault, and one that thinks."""


class Worlds:
    """Starts a server when the first test asks for its settings; all live until the last test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.worlds: dict[str, World] = {}

    async def of(self, options: dict[str, Any]) -> World:
        """Return the world with these keyword arguments."""
        key = json.dumps(options, sort_keys=True)
        if key not in self.worlds:
            folder = self.folder / str(len(self.worlds))
            world = World(folder, random.Random(0), **options)
            self.worlds[key] = await world.__aenter__()
        return self.worlds[key]

    async def close(self) -> None:
        for world in self.worlds.values():
            await world.__aexit__(None)
