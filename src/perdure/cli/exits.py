"""What the exit codes of `perdure` mean; scripts rely on them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The whole table, as in `docs/cli.md`."""

    OK = 0
    """Done: the answer is complete, the question is accepted (`--detach`), nothing is wrong."""
    FAILED = 1
    """The answer failed, `cancel` came too late, `check` found something, `serve` did not start."""
    WRONG_USE = 2
    """The command could not be carried out: wrong flags or settings, no server, unknown id."""
    CANCELLED = 3
    """The answer was cancelled, here or elsewhere."""
    DETACHED = 130
    """Ctrl-C left an answer that goes on (130 is what shells use for Ctrl-C)."""
