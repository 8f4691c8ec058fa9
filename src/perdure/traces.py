"""Traces: one span for each request, and one below it for each call to its agent.

A request may be answered by several processes, one after the other. So its ids are not random: its
span's id is made of the request's, its trace is the caller's or made of the request's id, too, and
whoever ends the request sends its span. This module passes traces on; spans are made only where
OpenTelemetry's variables ask for them (`spans`), which imports its packages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from perdure.model import Request
from perdure.traceparent import UPSTREAM


class Traces:
    """Makes no spans: what a caller named is passed on to the agent's server as it is."""

    @contextmanager
    def call(self, request: Request, attempt: int) -> Iterator[None]:
        """Surround a call to the agent, in the context in which its handler runs."""
        del attempt
        before = UPSTREAM.set(request.traceparent)
        try:
            yield
        finally:
            UPSTREAM.reset(before)

    @property
    def wanted(self) -> bool:
        """Whether anybody wants to know of ends."""
        return False

    def ended(self, request: Request) -> None:
        """Tell of the end of a request, once, from the process that ended it."""

    def close(self) -> None:
        """Send what was not sent yet; may take seconds."""
