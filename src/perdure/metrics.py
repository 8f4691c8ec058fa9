"""The figures of one process for Prometheus, and those that the whole deployment shares.

Counters of a process end with it. What must outlive processes (which requests ended how, who waits
and for how long) is counted in the store and shown from there: the same at every server. Nothing is
counted per chunk; what running answers write is counted once per flush of the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from perdure.records import Figures

COMMIT_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1, 5, 20)
WAIT_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
ANSWER_S = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class Metrics:
    """Everything that one process counts, in a registry of its own."""

    def __init__(self, version: str = "") -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.deployment = Deployment()
        self.registry.register(self.deployment)
        ProcessCollector(registry=self.registry)
        self._of_the_process(version)
        self._of_answers()
        self._of_writing()
        self._of_readers()

    def _of_the_process(self, version: str) -> None:
        self.gauge("build_info", "What is running.", ("version",)).labels(version).set(1)
        self.draining = self.gauge("draining", "1 while it is about to stop.")
        self.calls = self.counter(
            "http_calls",
            "HTTP calls answered here, by the route's template; streams when they begin.",
            ("method", "route", "status"),
        )
        self.webhook_tries = self.counter(
            "webhook_tries",
            "Tries to deliver a webhook: delivered, failed, given_up.",
            ("outcome",),
        )

        for outcome in ("delivered", "failed", "given_up"):
            self.webhook_tries.labels(outcome)

    def _of_answers(self) -> None:
        self.running = self.gauge("running", "Answers being produced by this process.")
        self.attempts = self.counter("attempts", "Attempts begun here.", ("agent",))
        self.waited = self.histogram(
            "queue_wait_seconds", "From the question to its first claim.", WAIT_S, ("agent",)
        )
        self.first_token = self.histogram(
            "time_to_first_token_seconds",
            "From the question to the first delta of its first attempt.",
            WAIT_S,
            ("agent",),
        )
        self.answered = self.histogram(
            "attempt_seconds",
            "Length of the attempts that ended a request here.",
            ANSWER_S,
            ("agent", "status"),
        )
        self.upstream_errors = self.counter(
            "upstream_errors", "Failed calls to agents, also those tried again.", ("agent", "code")
        )
        self.hand_overs = self.counter(
            "hand_overs", "Running requests given back to the queue by a process that stops."
        )
        self.lapsed = self.counter(
            "leases_lapsed",
            "Requests of lost workers that this process took over: queued again, or failed.",
            ("outcome",),
        )
        for outcome in ("queued", "failed"):
            self.lapsed.labels(outcome)  # from 0 on: an increase from nothing to 1 is none
        self.claims_lost = self.counter(
            "claims_lost", "Runs stopped here since their request was cancelled or taken over."
        )
        self.redelivered = self.counter(
            "redeliveries", "Admitted requests that nobody claimed in time, delivered once more."
        )

    def _of_writing(self) -> None:
        self.events = self.counter("events", "Events stored by the runs of this process.")
        self.commit = self.histogram(
            "commit_seconds", "Storing what all running answers have, together.", COMMIT_S
        )
        self.refused = self.counter(
            "writes_refused", "Writes of runs that no longer owned their request."
        )
        self.retried = self.counter("writes_retried", "Writes tried again: the store was away.")

    def _of_readers(self) -> None:
        self.readers = self.gauge("readers", "Readers that follow a request here.")
        self.attached = self.counter(
            "attachments",
            "Streams begun here: from the start, or resumed behind a cursor.",
            ("transport", "cursor"),
        )

    def attach(self, transport: str, after: int) -> None:
        """Count a stream that begins behind an exclusive cursor."""
        self.attached.labels(transport, "start" if after < 0 else "resumed").inc()

    def gauge(self, name: str, about: str, labels: Iterable[str] = ()) -> Gauge:
        """Make a gauge of this process."""
        return Gauge(f"perdure_{name}", about, labels, registry=self.registry)

    def counter(self, name: str, about: str, labels: Iterable[str] = ()) -> Counter:
        """Make a counter of this process; it is shown with `_total` behind its name."""
        return Counter(f"perdure_{name}", about, labels, registry=self.registry)

    def histogram(
        self, name: str, about: str, buckets: Iterable[float], labels: Iterable[str] = ()
    ) -> Histogram:
        """Make a histogram of this process."""
        made = f"perdure_{name}"
        return Histogram(made, about, labels, registry=self.registry, buckets=tuple(buckets))

    def show(
        self, accept: str, figures: Figures | None, workers: int | None = None
    ) -> tuple[bytes, str]:
        """Return everything in the format that is asked for, and its media type.

        Args:
            accept: the header of that name.
            figures: what the store has counted; None: it does not answer.
            workers: how many are there; None: none is needed, or the store does not answer.

        """
        self.deployment.figures, self.deployment.workers = figures, workers
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type


class Deployment(Collector):
    """What the store has counted, of all processes together."""

    figures: Figures | None = None
    workers: int | None = None
    shown = False
    """Only servers show it: the others would say the same."""

    def collect(self) -> Iterator[Metric]:
        """Yield the families; called by the registry."""
        if not self.shown:
            return
        figures = self.figures
        up = GaugeMetricFamily("perdure_store_up", "1 while the store answers.")
        up.add_metric([], figures is not None)
        yield up
        there = GaugeMetricFamily("perdure_workers", "Workers that are there and take something.")
        if self.workers is not None:
            there.add_metric([], self.workers)
        yield there
        if figures is not None:
            yield from _ended(figures)
            yield from _waiting(figures)

    def describe(self) -> list[Metric]:
        """Return nothing: a registry asks at its beginning, when nothing is known."""
        return []


def _ended(figures: Figures) -> Iterator[Metric]:
    ended = CounterMetricFamily(
        "perdure_requests_ended",
        "Requests that ended, in the whole deployment and over all restarts.",
        labels=("agent", "status", "code"),
    )
    for tally in figures.ended:
        ended.add_metric([tally.agent_id, tally.status, tally.code], tally.count)
    yield ended
    accepted = CounterMetricFamily(
        "perdure_requests_accepted", "Questions accepted, in the whole deployment."
    )
    accepted.add_metric([], figures.accepted)
    yield accepted


def _waiting(figures: Figures) -> Iterator[Metric]:
    requests = GaugeMetricFamily(
        "perdure_requests",
        "Requests that have not ended, in the whole deployment.",
        labels=("status",),
    )
    requests.add_metric(["queued"], figures.waiting + figures.unclaimed)
    requests.add_metric(["streaming"], figures.streaming)
    yield requests
    for name, about, value in (
        (
            "unclaimed",
            "Of the queued: may run, and no worker has taken them yet.",
            figures.unclaimed,
        ),
        (
            "queue_age_seconds",
            "Age of the oldest request that may not run yet.",
            figures.queue_age_s,
        ),
        (
            "unclaimed_age_seconds",
            "Longest time since an unclaimed request was delivered.",
            figures.unclaimed_age_s,
        ),
        ("webhooks_waiting", "Webhooks that are not delivered yet.", figures.webhooks),
        ("webhook_age_seconds", "Age of the oldest one of those.", figures.webhook_age_s),
    ):
        yield GaugeMetricFamily(f"perdure_{name}", about, value=value)
