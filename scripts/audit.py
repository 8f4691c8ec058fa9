"""Ask the advisory databases about every pinned package: `make audit`.

It needs the network. It fails when a hole is found, and as loudly when nobody could be asked: an
audit that was not made must not look like one that found nothing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts import web
from scripts.prepare import REQUIREMENTS, ROOT, VENV, environment

PIP_AUDIT = "pip-audit==2.10.1"
PYTHON_SETS = (
    "runtime.txt",
    "all.txt",
    "dev.txt",
    "build.txt",
    "litellm.txt",
    "mlflow.txt",
    "openai-1.txt",
)
NPM_FOLDERS = ("web", "tests/clients", "tests/next", "tests/provider")
Check = tuple[str, Sequence[str], Path]


def main() -> int:
    """Audit everything; return 1 with the names of what failed."""
    failed = run(checks())
    if failed:
        print(f"make audit failed: {', '.join(failed)}", file=sys.stderr)
        print("A hole was found, or the database did not answer: see above.", file=sys.stderr)
    return int(bool(failed))


def run(wanted: Iterator[Check]) -> list[str]:
    """Run each check, whatever became of the others; return the names of those that failed."""
    return [
        name
        for name, command, folder in wanted
        if subprocess.run(command, cwd=folder, env=environment(), check=False).returncode
    ]


def checks() -> Iterator[Check]:
    """Yield name, command and folder of each check."""
    tool = [str(VENV / "bin" / "uv"), "tool", "run", "--from", PIP_AUDIT, "pip-audit"]
    for name in PYTHON_SETS:
        pins = ["--requirement", str(REQUIREMENTS / name), "--require-hashes", "--disable-pip"]
        yield f"requirements/{name}", [*tool, *pins], ROOT
    node = web.find_node(str(VENV / "bin" / "python"))
    npm = [str(node / "bin" / "node"), str(node / web.NPM), "audit", "--audit-level=low"]
    for name in NPM_FOLDERS:
        yield name, npm, ROOT / name


if __name__ == "__main__":
    sys.exit(main())
