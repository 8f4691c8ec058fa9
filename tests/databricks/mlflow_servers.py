"""Real MLflow servers, in an environment of their own: an agent's, and the one that keeps traces.

The agent answers as its question says: a JSON object of knobs at its start, see `agent.py`.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from tests.world.server import free_port

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".tools" / "mlflow" / "bin"
START_S = 150
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes that nobody needs here
}


class Servers(msgspec.Struct, frozen=True):
    """Where they are: `agent` as a workspace's address, `tracking` as MLflow wants it."""

    agent: str
    tracking: str
    folder: Path


@contextmanager
def running(folder: Path, module: str) -> Iterator[Servers]:
    """Start both; the agent is the ASGI application `module:app`."""
    if not BIN.exists():
        pytest.fail(f"{BIN} is missing: run `make test`, which installs it", pytrace=False)
    tracking, agent = free_port(), free_port()
    server = f"http://127.0.0.1:{tracking}"
    database = f"sqlite:///{folder / 'mlflow.db'}"
    store = ["--backend-store-uri", database, "--default-artifact-root", str(folder / "artifacts")]
    keeps = [str(BIN / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(tracking), *store]
    answers = [str(BIN / "python"), "-m", "uvicorn", module, "--port", str(agent)]
    with ExitStack() as stack:
        first = _start(stack, folder / "tracking.txt", [*keeps, "--workers", "1"])
        second = _start(stack, folder / "agent.txt", answers, MLFLOW_TRACKING_URI=server)
        _wait(first, f"{server}/health", folder / "tracking.txt")
        _wait(second, f"http://127.0.0.1:{agent}/health", folder / "agent.txt")
        yield Servers(f"http://127.0.0.1:{agent}", server, folder)


def _start(
    stack: ExitStack, output: Path, command: list[str], **more: str
) -> subprocess.Popen[bytes]:
    log = stack.enter_context(output.open("wb"))
    env = os.environ | QUIET | more
    process = subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True
    )
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server with the processes that it started."""
    os.killpg(process.pid, 9)
    process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, output: Path) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            httpx.get(url, trust_env=False, timeout=5)
        except httpx.TransportError:
            time.sleep(0.2)  # it tells nobody when it is ready
        else:
            return
    pytest.fail(f"MLflow did not start: {output.read_text(errors='replace')[-3000:]}")
