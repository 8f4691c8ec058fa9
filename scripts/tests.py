"""Run all tests, in three processes side by side: `python -m scripts.tests [pytest's arguments]`.

Most tests wait, for a lease, a browser or a server; so three of them at once take little more than
one. Those in which seconds count (chaos, the page) stay in turn, each in a process of its own. What
fails beside the others has a second trial with the machine to itself, and is named at the end
whatever comes of it; many failures have none. With the path of a test among the arguments it is
pytest alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BESIDE = (("tests/chaos", "tests/env"), ("tests/e2e", "tests/contract"))
"""What runs beside all others; the parts take about the same time. With a fourth process two cores
were full: it saved a minute and cost second trials."""

PASSED, FAILED, NO_TESTS = 0, 1, 5
"""Pytest's exit codes."""

SECOND_TRIALS_MAX = 5


def main(arguments: list[str]) -> int:
    """Run the tests; 0 when all have passed and there were some."""
    pytest = [sys.executable, "-m", "pytest", *arguments]
    if any(Path(argument.partition("::")[0]).exists() for argument in arguments):
        return subprocess.run(pytest, check=False, cwd=ROOT).returncode
    others = [f"--ignore={path}" for part in BESIDE for path in part]
    with tempfile.TemporaryDirectory() as folder:
        caches = [Path(folder) / str(number) for number in range(len(BESIDE) + 1)]
        runs = [
            [*pytest, *part, "-o", f"cache_dir={cache}"]
            for part, cache in zip((others, *BESIDE), caches, strict=True)
        ]
        codes = side_by_side(*runs)
        failed = [test for cache in caches for test in failures(cache)]
    if codes <= {PASSED, FAILED, NO_TESTS} and 0 < len(failed) <= SECOND_TRIALS_MAX:
        print("\nOnce more, alone:", *failed, sep="\n  ", flush=True)
        return subprocess.run([*pytest, *failed], check=False, cwd=ROOT).returncode
    return PASSED if codes == {PASSED, NO_TESTS} else max(codes)


def side_by_side(first: list[str], *others: list[str]) -> set[int]:
    """Run all at once, show the first as it goes and then the others; return their exit codes."""
    with ExitStack() as stack:
        beside = []
        for command in others:
            told = stack.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(command, cwd=ROOT, stdout=told, stderr=told)
            beside.append((stack.enter_context(process), told))
        codes = {subprocess.run(first, check=False, cwd=ROOT).returncode}
        for part, (process, told) in zip(BESIDE, beside, strict=True):
            codes.add(process.wait())
            told.seek(0)
            print(f"\n{' and '.join(part)}, beside them:", flush=True)
            sys.stdout.buffer.write(told.read())
            sys.stdout.flush()
    return codes


def failures(cache: Path) -> list[str]:
    """Return the ids of the tests that pytest noted as failed in its cache."""
    noted = cache / "v" / "cache" / "lastfailed"
    return list(json.loads(noted.read_text())) if noted.exists() else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
