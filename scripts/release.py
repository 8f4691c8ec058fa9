"""Build what is published: the source distribution, and from it the wheel. `make release`.

The wheel is built from the unpacked source distribution, so that what people without Node build
from it is what was built here.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def build(tree: Path, target: Path) -> tuple[Path, Path]:
    """Build both from a tree, put them into a folder, and return their paths."""
    target.mkdir(parents=True, exist_ok=True)
    archive = _built(tree, "sdist", target)
    with tempfile.TemporaryDirectory() as name:
        with tarfile.open(archive) as packed:
            # Debian's Python 3.11 has no filters yet; the archive was made a moment ago.
            packed.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            packed.extractall(name)  # noqa: S202
        (unpacked,) = Path(name).iterdir()
        return archive, _built(unpacked, "wheel", target)


def _built(tree: Path, kind: str, target: Path) -> Path:
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", name]
        subprocess.run(command, cwd=tree, check=True, stdout=subprocess.DEVNULL)
        (made,) = (path for path in Path(name).iterdir() if path.suffix in {".gz", ".whl"})
        return Path(shutil.copy(made, target))


if __name__ == "__main__":
    print(*build(ROOT, ROOT / "dist"), sep="\n")
