"""The alert rules, tried by Prometheus's own tool: what must raise each, and what must not."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.prepare import find_tool
from tests.flow.serving import serving
from tests.unit.test_dashboard import asked_of, exported

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "prometheus" / "alerts.yaml"
RULES = {one["alert"]: one for one in yaml.safe_load(FILE.read_text())["groups"][0]["rules"]}
AT = "30m"
UP = 'perdure_build_info{job="p",instance="a",version="1"}'
SLOW = ('_bucket{agent="x",le="%s"}', '_bucket{agent="x",le="+Inf"}')
SERIES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "PerdureAbsent": ({"other": "1x60"}, {UP: "1x60"}),
    "PerdureStoreDown": (
        {'perdure_store_up{instance="a"}': "1x60", 'perdure_store_up{instance="b"}': "0x60"},
        {'perdure_store_up{instance="a"}': "1x60", 'perdure_store_up{instance="b"}': "0 1x60"},
    ),
    "PerdureNobodyWorks": (
        {"perdure_unclaimed_age_seconds": "0+60x60"},
        {"perdure_unclaimed_age_seconds": "30x60"},
    ),
    "PerdureNoWorkers": (
        {"perdure_workers": "0x60", 'perdure_requests{status="queued"}': "1x60"},
        {"perdure_workers": "0x60", 'perdure_requests{status="queued"}': "0x60"},
    ),
    "PerdureQueueOld": (
        {"perdure_queue_age_seconds": "0+60x60"},
        {"perdure_queue_age_seconds": "0+10x60"},
    ),
    "PerdureWorkersDie": (
        {'perdure_leases_lapsed_total{outcome="queued"}': "0x25 1x60"},
        {'perdure_leases_lapsed_total{outcome="queued"}': "0x5 1x60"},
    ),
    "PerdureAnswersFail": (
        {
            'perdure_requests_ended_total{agent="x",status="failed",code="c"}': "0+2x60",
            'perdure_requests_ended_total{agent="x",status="completed",instance="a"}': "0+3x60",
            'perdure_requests_ended_total{agent="x",status="completed",instance="b"}': "0+3x60",
        },
        {
            'perdure_requests_ended_total{agent="x",status="failed",code="c"}': "0+1x60",
            'perdure_requests_ended_total{agent="x",status="completed"}': "0+9x60",
            'perdure_requests_ended_total{agent="rare",status="failed",code="c"}': "0x20 1x60",
        },
    ),
    "PerdureAgentErrors": (
        {'perdure_upstream_errors_total{agent="x",code="c"}': "0+120x60"},
        {'perdure_upstream_errors_total{agent="x",code="c"}': "0+30x60"},
    ),
    "PerdureFirstTokenSlow": (
        {f"perdure_time_to_first_token_seconds{SLOW[0] % 30}": "0+8x60"}
        | {f"perdure_time_to_first_token_seconds{SLOW[0] % 60}": "0+10x60"}
        | {f"perdure_time_to_first_token_seconds{SLOW[1]}": "0+10x60"},
        {f"perdure_time_to_first_token_seconds{SLOW[0] % 30}": "0+10x60"}
        | {f"perdure_time_to_first_token_seconds{SLOW[1]}": "0+10x60"},
    ),
    "PerdureCommitSlow": (
        {'perdure_commit_seconds_bucket{le="0.25"}': "0+90x60"}
        | {'perdure_commit_seconds_bucket{le="1"}': "0+100x60"}
        | {'perdure_commit_seconds_bucket{le="+Inf"}': "0+100x60"},
        {'perdure_commit_seconds_bucket{le="0.25"}': "0+100x60"}
        | {'perdure_commit_seconds_bucket{le="+Inf"}': "0+100x60"},
    ),
    "PerdureRefuses": (
        {'perdure_http_calls_total{status="503"}': "0+6x60"}
        | {'perdure_http_calls_total{status="200"}': "0+60x60"},
        {'perdure_http_calls_total{status="404"}': "0+60x60"}
        | {'perdure_http_calls_total{status="200"}': "0+60x60"},
    ),
    "PerdureProcessFull": (
        {'process_cpu_seconds_total{job="p",instance="a"}': "0+58x60", UP: "1x60"},
        {'process_cpu_seconds_total{job="other",instance="a"}': "0+58x60", UP: "1x60"},
    ),
    "PerdureFilesRunOut": (
        {'process_open_fds{job="p",instance="a"}': "900x60"}
        | {'process_max_fds{job="p",instance="a"}': "1024x60", UP: "1x60"},
        {'process_open_fds{job="p",instance="a"}': "100x60"}
        | {'process_max_fds{job="p",instance="a"}': "1024x60", UP: "1x60"},
    ),
    "PerdureWebhooksOld": (
        {"perdure_webhook_age_seconds": "0+60x60"},
        {"perdure_webhook_age_seconds": "0+10x60"},
    ),
}
"""For each alert: figures that must raise it, and figures that must not, a value a minute."""


def judged(*command: object) -> tuple[int, str]:
    tool = find_tool("promtool")
    assert tool, "there is no promtool: run `make setup`"
    done = subprocess.run(
        [tool, *map(str, command)], check=False, capture_output=True, text=True, cwd=ROOT
    )
    return done.returncode, done.stdout + done.stderr


def test_the_rules_are_rules(tmp_path):
    assert judged("check", "rules", "--lint=all", "--lint-fatal", FILE)[0] == 0
    odd = tmp_path / "odd.yaml"
    odd.write_text(FILE.read_text().replace("absent(", "absend("))
    assert judged("check", "rules", odd)[0] != 0, "control: the tool finds what is wrong"


def trial(name: str, series: dict[str, str], *, raised: bool) -> dict[str, Any]:
    """Return a test in Prometheus's own form: `count(ALERTS …)` is what was raised."""
    expression = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)'
    sample = {"labels": "{}", "value": int(raised)}
    return {
        "name": f"{name} {'is' if raised else 'is not'} raised",
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": AT, "exp_samples": [sample]}],
    }


