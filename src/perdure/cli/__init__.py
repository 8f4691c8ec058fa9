"""The `perdure` command: runs the server, talks to one as a client, and looks after the data.

Modules are imported inside the commands that need them, so that `perdure --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from perdure.cli.exits import ExitCode
from perdure.errors import PerdureError
from perdure.steering import harmless


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (`docs/cli.md` lists them).

    Args:
        argv: the words after `perdure`; None = this process's own.

    """
    from perdure.cli.commands import app  # noqa: PLC0415  # typer, only when a command runs

    try:
        app(args=None if argv is None else list(argv), prog_name="perdure")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except PerdureError as error:
        print(harmless(f"perdure: {error.detail}"), file=sys.stderr)
        return ExitCode.WRONG_USE
    except KeyboardInterrupt:
        return ExitCode.DETACHED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left; Python would complain about it at exit
        return ExitCode.FAILED
    return ExitCode.OK
