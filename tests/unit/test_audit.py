"""`make audit` looks at everything that is pinned, and knows an answer from none.

What the real tools answer is tried in `tests/env/test_audit.py`.
"""

import json
import subprocess
import sys

import pytest

from scripts import audit
from scripts.prepare import REQUIREMENTS, ROOT

GOOD = {"dependencies": [{"name": "a", "version": "1", "vulns": []}]}
BAD = {"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1"}]}]}
GOOD_NPM = {"auditReportVersion": 2, "vulnerabilities": {}}
BAD_NPM = {**GOOD_NPM, "vulnerabilities": {"b": {"name": "b", "range": "*", "severity": "low"}}}
AWAY_NPM = {"message": "405 Method Not Allowed", "statusCode": 405}


def test_every_set_of_pins_is_looked_at():
    """Guard: whoever adds a set adds it to the audit. The page's pins are a part of `dev`."""
    pinned = {path.name for path in REQUIREMENTS.glob("*.txt")} - {"web.txt"}
    assert set(audit.PYTHON_SETS) == pinned
    command = ["git", "ls-files", "*package-lock.json"]
    locks = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {f"{folder}/package-lock.json" for folder in audit.NPM_FOLDERS} == set(locks.split())


def asking(name, answer, read):
    """Return a check whose tool says this, whatever its exit code."""
    said = answer if isinstance(answer, str) else json.dumps(answer)
    command = [sys.executable, "-c", f"print({said!r}); raise SystemExit(1)"]
    return audit.Check(name, command, ROOT, read)


@pytest.mark.parametrize(
    ("python", "npm", "codes"),
    [
        (GOOD, GOOD_NPM, (0, 0)),
        (BAD, GOOD_NPM, (1, 1)),
        (GOOD, BAD_NPM, (1, 1)),
        ("no connection", GOOD_NPM, (1, 0)),
        ({"dependencies": []}, GOOD_NPM, (1, 0)),
        (GOOD, AWAY_NPM, (1, 0)),
        (BAD, AWAY_NPM, (1, 1)),
    ],
)
def test_a_hole_fails_and_silence_is_not_taken_for_health(monkeypatch, capsys, python, npm, codes):
    """Guard: an answer counts only if pins are in it. One that fails does not hide the others."""
    wanted = [asking("py", python, audit.of_python), asking("web", npm, audit.of_npm)]
    monkeypatch.setattr(audit, "checks", lambda: iter(wanted))
    assert (audit.main([]), audit.main(["--if-answered"])) == codes
    told = capsys.readouterr()
    assert ("py: HOLE a 1: PYSEC-1" in told.err) == (python == BAD)
    assert ("web: HOLE b *: low" in told.err) == (npm == BAD_NPM)
    silent = (python not in (GOOD, BAD)) + (npm == AWAY_NPM)
    assert told.err.count("NOT AUDITED") == 2 * silent
    assert ("No known holes in py, web" in told.out) == (codes == (0, 0))
