"""`scripts/tests.py`: a second trial forgives what comes of processes at once, nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.tests import BESIDE, SECOND_TRIALS_MAX
from tests.world.server import ROOT

FLAKY = """
from pathlib import Path

def test_flaky():
    noted = Path(__file__).with_suffix(".noted")
    again = noted.exists()
    noted.touch()
    assert again
"""
BROKEN = "def test_broken(): assert 0"
MANY = "\n".join(BROKEN.replace("broken", f"broken_{n}") for n in range(SECOND_TRIALS_MAX + 1))
LEFT = """
import pytest

@pytest.fixture(autouse=True, scope="session")
def ends_badly():
    yield
    pytest.exit("left behind", 70)

def test_whole(): pass
"""


def run(folder: Path, text: str) -> tuple[int, str]:
    """Run a tree with one test file of interest; return the exit code and what was told."""
    beside = [part for parts in BESIDE for part in parts]
    for part in ("scripts", "tests/unit", *beside):
        (folder / part).mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "tests.py", folder / "scripts")
    (folder / "pytest.ini").write_text("[pytest]\n")
    for number, part in enumerate(beside):
        (folder / part / f"test_{number}.py").write_text("def test_whole(): pass")
    (folder / "tests" / "unit" / "test_unit.py").write_text(text)
    command = [sys.executable, "-m", "scripts.tests", "-q"]
    bare = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # they take seconds to import
    done = subprocess.run(
        command, cwd=folder, env=bare, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def test_what_passes_alone_is_forgiven_and_named(tmp_path: Path) -> None:
    code, told = run(tmp_path, FLAKY)
    assert code == 0
    assert "Once more, alone:\n  tests/unit/test_unit.py::test_flaky" in told


@pytest.mark.parametrize(("text", "trials"), [(BROKEN, 1), (MANY, 0), (LEFT, 0)])
def test_what_is_broken_or_many_or_nobody_s_fault_is_not(
    tmp_path: Path, text: str, trials: int
) -> None:
    """Guards: the second trial's own code, `SECOND_TRIALS_MAX`, and the codes that get a trial."""
    code, told = run(tmp_path, text)
    assert code != 0
    assert told.count("Once more, alone") == trials
