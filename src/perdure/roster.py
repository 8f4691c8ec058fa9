"""Whether anybody is there to answer, where worker processes do."""

from __future__ import annotations

import logging

from perdure.ports import Roll

log = logging.getLogger("perdure.roster")

NOBODY = "No worker is here: start `perdure worker`."


class Roster:
    """The roll of workers as a server looks at it.

    Args:
        roll: of the deployment; None: this process needs no other one.

    """

    def __init__(self, roll: Roll | None) -> None:
        self._roll = roll
        self._missed = False

    async def workers(self) -> int | None:
        """Return how many workers are there; None where none is needed."""
        return None if self._roll is None else await self._roll.workers()

    async def trouble(self) -> str | None:
        """Say that nobody answers; None: somebody does."""
        return NOBODY if await self.workers() == 0 else None

    async def look(self) -> None:
        """Log once when the last worker is gone, and once when one is there again."""
        missed = await self.trouble() is not None
        if missed != self._missed:
            log.warning(NOBODY if missed else "A worker is here again.")
        self._missed = missed
