"""Real MLflow servers, in an environment of their own: an agent's, and the one that keeps traces.

The agent is `examples/responses_agent.py` and answers as its question says. One pair per run.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from tests import early
from tests.early import Starting
from tests.world.server import free_port

BIN = early.ROOT / ".tools" / "mlflow" / "bin"
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


@cache
def begun() -> tuple[Starting, Starting, Servers]:
    """Begin to start both, once."""
    ports = free_port(), free_port()
    tracking, agent = (f"http://127.0.0.1:{port}" for port in ports)
    folder = early.folder()
    database = f"sqlite:///{folder / 'mlflow.db'}"
    store = ["--backend-store-uri", database, "--default-artifact-root", str(folder / "artifacts")]
    address = ["--host", "127.0.0.1", "--port"]
    keeps = [str(BIN / "mlflow"), "server", *address, str(ports[0]), *store, "--workers", "1"]
    module = "examples.responses_agent:app"
    answers = [str(BIN / "python"), "-m", "uvicorn", module, *address, str(ports[1])]
    return (
        early.start("mlflow", keeps, f"{tracking}/health", QUIET),
        early.start("agent", answers, f"{agent}/health", QUIET | {"MLFLOW_TRACKING_URI": tracking}),
        Servers(agent, tracking, folder),
    )


def running() -> Servers:
    """Return the servers, which answer."""
    *starting, servers = begun()
    for one in starting:
        one.wait()
    return servers
