"""`make audit` looks at everything that is pinned, and fails when it could not ask."""

import subprocess
import sys

from scripts import audit
from scripts.prepare import REQUIREMENTS, ROOT


def test_every_set_of_pins_is_looked_at():
    """Guard: whoever adds a set adds it to the audit. The page's pins are a part of `dev`."""
    pinned = {path.name for path in REQUIREMENTS.glob("*.txt")} - {"web.txt"}
    assert set(audit.PYTHON_SETS) == pinned
    command = ["git", "ls-files", "*package-lock.json"]
    locks = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {f"{folder}/package-lock.json" for folder in audit.NPM_FOLDERS} == set(locks.split())


def test_one_that_fails_does_not_hide_the_others_and_fails_the_whole(monkeypatch, capsys):
    def told(code):
        return [sys.executable, "-c", f"raise SystemExit({code})"]

    wanted = [("good", told(0), ROOT), ("away", told(1), ROOT), ("holes", told(1), ROOT)]
    monkeypatch.setattr(audit, "checks", lambda: iter(wanted))
    assert audit.main() == 1
    assert "make audit failed: away, holes" in capsys.readouterr().err
