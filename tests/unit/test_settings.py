"""Settings: who wins, what is refused, and in which words."""

from __future__ import annotations

import os

import pytest
from pydantic import BaseModel

from perdure.errors import SettingsError
from perdure.settings import Settings, load

FILE = """
port = 7000
[limits]
running_max = 7
queued_max = 70
[agents.support]
base_url = "http://127.0.0.1:9000/v1"
model = "m"
headers = { "X-Team" = "a" }
"""


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.upper().startswith("PERDURE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "perdure.toml"
    path.write_text(FILE)
    return path


def refusal(**given):
    with pytest.raises(SettingsError) as refused:
        load(**given)
    return refused.value.detail


# Who wins


def test_without_anything_the_defaults_serve_a_laptop():
    """One person, loopback, a file in the working folder, nothing to configure."""
    settings = load()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.synchronous == "full"
    assert str(settings.sqlite_path) == "perdure.db"
    assert settings.agents == {}


def test_a_variable_wins_over_the_file_and_a_flag_over_both(file, monkeypatch):
    """Flags > variables > file > defaults."""
    assert load().port == 7000
    assert load(file).port == 7000
    monkeypatch.setenv("PERDURE_PORT", "7001")
    assert load().port == 7001
    assert load(None, {"port": 7002}).port == 7002


def test_nested_values_of_all_sources_are_put_together(file, monkeypatch):
    """A variable for one limit leaves the file's other limits as they are."""
    monkeypatch.setenv("PERDURE_LIMITS__RUNNING_MAX", "8")
    limits = load(file, {"limits": {"messages_max": 9}}).limits
    assert (limits.running_max, limits.queued_max, limits.messages_max) == (8, 70, 9)
    assert limits.queued_per_user_max == 500


def test_an_agent_can_be_given_by_variables_alone(monkeypatch):
    """`__` nests as deep as the settings do."""
    monkeypatch.setenv("PERDURE_AGENTS__SUPPORT__BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("PERDURE_AGENTS__SUPPORT__IDLE_TIMEOUT_S", "2.5")
    agent = load().agents["support"]
    assert (agent.base_url, agent.idle_timeout_s) == ("http://127.0.0.1:1/v1", 2.5)


def test_a_variable_changes_one_value_of_an_agent_in_the_file(file, monkeypatch):
    """The key of a deployment, the rest from the file."""
    monkeypatch.setenv("PERDURE_AGENTS__SUPPORT__MODEL", "other")
    agent = load(file).agents["support"]
    assert (agent.model, agent.headers) == ("other", {"X-Team": "a"})


@pytest.mark.parametrize("text", ["::1,10.0.0.2", " ::1 , 10.0.0.2,", '["::1", "10.0.0.2"]'])
def test_a_list_in_a_variable_is_written_with_commas_or_as_json(monkeypatch, text):
    """Nobody should need JSON in a shell."""
    monkeypatch.setenv("PERDURE_AUTH__TRUSTED_PROXIES", text)
    assert load().auth.trusted_proxies == ["::1", "10.0.0.2"]


def test_variables_are_read_in_any_case(monkeypatch):
    """Some platforms change the case of names."""
    monkeypatch.setenv("perdure_port", "7003")
    assert load().port == 7003


def test_relative_files_lie_in_the_data_folder():
    """An absolute one lies where it says."""
    settings = load(None, {"data_dir": "/srv/data", "store_url": "sqlite:///chat.db"})
    assert str(settings.sqlite_path) == "/srv/data/chat.db"
    settings = load(None, {"data_dir": "/srv/data", "store_url": "sqlite:////else/chat.db"})
    assert str(settings.sqlite_path) == "/else/chat.db"


def test_settings_do_not_change_after_the_start():
    """Whoever reads a setting later reads the same."""
    with pytest.raises(ValueError, match="frozen"):
        load().port = 1


# What is refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PERDURE_PROT", "1"),
        ("PERDURE_LIMITS__RUNING_MAX", "1"),
        ("PERDURE_LIMITS__RUNNING_MAX__MORE", "1"),
        ("PERDURE_AGENTS__SUPPORT__URL", "x"),
        ("perdure_unknown", "x"),
    ],
)
def test_an_unknown_variable_stops_the_start_by_its_name(monkeypatch, name, value):
    """Guard: a typing error must not look like a setting."""
    monkeypatch.setenv(name, value)
    detail = refusal()
    assert name in detail
    assert "docs/settings.md" in detail


