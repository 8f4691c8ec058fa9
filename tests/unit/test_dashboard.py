"""The Grafana dashboard asks only for what processes export, and the documentation names it all."""

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from perdure.metrics import Metrics
from perdure.records import Figures, Tally

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "perdure.json").read_text("utf-8"))
FIGURES = Figures(ended=[Tally("guide", "failed", "server_error", 1)])
SUFFIXES = ("_bucket", "_sum", "_count")


def exported() -> dict[str, set[str]]:
    """Return the labels of every sample that a server can show, by name."""
    metrics = Metrics("1.0")
    metrics.deployment.shown = True
    for metric in vars(metrics).values():
        for labels in [getattr(metric, "_labelnames", ())]:
            if labels:
                metric.labels(*("x" for _ in labels))
    body, _ = metrics.show("", FIGURES, workers=1)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def asked_of(expression: str) -> dict[str, set[str]]:
    """Return the metrics that an expression asks for, each with the labels it is asked by."""
    labels: set[str] = set()
    for grouped in re.findall(r"(?:by|on) \(([^)]*)\)", expression):
        labels |= set(re.split(r",\s*", grouped))
    found: dict[str, set[str]] = {}
    for name, matchers in re.findall(r"\b((?:perdure|process)_[a-z_]+)(?:{([^}]*)})?", expression):
        found.setdefault(name, set(labels)).update(re.findall(r"(\w+)=", matchers))
    return found


def test_every_metric_of_the_dashboard_is_exported_with_the_labels_it_asks_for():
    """Guard: a metric that is renamed in `metrics` and not here."""
    known = exported()
    targets = [t for panel in DASHBOARD["panels"] for t in panel.get("targets", [])]
    assert len(targets) > 30
    for target in targets:
        legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        asked = asked_of(target["expr"])
        assert asked, target["expr"]
        for name, labels in asked.items():
            assert name in known, f"{name} is not exported"
            assert labels | legend <= known[name] | {"job", "instance", "le"}, (name, labels)


def test_every_metric_is_documented_and_nothing_else_is():
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    told = set(re.findall(r"^\| `(perdure_[a-z_]+)", page, re.MULTILINE))
    ours = {
        re.sub(f"({'|'.join(SUFFIXES)})$", "", name)
        for name in exported()
        if name.startswith("perdure_") and not name.endswith("_created")
    }
    assert told == ours
