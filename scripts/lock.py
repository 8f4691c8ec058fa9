"""Refresh requirements/*.txt: the newest versions that fit, with hashes, for any platform.

`make lock`. One resolution for development; the smaller sets are cut out of it, so that they
cannot differ.
"""

from __future__ import annotations

import subprocess
import sys

from scripts.prepare import ROOT, VENV, environment

COMPILE = [
    *(str(VENV / "bin" / "uv"), "pip", "compile", "--quiet", "--upgrade"),
    *("--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-emit-index-url", "--no-header"),
]
DEV = "requirements/dev.txt"


def main() -> int:
    """Compile all files, the largest first."""
    compile_to(DEV, "pyproject.toml", "--group", "dev")
    compile_to("requirements/runtime.txt", "pyproject.toml", "--constraints", DEV)
    compile_to("requirements/all.txt", "pyproject.toml", "--extra", "all", "--constraints", DEV)
    compile_to("requirements/build.txt", "--group", "pyproject.toml:build", "--constraints", DEV)
    compile_to("requirements/web.txt", "--group", "pyproject.toml:web", "--constraints", DEV)
    compile_to("requirements/litellm.txt", "--group", "pyproject.toml:litellm")
    compile_to("requirements/mlflow.txt", "--group", "pyproject.toml:mlflow")
    compile_to("requirements/openai-1.txt", "--group", "pyproject.toml:openai-1")
    return 0


def compile_to(path: str, *sources: str) -> None:
    """Resolve `sources` and write the pins to `path`, both relative to the root."""
    print(f"perdure: resolving {path}", flush=True)
    command = [*COMPILE, *sources, "--output-file", path]
    subprocess.run(command, check=True, cwd=ROOT, env=environment())


if __name__ == "__main__":
    sys.exit(main())
