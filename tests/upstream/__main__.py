"""`python -m tests.upstream --port P`: prints the port, serves until it is ended."""

from __future__ import annotations

import argparse
import signal
import sys

from tests.upstream.server import Upstream


def main() -> None:
    parser = argparse.ArgumentParser(description="A scripted Chat Completions server.")
    parser.add_argument("--port", type=int, default=0)
    port = parser.parse_args().port
    stop = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    with Upstream(port) as upstream:
        sys.stdout.write(f"{upstream.port}\n")
        sys.stdout.flush()
        signal.sigwait(stop)


main()