@pytest.mark.parametrize("name", ["PERDURE_URL", "PERDURE_CONFIG"])
def test_variables_of_the_command_line_are_no_settings(monkeypatch, name):
    """The client's own variables do not disturb the server."""
    monkeypatch.setenv(name, "http://127.0.0.1:8000")
    load()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("prot = 1", "prot"),
        ("[limits]\nruning_max = 1", "limits.runing_max"),
        ("[agents.a]\nurl = 'x'", "agents.a.url"),
        ("[retention]\nevents_hour = 1", "retention.events_hour"),
    ],
)
def test_an_unknown_key_of_the_file_stops_the_start_by_its_path(tmp_path, text, name):
    """Guard: `extra = forbid` in every section."""
    (tmp_path / "perdure.toml").write_text(text)
    assert f"Unknown setting {name}." in refusal()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PERDURE_PORT", "http", "port"),
        ("PERDURE_PORT", "70000", "port"),
        ("PERDURE_LEASE_S", "0", "lease_s"),
        ("PERDURE_LEASE_S", "-1", "lease_s"),
        ("PERDURE_SYNCHRONOUS", "off", "synchronous"),
        ("PERDURE_LIMITS__RUNNING_MAX", "0", "limits.running_max"),
        ("PERDURE_LIMITS__MESSAGE_BYTES_MAX", "10", "limits.message_bytes_max"),
        ("PERDURE_RETENTION__EVENTS_HOURS", "-1", "retention.events_hours"),
        ("PERDURE_AUTH__MODE", "open", "auth.mode"),
        ("PERDURE_AGENTS__A__RECOVERY", "maybe", "agents.a.recovery"),
        ("PERDURE_LIMITS", "nonsense", "limits"),
        ("PERDURE_STORE_URL", "mysql://x", "store_url"),
        ("PERDURE_QUEUE_URL", "celery+redis://x", "queue_url"),
        ("PERDURE_BUS_URL", "redis://x", "bus_url"),
        (
            "PERDURE_STORE_URL",
            "postgresql://host:70000/db",
            "store_url: what stands where the port",
        ),
        ("PERDURE_STORE_URL", "postgresql://ann:p/w@host/db", "write / as %2F"),
        ("PERDURE_BUS_URL", "redis://host:one/1", "bus_url"),
        ("PERDURE_STORE_URL", "redis://host/chats", "store_url: Redis has numbers"),
        ("PERDURE_ROOT_PATH", "chat/", "root_path"),
        ("PERDURE_ROOT_PATH", "/api/chat", "root_path"),
    ],
)
def test_a_bad_value_is_told_by_the_name_of_its_setting(monkeypatch, name, value, said):
    """The message leads to the line to change."""
    monkeypatch.setenv(name, value)
    assert said in refusal()


def test_an_address_may_name_several_hosts(monkeypatch):
    """A database with standbys; each host has a port of its own."""
    monkeypatch.setenv("PERDURE_STORE_URL", "postgresql://ann:p%2Fw@one:5432,two:5433/db")
    assert not load().alone


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    """Nobody wants to start five times to see five mistakes."""
    (tmp_path / "perdure.toml").write_text("port = 'x'\nfoo = 1\n[limits]\nrunning_max = 0")
    detail = refusal()
    assert all(name in detail for name in ("port", "foo", "limits.running_max"))
    assert len(detail.splitlines()) == 3


def test_a_bad_value_is_not_repeated_in_the_message(tmp_path):
    """It may be a secret in the wrong place."""
    (tmp_path / "perdure.toml").write_text("port = 'hunter2'")
    assert "hunter2" not in refusal()


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    """Missing, not TOML, not UTF-8, a folder."""
    assert "nowhere.toml" in refusal(config=tmp_path / "nowhere.toml")
    path = tmp_path / "perdure.toml"
    for content in (b"port = = 1", b"name = '\xff'"):
        path.write_bytes(content)
        assert "perdure.toml" in refusal()


def test_everyone_on_one_account_needs_an_explicit_word():
    """Guard: without identity the server listens on loopback addresses only."""
    assert "auth.mode" in refusal(overrides={"host": "0.0.0.0"})
    assert load(None, {"host": "0.0.0.0", "auth": {"mode": "proxy"}}).host == "0.0.0.0"
    assert load(None, {"host": "0.0.0.0", "auth": {"allow_open": True}}).host == "0.0.0.0"
    for host in ("localhost", "::1", "127.0.0.9"):
        assert load(None, {"host": host}).host == host


def test_who_logs_in_at_a_provider_needs_one():
    """Guard: the check of `oidc`; otherwise the first login would find out."""
    whole = {"issuer": "https://id.example", "client_id": "perdure"}
    assert load(None, {"auth": {"mode": "oidc", "oidc": whole}}).auth.mode == "oidc"
    for wrong in ({"client_id": ""}, {"issuer": ""}, {"issuer": "id.example"}):
        given = {"auth": {"mode": "oidc", "oidc": whole | wrong}}
        assert "auth.oidc.issuer" in refusal(overrides=given)


# Words


def fields(model, path=""):
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, f"{path}{name}.")
        elif name != "agents":
            yield f"{path}{name}", field


def test_every_setting_says_what_it_means_and_numbers_say_their_unit():
    """A name ends with its unit or its kind; a description is a sentence."""
    units = ("_s", "_max", "_hours", "_days", "_per_minute_per_user", "port")
    for name, field in fields(Settings):
        assert field.description, name
        if field.annotation in (int, float):
            assert name.endswith(units), name
