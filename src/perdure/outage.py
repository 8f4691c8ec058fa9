"""Something that fails again and again: a line at its beginning, one a minute, one at its end."""

from __future__ import annotations

import logging
import time

AGAIN_S = 60.0
"""Distance of two lines while it goes on: tries each second would fill the disk, too."""


class Outage:
    """Tells a log of one thing that can fail.

    Args:
        log: whose lines they are.
        what: what fails, as the subject of a sentence.

    """

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._since: float | None = None
        self._told = 0.0

    def failed(self, error: BaseException) -> None:
        """Note a failure."""
        now = time.monotonic()
        if self._since is None:
            self._since = self._told = now
            self._log.warning("%s fails, will try again: %s", self._what, error)
        elif now - self._told >= AGAIN_S:
            self._told = now
            lasts_s = now - self._since
            self._log.warning("%s still fails after %.0f s: %s", self._what, lasts_s, error)

    def worked(self) -> None:
        """Note a success."""
        if self._since is not None:
            lasted_s = time.monotonic() - self._since
            self._log.warning("%s works again after %.0f s", self._what, lasted_s)
            self._since = None
