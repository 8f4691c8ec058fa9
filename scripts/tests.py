"""Run all tests, in two processes side by side: `python -m scripts.tests [pytest's arguments]`.

Most tests wait, for a lease, a browser or a server; so two of them at once take little more than
one. Those in which seconds count (chaos, the page) stay in turn, in one of the two processes. With
the path of a test among the arguments it is pytest alone.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IN_TURN = ("tests/chaos", "tests/e2e")
NO_TESTS = 5
"""Pytest's exit code when it was left without a test."""


def main(arguments: list[str]) -> int:
    """Run the tests; 0 when all have passed and there were some."""
    pytest = [sys.executable, "-m", "pytest", *arguments]
    if any(Path(argument.partition("::")[0]).exists() for argument in arguments):
        return subprocess.run(pytest, check=False, cwd=ROOT).returncode
    with (
        tempfile.TemporaryFile() as told,
        subprocess.Popen([*pytest, *IN_TURN], cwd=ROOT, stdout=told, stderr=told) as in_turn,
    ):
        others = [f"--ignore={folder}" for folder in IN_TURN]
        code = subprocess.run([*pytest, *others], check=False, cwd=ROOT).returncode
        codes = {code, in_turn.wait()}
        told.seek(0)
        print(f"\n{' and '.join(IN_TURN)}, beside them:", flush=True)
        sys.stdout.buffer.write(told.read())
    if codes == {0, NO_TESTS}:
        return 0
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
