"""Run all tests, in two processes side by side: `python -m scripts.tests [pytest's arguments]`.

Most tests wait, for a lease, a browser or a server; so two of them at once take little more than
one. Those in which seconds count (chaos, the page) stay in turn, in one of the two processes. What
fails beside the other process has a second trial with the machine to itself, and is named at the
end whatever comes of it; many failures have none. With the path of a test among the arguments it is
pytest alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IN_TURN = ("tests/chaos", "tests/e2e")
PASSED, FAILED, NO_TESTS = 0, 1, 5
"""Pytest's exit codes."""

SECOND_TRIALS_MAX = 5


def main(arguments: list[str]) -> int:
    """Run the tests; 0 when all have passed and there were some."""
    pytest = [sys.executable, "-m", "pytest", *arguments]
    if any(Path(argument.partition("::")[0]).exists() for argument in arguments):
        return subprocess.run(pytest, check=False, cwd=ROOT).returncode
    with tempfile.TemporaryDirectory() as folder:
        caches = [Path(folder) / "others", Path(folder) / "in turn"]
        codes = side_by_side(*([*pytest, "-o", f"cache_dir={cache}"] for cache in caches))
        failed = [test for cache in caches for test in failures(cache)]
    if codes <= {PASSED, FAILED, NO_TESTS} and 0 < len(failed) <= SECOND_TRIALS_MAX:
        print("\nOnce more, alone:", *failed, sep="\n  ", flush=True)
        return subprocess.run([*pytest, *failed], check=False, cwd=ROOT).returncode
    return PASSED if codes == {PASSED, NO_TESTS} else max(codes)


def side_by_side(others: list[str], in_turn: list[str]) -> set[int]:
    """Run both halves at once, print one after the other; return their exit codes."""
    with (
        tempfile.TemporaryFile() as told,
        subprocess.Popen([*in_turn, *IN_TURN], cwd=ROOT, stdout=told, stderr=told) as beside,
    ):
        left_out = [f"--ignore={folder}" for folder in IN_TURN]
        code = subprocess.run([*others, *left_out], check=False, cwd=ROOT).returncode
        codes = {code, beside.wait()}
        told.seek(0)
        print(f"\n{' and '.join(IN_TURN)}, beside them:", flush=True)
        sys.stdout.buffer.write(told.read())
        sys.stdout.flush()
    return codes


def failures(cache: Path) -> list[str]:
    """Return the ids of the tests that pytest noted as failed in its cache."""
    noted = cache / "v" / "cache" / "lastfailed"
    return list(json.loads(noted.read_text())) if noted.exists() else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
