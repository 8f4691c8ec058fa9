"""The documentation builds as a site without a warning, and leads to every page."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def build(docs: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Build as `make docs` does."""
    command = [
        *(sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"),
        *("-c", str(ROOT / "site"), "-b", "html", str(docs), str(target)),
    ]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=110)


@pytest.mark.timeout(120)
def test_the_site_builds_without_a_warning(tmp_path):
    done = build(ROOT / "docs", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for page in (ROOT / "docs").rglob("*.md"):
        built = tmp_path / page.relative_to(ROOT / "docs").with_suffix(".html")
        assert built.is_file(), f"{page.name} is not on the site"
    home = (tmp_path / "index.html").read_text("utf-8")
    for name in ("operations", "agents", "protocol", "questions"):
        assert f'href="{name}.html"' in home


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path):
    """The control."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# Home\n\n[nowhere](nowhere.md)\n")
    done = build(docs, tmp_path / "out")
    assert done.returncode == 1
    assert "nowhere" in done.stderr
