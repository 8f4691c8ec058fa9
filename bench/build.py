"""Compile the two C programs with the machine's C compiler, or with the one in a wheel."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
BUILD = FOLDER / "build"
FLAGS = ["-O2", "-std=gnu11", "-Wall", "-Wextra"]
WHEEL = "ziglang>=0.13,<1"
COMPILE_TIMEOUT_S = 180
INSTALL_TIMEOUT_S = 600


class CannotBuild(Exception):
    """No C compiler, or it refused the source."""


@dataclass(frozen=True)
class Programs:
    """Where the compiled programs are."""

    fakeup: Path
    loadgen: Path


def build() -> Programs:
    """Compile what is older than its sources and return the paths.

    Raises:
        CannotBuild: there is no compiler and the wheel cannot be installed, or the compiler failed.

    """
    BUILD.mkdir(exist_ok=True)
    return Programs(_compile("fakeup"), _compile("loadgen"))


def _compile(name: str) -> Path:
    program, source = BUILD / name, FOLDER / f"{name}.c"
    newest = max(path.stat().st_mtime for path in [source, *FOLDER.glob("*.h")])
    if program.exists() and program.stat().st_mtime > newest:
        return program
    compiler, environment = _compiler()
    fresh = BUILD / f"{name}.{os.getpid()}"
    _run([*compiler, *FLAGS, "-o", str(fresh), str(source)], COMPILE_TIMEOUT_S, environment)
    fresh.replace(program)
    return program


def _compiler() -> tuple[list[str], dict[str, str]]:
    """Return the command of a C compiler and the environment to run it in."""
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return [found], dict(os.environ)
    wheel = BUILD / "ziglang"
    if not (wheel / "ziglang").is_dir():
        install = ["uv", "pip", "install", "--quiet", "--python", sys.executable]
        if not shutil.which("uv", path=str(Path(sys.executable).parent)):
            install = ["pip", "install", "--quiet"]
        _run([sys.executable, "-m", *install, "--target", str(wheel), WHEEL], INSTALL_TIMEOUT_S)
    caches = {name: str(BUILD) for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}
    environment = {**os.environ, **caches, "PYTHONPATH": str(wheel)}
    return [sys.executable, "-m", "ziglang", "cc"], environment


def _run(command: list[str], timeout_s: int, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, capture_output=True, check=False, env=environment, text=True, timeout=timeout_s
    )
    if done.returncode:
        raise CannotBuild(f"{Path(command[0]).name} failed:\n{done.stderr.strip()[-2000:]}")
