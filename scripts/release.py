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


def main(target: Path) -> None:
    """Put both files into a folder."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = _built(ROOT, "sdist", folder / "sdist")
        with tarfile.open(archive) as packed:
            packed.extractall(folder / "tree", filter="data")
        (tree,) = (folder / "tree").iterdir()
        wheel = _built(tree, "wheel", folder / "wheel")
        for made in (archive, wheel):
            print(shutil.copy(made, target))


def _built(tree: Path, kind: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=tree, check=True, stdout=subprocess.DEVNULL)
    (made,) = [path for path in folder.iterdir() if path.suffix in {".gz", ".whl"}]
    return made


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist")
