"""The figures that a process shows to Prometheus, read as Prometheus reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


def parse(text: str) -> list[Sample]:
    """Return all samples."""
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def total(samples: Iterable[Sample], name: str, **labels: str) -> float:
    """Return the sum of the samples of a name that have these labels."""
    return sum(
        sample.value
        for sample in samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def by(samples: Iterable[Sample], name: str, *labels: str) -> dict[Any, float]:
    """Return the sums of a name's samples by the values of some labels."""
    sums: defaultdict[Any, float] = defaultdict(float)
    for sample in samples:
        if sample.name == name:
            key = tuple(sample.labels[label] for label in labels)
            sums[key[0] if len(key) == 1 else key] += sample.value
    return dict(sums)
