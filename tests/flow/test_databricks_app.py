"""`perdure init databricks`: the folder it writes is the one that is published, and it serves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from perdure import lakebase
from perdure.cli import main
from perdure.errors import Unavailable
from perdure.settings import load
from tests.databricks import Answer, frames, working
from tests.databricks.frames import done, message, text
from tests.databricks.workspace import CLIENT
from tests.world.server import ROOT, environment, free_port
from tests.world.waiting import eventually

GONE_S = 15
"""The platform kills what is still there so long after SIGTERM."""
WHOLE = Answer(frames=[text("w0 "), done(message("w0 "))])
NEW = {
    "app_name": "portal",
    "agents": [
        {
            "endpoint_name": "ka-1-endpoint",
            "display_name": "Knowledge",
            "display_description": "Knows it.",
            "question_examples": ["How long?"],
            "mlflow_experiment_id": "5",
        },
        {"mas_id": "0a1b2c3d-1111-4222-8333-444455556666"},
        {"genie_space_id": "01f1", "display_name": "Numbers"},
        {"endpoint_name": "ka-2-endpoint", "display_name": "Knowledge"},
    ],
    "branding": {"name": "The Workshop"},
}
OLD = {
    "agents": [
        {
            "id": "databricks-agent-01",
            "name": "parts",
            "deployment_type": "databricks-endpoint",
            "endpoint_name": "agents_x-parts-4",
            "display_name": "Parts",
            "chat_subtitle": "Start a conversation.",
            "tools": [{"display_name": "Metrics", "type": "Genie Room"}],
        }
    ]
}
OLD_APP = {"branding": {"appName": "Wing", "logoPath": "/logos/x.svg"}}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(("PERDURE_", "DATABRICKS_", "PG")):
            monkeypatch.delenv(name)


def test_what_is_published_is_what_it_writes(tmp_path: Path) -> None:
    """Otherwise: `perdure init databricks deploy/databricks --endpoint my-agent`, anew."""
    assert main(["init", "databricks", str(tmp_path / "app"), "--endpoint", "my-agent"]) == 0
    published = ROOT / "deploy" / "databricks"
    names = {path.name for path in published.iterdir()} - {"README.md"}
    assert names == {path.name for path in (tmp_path / "app").iterdir()}
    for name in names:
        assert (published / name).read_text() == (tmp_path / "app" / name).read_text(), name


def test_the_bundle_grants_what_the_settings_use(tmp_path: Path) -> None:
    (tmp_path / "app.json").write_text(json.dumps(NEW))
    assert (
        main(["init", "databricks", str(tmp_path / "x"), "--from", str(tmp_path / "app.json")]) == 0
    )
    app = yaml.safe_load((tmp_path / "x" / "app.yaml").read_text())
    assert app == {"command": ["perdure", "serve"]}
    bundle = yaml.safe_load((tmp_path / "x" / "databricks.yml").read_text())
    resources = bundle["resources"]["apps"]["chat"]["resources"]
    assert [one["name"] for one in resources] == [
        "database",
        "knowledge",
        "mas-0a1b2c3d-endpoint",
        "numbers",
        "knowledge-2",
    ]
    granted = {one["serving_endpoint"]["name"] for one in resources if "serving_endpoint" in one}
    agents = tomllib.loads((tmp_path / "x" / "perdure.toml").read_text())["agents"]
    assert granted == {one["endpoint"] for one in agents.values() if "endpoint" in one}
    assert resources[3]["genie_space"] == {
        "name": "Numbers",
        "space_id": "01f1",
        "permission": "CAN_RUN",
    }


@pytest.mark.parametrize(
    ("configs", "ids", "name"),
    [
        ([NEW], ["knowledge", "mas_0a1b2c3d_endpoint", "numbers", "knowledge_2"], "The Workshop"),
        ([OLD, OLD_APP], ["databricks_agent_01"], "Wing"),
    ],
    ids=["app.json", "agents.json beside app.json"],
)
def test_a_templates_agents_are_taken_over(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    configs: list[Any],
    ids: list[str],
    name: str,
) -> None:
    given = []
    for number, config in enumerate(configs):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(config))
        given += ["--from", str(path)]
    assert main(["init", "databricks", str(tmp_path / "app"), *given]) == 0
    monkeypatch.chdir(tmp_path / "app")
    monkeypatch.setenv("DATABRICKS_APP_PORT", "8123")
    settings = load()
    assert (settings.host, settings.port) == ("0.0.0.0", 8123)
    assert (list(settings.agents), settings.ui.name) == (ids, name)
    assert settings.agents[ids[0]].description in ("Knows it.", "Start a conversation.")
    assert 0 < settings.stream_max_s < 60
    assert "mas_0a1b2c3d_endpoint: supervisor" in capsys.readouterr().out or len(ids) == 1


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "perdure.toml").write_text("mine")
    assert main(["init", "databricks", str(tmp_path), "--endpoint", "e"]) != 0
    assert [path.name for path in tmp_path.iterdir()] == ["perdure.toml"]
    assert (tmp_path / "perdure.toml").read_text() == "mine"


async def test_the_database_is_opened_with_a_fresh_token(monkeypatch: pytest.MonkeyPatch) -> None:
    async with working() as workspace:
        service_principal(workspace.url, monkeypatch.setenv)
        assert await lakebase.password() == await lakebase.password() == "oauth-1"


async def test_without_a_token_the_store_is_away_and_not_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guard: `Unavailable`, for which running answers wait; any other error would end them."""
    async with working() as workspace:
        service_principal(workspace.url, monkeypatch.setenv)
        monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", "wrong")
        with pytest.raises(Unavailable, match="no password for the database"):
            await lakebase.password()


