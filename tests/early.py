"""Servers that start slowly: begun as soon as a run knows that it needs them, awaited by who does.

Meanwhile other tests run; the servers are niced so that these do not notice.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import httpx
import msgspec
import pytest

ROOT = Path(__file__).parents[1]
START_S = 180
"""Importing them takes most of a minute on a cold and busy machine."""

_stack = ExitStack()


class Starting(msgspec.Struct, frozen=True):
    """A server on its way: `url` answers once it is there, `output` says why it is not."""

    process: subprocess.Popen[bytes]
    url: str
    output: Path

    def wait(self) -> None:
        """Wait until it answers; fail the test if it never does."""
        deadline = time.monotonic() + START_S
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                httpx.get(self.url, trust_env=False, timeout=5)
            except httpx.TransportError:
                time.sleep(0.2)  # it tells nobody when it is ready
            else:
                return
        said = self.output.read_text(errors="replace")[-3000:]
        pytest.fail(f"{self.output.stem} did not start: {said}")


@cache
def folder() -> Path:
    """Return where they keep their files; it goes with them."""
    return Path(_stack.enter_context(tempfile.TemporaryDirectory(prefix="perdure-early-")))


def start(name: str, command: list[str], url: str, env: Mapping[str, str]) -> Starting:
    """Start a server, and end it with the processes that it started when the run ends."""
    if not Path(command[0]).exists():
        pytest.fail(f"{command[0]} is missing: run `make setup`, which installs it", pytrace=False)
    output = folder() / f"{name}.txt"
    log = _stack.enter_context(output.open("wb"))
    process = subprocess.Popen(
        ["nice", *command],
        cwd=ROOT,
        env=os.environ | env,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    _stack.callback(_end, process)
    return Starting(process, url, output)


def begin(starters: Mapping[str, Callable[[], object]], wanted: Collection[str]) -> None:
    """Start those that are wanted, and whose programs are there; who needs others is told later."""
    for name in sorted(starters.keys() & wanted):
        try:
            starters[name]()
        except pytest.fail.Exception:
            continue


def stop() -> None:
    """End them all."""
    _stack.close()
    folder.cache_clear()


def _end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, 9)
    process.wait()
