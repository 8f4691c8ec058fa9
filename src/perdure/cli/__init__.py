"""The `perdure` command: runs the server, talks to one as a client, and looks after the data.

Modules are imported inside the commands that need them, so that `perdure --help` answers at once.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from perdure.cli.exits import ExitCode
from perdure.errors import PerdureError
from perdure.steering import harmless


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (`docs/cli.md` lists them).

    Args:
        argv: the words after `perdure`; None = this process's own.

    """
    try:
        code = _run(argv)
        sys.stdout.flush()  # else Python finds out at its exit, and complains in its own words
    except BrokenPipeError:
        code = ExitCode.FAILED
    except PerdureError as error:
        print(harmless(f"perdure: {error.detail}"), file=sys.stderr)
        return ExitCode.WRONG_USE
    except KeyboardInterrupt:
        return ExitCode.DETACHED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"perdure: cannot write the output: {error.strerror}", file=sys.stderr)
        code = ExitCode.FAILED
    else:
        return code
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())  # for what is left of the output
    return code


def _run(argv: Sequence[str] | None) -> int:
    from perdure.cli.commands import app  # noqa: PLC0415  # typer, only when a command runs

    try:
        app(args=None if argv is None else list(argv), prog_name="perdure")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return ExitCode.OK