@pytest.mark.timeout(120)
async def test_the_folder_serves_as_the_platform_starts_it(tmp_path: Path) -> None:
    """Port, people and identity come from the platform; SIGTERM ends it in time, mid-answer.

    Guards: the drain of open streams, and `timeout_graceful_shutdown` behind it.
    """
    async with working() as workspace:
        workspace.endpoints = {"my-agent": frames.RESPONSES}
        workspace.answers = [WHOLE, Answer(frames=[text("w0 ")], hold=True)]
        assert main(["init", "databricks", str(tmp_path / "app"), "--endpoint", "my-agent"]) == 0
        command = yaml.safe_load((tmp_path / "app" / "app.yaml").read_text())["command"]
        platform: dict[str, str] = {"DATABRICKS_APP_PORT": str(free_port())}
        service_principal(workspace.url, platform.__setitem__)
        # There is no Lakebase here; the PostgreSQL store has tests of its own.
        env = environment(**platform, PERDURE_STORE_URL="sqlite:///perdure.db")
        process = start(command, tmp_path, env)
        try:
            left = await converse(process, platform["DATABRICKS_APP_PORT"])
        finally:
            process.kill()
            process.wait()
        assert left, f"it is there 15 s after SIGTERM: {(tmp_path / 'log.txt').read_text()}"
        assert {one.token for one in workspace.asked} == {"oauth-1"}


def start(command: list[str], folder: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    with (folder / "log.txt").open("wb") as log:
        words = [sys.executable, "-m", *command]
        return subprocess.Popen(words, cwd=folder / "app", env=env, stdout=log, stderr=log)


async def test_check_says_whether_the_workspace_and_the_endpoint_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = """
[agents.here]
handler = "databricks"
endpoint = "my-agent"
[agents.gone]
handler = "databricks"
endpoint = "no-agent"
"""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "perdure.toml").write_text(config)
    async with working() as workspace:
        workspace.endpoints = {"my-agent": frames.RESPONSES}
        service_principal(workspace.url, monkeypatch.setenv)
        assert await asyncio.to_thread(main, ["check", "--json"]) == 1
    told = {one["about"]: one for one in json.loads(capsys.readouterr().out)}
    assert told["agent here"]["verdict"] == "ok"
    assert "responses" in told["agent here"]["detail"]
    assert told["agent gone"]["verdict"] == "wrong"
    assert "RESOURCE_DOES_NOT_EXIST" in told["agent gone"]["detail"]


async def converse(process: subprocess.Popen[bytes], port: str) -> bool:
    """Ask as the platform's proxy does; tell whether it left when the platform wants it to."""
    who = {"X-Forwarded-User": "7", "X-Forwarded-Email": "ann@example.org"}
    address = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=address, headers=who, timeout=30) as http:

        async def ready() -> bool:
            try:
                return (await http.get("/readyz")).status_code == 200
            except httpx.HTTPError:
                return False

        await eventually(ready, within_s=40, what="the app is ready")
        assert (await http.get("/api/me")).json()["display"] == "ann@example.org"
        assert (await http.post("/v1/responses", json={"input": "hi"})).json()[
            "status"
        ] == "completed"
        asked = (await http.post("/api/invoke_endpoint", json={"message": "hi"})).json()

        async def begun() -> bool:
            status = await http.get(f"/api/requests/{asked['request_id']}/status")
            return bool(status.json()["partial_content"])

        await eventually(begun, within_s=20, what="the answer has begun")
        async with http.stream("GET", f"/api/requests/{asked['request_id']}/stream"):
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(process.wait, GONE_S)
            except subprocess.TimeoutExpired:
                return False
    return True


def service_principal(host: str, put: Any) -> None:
    put("DATABRICKS_HOST", host)
    put("DATABRICKS_CLIENT_ID", CLIENT[0])
    put("DATABRICKS_CLIENT_SECRET", CLIENT[1])
