"""The audit against advisory databases of our own: a pin they warn of fails, silence is no answer.

The tools are the real ones: pip-audit and npm ask on loopback what they ask elsewhere.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from scripts.prepare import ROOT
from tests.world.server import environment

PIN = "starlette"
PACKAGE = "react"


@dataclass
class Advisories:
    """What both databases know: the names of packages with a hole; `away`: they answer 503."""

    bad: set[str] = field(default_factory=set)
    away: bool = False
    asked: set[str] = field(default_factory=set)
    url: str = ""

    def of_python(self, asked: Any) -> Any:
        name = asked["package"]["name"]
        self.asked.add(name)
        about = {"package": asked["package"], "ranges": []}
        hole = {"id": "PYSEC-1", "summary": "A hole.", "aliases": [], "affected": [about]}
        return {"vulns": [hole]} if name in self.bad else {}

    def of_npm(self, asked: dict[str, list[str]]) -> Any:
        self.asked |= asked.keys()
        hole = {"id": 1, "title": "A hole", "severity": "high", "vulnerable_versions": "*"}
        hole |= {"url": "https://example.com/1", "cwe": [], "cvss": {"score": 0}}
        return {name: [hole] for name in asked if name in self.bad}


@pytest.fixture
def advisories() -> Iterator[Advisories]:
    known = Advisories()

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            asked = json.loads(gzip.decompress(body) if body[:1] == b"\x1f" else body)
            answer = known.of_python(asked) if "osv" in self.path else known.of_npm(asked)
            self.told(503 if known.away else 200, answer)

        def do_GET(self) -> None:
            self.told(404, {"error": "not found"})

        def told(self, status: int, answer: Any) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        known.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield known
        server.shutdown()


def audited(known: Advisories, *flags: str) -> tuple[int, str]:
    """Audit a small set and the page's packages; return the exit code and what was said."""
    smaller = (
        "from scripts import audit; import sys;"
        "audit.PYTHON_SETS, audit.NPM_FOLDERS = ('runtime.txt',), ('web',);"
        "sys.exit(audit.main(sys.argv[1:]))"
    )
    env = environment(
        PIP_AUDIT_VULNERABILITY_SERVICE="osv",
        PIP_AUDIT_OSV_URL=f"{known.url}/osv",
        npm_config_registry=known.url,
        npm_config_fetch_retries="0",
        NO_PROXY="127.0.0.1",
        no_proxy="127.0.0.1",
    )
    command = [sys.executable, "-c", smaller, *flags]
    done = subprocess.run(
        command, env=env, cwd=ROOT, check=False, capture_output=True, text=True, timeout=100
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.soak
@pytest.mark.timeout(200)
def test_a_pin_with_a_known_hole_fails_and_one_that_nobody_answered_for_is_named(
    advisories: Advisories,
) -> None:
    """Guards: the holes are read from the answer; an answer without pins is none."""
    code, said = audited(advisories, "--if-answered")
    assert (code, "NOT AUDITED" in said) == (0, False), said
    assert {PIN, PACKAGE} <= advisories.asked, "both tools have asked"
    advisories.bad = {PIN, PACKAGE}
    code, said = audited(advisories, "--if-answered")
    assert code == 1
    assert f"requirements/runtime.txt: HOLE {PIN} " in said, said
    assert f"web: HOLE {PACKAGE} " in said, said
    advisories.away = True
    code, said = audited(advisories, "--if-answered")
    assert (code, said.count("NOT AUDITED")) == (0, 2), said
