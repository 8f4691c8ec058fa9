"""A missing extra is named with the command that brings it, at the start and not at a question."""

from __future__ import annotations

import importlib.util

import pytest

from perdure import adapters
from perdure.app import build_agents
from perdure.errors import SettingsError
from perdure.sections import AgentSettings, Mlflow
from perdure.settings import Settings


@pytest.fixture
def nothing_installed(monkeypatch):
    found = importlib.util.find_spec

    def without(name, package=None):
        return None if name.startswith(("databricks", "mlflow")) else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)


@pytest.mark.usefixtures("nothing_installed")
def test_agents_on_databricks_need_the_extra():
    agent = AgentSettings(handler="databricks", endpoint="e")
    with pytest.raises(SettingsError, match=r"pip install 'perdure\[databricks\]'") as refused:
        build_agents(Settings(agents={"a": agent}))
    assert refused.value.code == "extra_missing"


@pytest.mark.usefixtures("nothing_installed")
def test_a_tracker_needs_the_extra():
    settings = Settings(mlflow=Mlflow(tracking_uri="databricks"))
    with pytest.raises(SettingsError, match=r"pip install 'perdure\[databricks\]'"):
        adapters.tracker_of(settings)


@pytest.mark.parametrize(
    "given",
    [{}, {"endpoint": "e", "genie_space": "g"}, {"endpoint": "e", "supervisor_model": "m"}],
)
def test_an_agent_is_an_endpoint_or_a_genie_space_or_a_supervisor(given):
    agent = AgentSettings(handler="databricks", **given)
    with pytest.raises(SettingsError, match="needs endpoint, genie_space or"):
        build_agents(Settings(agents={"a": agent}))