def test_each_rule_is_raised_by_what_it_is_for_and_by_nothing_else(tmp_path):
    """Guard: thresholds and durations; a rule that is never raised would be missed by nobody."""
    assert SERIES.keys() == RULES.keys()
    trials = [
        trial(name, series, raised=raised)
        for name, both in SERIES.items()
        for series, raised in zip(both, (True, False), strict=True)
    ]
    file = tmp_path / "trials.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(FILE)], "tests": trials}))
    code, said = judged("test", "rules", file)
    assert code == 0, said


@pytest.mark.parametrize("name", RULES)
def test_a_rule_asks_for_what_is_exported_with_the_labels_it_names(name):
    """Guard: a metric that is renamed in `metrics` and not here."""
    known = exported()
    asked = asked_of(RULES[name]["expr"])
    assert asked, name
    for metric, labels in asked.items():
        assert metric in known, f"{metric} is not exported"
        assert labels <= known[metric] | {"job", "instance", "le"}, (metric, labels)
    shown = set(re.findall(r"\$labels\.(\w+)", RULES[name]["annotations"]["summary"]))
    assert shown <= {"agent", "instance"}


async def test_a_running_server_shows_every_family_that_a_rule_asks_for(tmp_path):
    async with serving(tmp_path) as server:
        shown = (await server.http.get("/metrics")).text
    families = set(re.findall(r"(?m)^# TYPE (\S+)", shown))
    for rule in RULES.values():
        for metric in asked_of(rule["expr"]):
            plain = re.sub("_bucket$", "", metric)
            assert {plain, plain.removesuffix("_total")} & families, metric


def test_each_alert_says_how_bad_it_is_and_what_to_do():
    page = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    assert re.findall(r"(?m)^## (\w+)$", page) == list(RULES)
    for name, rule in RULES.items():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{name.lower()}"
        section = page.split(f"## {name}\n")[1].split("\n## ")[0]
        assert "**Do**" in section, name
