"""Ask the advisory databases about every pinned package: `make audit`, and a part of `make check`.

A hole fails either. That nobody could be asked (no network, an index without advisories) is told
from what the tools answer, never from their silence: an audit that was not made must not look like
one that found nothing. It fails `make audit`; `make check`, which works without a network, says it
aloud and goes on (`--if-answered`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
TIMEOUT_S = 150
TOLD_MAX = 300


@dataclass
class Verdict:
    """What a database said of a set of pins: the holes, and what it could not tell."""

    holes: list[str] = field(default_factory=list)
    unanswered: str = ""


@dataclass
class Check:
    """One question: whom it is about, the command that asks, and how its answer is read."""

    name: str
    command: list[str]
    folder: Path
    read: Callable[[Any], Verdict]


def main(arguments: list[str]) -> int:
    """Audit everything; 1 when there is a hole, or no answer and no `--if-answered`."""
    wanted = list(checks())
    with ThreadPoolExecutor(len(wanted)) as pool:
        verdicts = dict(zip([one.name for one in wanted], pool.map(ask, wanted), strict=True))
    for name, verdict in verdicts.items():
        for hole in verdict.holes:
            print(f"{name}: HOLE {hole}", file=sys.stderr)
        if verdict.unanswered:
            print(f"{name}: NOT AUDITED: {verdict.unanswered}", file=sys.stderr)
    holes = any(verdict.holes for verdict in verdicts.values())
    unanswered = any(verdict.unanswered for verdict in verdicts.values())
    if not (holes or unanswered):
        print(f"No known holes in {', '.join(verdicts)}")
    return int(holes or (unanswered and "--if-answered" not in arguments))


def checks() -> Iterator[Check]:
    """Yield all questions."""
    tool = [str(VENV / "bin" / "uv"), "tool", "run", "--from", PIP_AUDIT, "pip-audit"]
    how = ["--strict", "--require-hashes", "--disable-pip"]
    how += ["--format=json", "--progress-spinner=off"]
    for name in PYTHON_SETS:
        pins = f"--requirement={REQUIREMENTS / name}"
        yield Check(f"requirements/{name}", [*tool, *how, pins], ROOT, of_python)
    node = web.find_node(str(VENV / "bin" / "python"))
    npm = [str(node / "bin" / "node"), str(node / web.NPM), "audit", "--json"]
    for name in NPM_FOLDERS:
        yield Check(name, npm, ROOT / name, of_npm)


def ask(check: Check) -> Verdict:
    """Run a command and read its answer; without one the verdict says what came instead."""
    try:
        done = subprocess.run(
            check.command,
            cwd=check.folder,
            env=environment(),
            check=False,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return Verdict(unanswered=f"no answer in {TIMEOUT_S} s")
    try:
        return check.read(json.loads(done.stdout))
    except (ValueError, KeyError, TypeError):
        return Verdict(unanswered=(done.stderr or done.stdout).strip()[-TOLD_MAX:] or "no answer")


def of_python(answer: Any) -> Verdict:
    """Read what pip-audit says of pins that it could ask about: all of them (`--strict`)."""
    pins = answer["dependencies"]
    holes = [f"{pin['name']} {pin['version']}: {one['id']}" for pin in pins for one in pin["vulns"]]
    return Verdict(holes, "" if pins else "no pins were read")


def of_npm(answer: Any) -> Verdict:
    """Read what `npm audit` says."""
    if "auditReportVersion" not in answer:
        return Verdict(unanswered=str(answer.get("message") or answer)[:TOLD_MAX])
    found = answer["vulnerabilities"].values()
    return Verdict([f"{one['name']} {one['range']}: {one['severity']}" for one in found])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
