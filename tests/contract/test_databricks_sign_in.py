"""Signing in with the real databricks-sdk: every way, its refresh, and never in the event loop.

The workspace is served by the very loop that asks: an SDK that blocked it would never be answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.errors import UpstreamError
from perdure.handlers.databricks import Credentials
from perdure.handlers.databricks.workspace import Workspace as Caller
from tests.databricks import Workspace, frames, working
from tests.databricks.workspace import CLIENT, PAT
from tests.world.server import free_port

# Who comes first imports the SDK, which alone takes long on a busy machine.
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Workspace]:
    for name in ("HOST", "TOKEN", "CLIENT_ID", "CLIENT_SECRET", "CONFIG_PROFILE"):
        monkeypatch.delenv(f"DATABRICKS_{name}", raising=False)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "databrickscfg"))
    async with working() as made:
        made.endpoints = {"agent": frames.RESPONSES}
        yield made


@pytest.fixture
def service_principal(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Databricks Apps injects."""
    monkeypatch.setenv("DATABRICKS_HOST", workspace.url)
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", CLIENT[0])
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", CLIENT[1])


async def bearer(credentials: Credentials) -> str:
    return (await credentials.signed()).headers["Authorization"]


async def test_a_personal_access_token(workspace: Workspace) -> None:
    assert await bearer(Credentials(workspace.url, token=PAT)) == f"Bearer {PAT}"
    assert workspace.tokens == 0


async def test_a_profile_of_the_command_line(workspace: Workspace, tmp_path: Path) -> None:
    profile = f"[work]\nhost = {workspace.url}\ntoken = {PAT}\n"
    (tmp_path / "databrickscfg").write_text(profile)
    signed = await Credentials(profile="work").signed()
    assert signed.host == workspace.url
    assert signed.headers["Authorization"] == f"Bearer {PAT}"


@pytest.mark.usefixtures("service_principal")
async def test_the_service_principal_of_an_app(workspace: Workspace) -> None:
    credentials = Credentials()
    assert await bearer(credentials) == "Bearer oauth-1"
    assert (await credentials.signed()).host == workspace.url


@pytest.mark.usefixtures("service_principal")
async def test_a_token_is_kept_until_shortly_before_its_end(workspace: Workspace) -> None:
    credentials = Credentials()
    first = await credentials.signed()
    assert all([await credentials.signed() is first for _ in range(20)])
    assert workspace.tokens == 1


@pytest.mark.usefixtures("service_principal")
async def test_many_who_need_a_token_at_once_cause_one(workspace: Workspace) -> None:
    credentials = Credentials()
    signed = await asyncio.gather(*(credentials.signed() for _ in range(20)))
    assert len({id(one) for one in signed}) == 1
    assert workspace.tokens == 1


@pytest.mark.usefixtures("service_principal")
async def test_a_token_at_its_end_is_replaced(workspace: Workspace) -> None:
    """The SDK counts a token as over 40 s before its end; so this one is over at once."""
    workspace.expires_in = 40
    credentials = Credentials()
    before = await bearer(credentials)
    workspace.expires_in = 3600
    assert await bearer(credentials) != before
    tokens = workspace.tokens
    await bearer(credentials)
    assert workspace.tokens == tokens


@pytest.mark.usefixtures("service_principal")
async def test_a_token_that_is_not_taken_is_replaced_once(workspace: Workspace) -> None:
    caller = Caller(Credentials())
    path = "/api/2.0/serving-endpoints/agent"
    workspace.taken = {"oauth-1"}
    async with caller.open("GET", path) as answered:
        assert answered.response.status == 200
    workspace.taken = {f"oauth-{number}" for number in range(10)}
    before = workspace.described
    async with caller.open("GET", path) as answered:
        assert answered.response.status == 401
    assert workspace.described - before == 2
    await caller.close()


@pytest.mark.usefixtures("service_principal")
async def test_a_wrong_secret_is_told_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", "a-wrong-secret")
    with pytest.raises(UpstreamError, match="Cannot sign in to Databricks") as failed:
        await Credentials().signed()
    assert (failed.value.code, failed.value.retryable) == ("upstream_unauthorized", False)
    assert "a-wrong-secret" not in failed.value.detail + caplog.text


async def test_nothing_to_sign_in_with_is_told(workspace: Workspace) -> None:
    with pytest.raises(UpstreamError, match="Cannot sign in to Databricks"):
        await Credentials(workspace.url).signed()


async def test_headers_are_not_printed(workspace: Workspace) -> None:
    signed = await Credentials(workspace.url, token=PAT).signed()
    assert PAT not in repr(signed)


async def test_a_workspace_that_is_away_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: `asyncio.to_thread`; in the loop the ticks would stop until the SDK gives up."""
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", CLIENT[0])
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", CLIENT[1])
    monkeypatch.setattr("perdure.handlers.databricks.credentials.CONNECT_S", 2)
    asked = asyncio.create_task(Credentials(f"http://127.0.0.1:{free_port()}").signed())
    ticks = 0
    while not asked.done():
        await asyncio.sleep(0.01)  # each one is a turn of the loop, which goes on meanwhile
        ticks += 1
    with pytest.raises(UpstreamError):
        asked.result()
    assert ticks > 10


@pytest.mark.parametrize("host", ["w.example", "https://w.example", "https://w.example/"])
def test_a_host_may_be_written_in_several_ways(host: str) -> None:
    assert Credentials(host).host == "https://w.example"
