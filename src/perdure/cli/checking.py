"""`check`: what is in force, what is reachable, what is wrong; with or without a running server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from perdure.cli.exits import ExitCode
from perdure.cli.finding import Finding
from perdure.cli.remote import Remote
from perdure.errors import PerdureError
from perdure.handlers.anthropic import VERSION
from perdure.settings import PREFIX, AgentSettings, Settings, load, without_secrets

SQLITE_MIN = (3, 51, 3)
FREE_BYTES_MIN = 200_000_000
MODELS_TOLD = 5
MARKS = {"ok": ("✓", "green"), "note": ("·", "dim"), "wrong": ("✗", "red")}


def check(config: Path | None, data_dir: Path | None, *, as_json: bool) -> int:
    """Report; return 1 when something is wrong."""
    overrides = {} if data_dir is None else {"data_dir": data_dir}
    try:
        settings = load(config, overrides)
    except PerdureError as error:
        findings = [Finding("wrong", "settings", error.detail, "See docs/settings.md.")]
    else:
        findings = [*_in_force(settings, config, overrides), *asyncio.run(_reach(settings))]
    _print(findings, as_json=as_json)
    wrong = any(finding.verdict == "wrong" for finding in findings)
    return ExitCode.FAILED if wrong else ExitCode.OK


def _in_force(
    settings: Settings,
    config: Path | None,
    overrides: Mapping[str, Any],
) -> Iterator[Finding]:
    """Yield what can be told without any connection."""
    for name, value, source in _sources(settings, config, overrides):
        yield Finding("note", name, f"{value}  ({source})")
    if settings.alone:
        yield _sqlite()
        yield from _data(settings)
    yield _ui()


def _sources(
    settings: Settings,
    config: Path | None,
    overrides: Mapping[str, Any],
) -> Iterator[tuple[str, object, str]]:
    """Yield (setting, value, where it comes from): the basic ones and all that were set."""
    variables = {
        name[len(PREFIX) :].lower().replace("__", "."): f"variable {name}"
        for name in sorted(os.environ)
        if name.startswith(PREFIX)
    }
    file = config or Path("perdure.toml")
    written = (
        dict.fromkeys(_leaves(tomllib.loads(file.read_text())), str(file)) if file.is_file() else {}
    )
    flags = dict.fromkeys(overrides, "flag")
    basic = dict.fromkeys(("host", "port", "data_dir", "store_url", "auth.mode"), "default")
    for name, source in {**basic, **written, **variables, **flags}.items():
        found, value = _value(settings, name)
        if found:
            yield name, value, source


def _leaves(table: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}"


def _value(settings: Settings, name: str) -> tuple[bool, object]:
    """Return whether the setting exists, and its value; keys in headers are not shown."""
    value: Any = settings
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
        if value is None:
            return False, None
    if ".headers" in name or _is_secret(name):
        return True, "(hidden)"
    return True, without_secrets(value) if name.endswith("_url") and isinstance(
        value, str
    ) else value


def _is_secret(name: str) -> bool:
    """Tell whether a setting is one that its own section does not show."""
    model: Any = Settings
    for key in name.split("."):
        field = getattr(model, "model_fields", {}).get(key)
        if field is None:
            return False
        if not field.repr:
            return True
        model = field.annotation
    return False


def _sqlite() -> Finding:
    import apsw  # noqa: PLC0415

    version = apsw.sqlite_lib_version()
    detail = f"{version} (apsw {apsw.apsw_version()})"
    if tuple(int(part) for part in version.split(".")[:3]) < SQLITE_MIN:
        return Finding("wrong", "SQLite", detail, "Needs 3.51.3 or later: pip install -U apsw")
    return Finding("ok", "SQLite", detail)


def _data(settings: Settings) -> Iterator[Finding]:
    file = settings.sqlite_path
    folder = file.parent.resolve()
    at = folder
    while not at.exists():
        at = at.parent
    if not os.access(at, os.W_OK):
        hint = "Choose another one with --data-dir, or change its permissions."
        yield Finding("wrong", "data folder", f"{folder} is not writable", hint)
        return
    free = shutil.disk_usage(at).free
    few = free < FREE_BYTES_MIN
    yield Finding(
        "wrong" if few else "ok",
        "data folder",
        f"{folder}, {free / 1e9:.1f} GB free",
        "Free some space: without it questions are refused." if few else "",
    )
    if not file.exists():
        yield Finding("note", "database", f"{file.name}, made at the first start")
        return
    yield _database(file)
    yield from _read_by_others(file)


def _database(file: Path) -> Finding:
    """Say whether a server could open the file, and what it would find."""
    from perdure.stores.sqlite.looking import look_at  # noqa: PLC0415  # apsw, only here

    try:
        told = look_at(file)
    except PerdureError as error:
        return Finding("wrong", "database", error.detail)
    applied, known = told["schema"], told["schema_known"]
    size = f"{file.name}, {file.stat().st_size / 1e6:.1f} MB, schema {applied} of {known}"
    if applied < known:
        hint = "The next start migrates it, or: perdure db upgrade"
        return Finding("note", "database", size, hint)
    looked = "no damage found" if told["whole"] else "too large to look through all of it"
    return Finding("ok", "database", f"{size}, {looked}")


def _read_by_others(file: Path) -> Iterator[Finding]:
    """Yield a file of chats that anybody on the machine may read; new ones are their owner's."""
    mode, way = file.stat().st_mode, file.parent.stat().st_mode
    if mode & stat.S_IROTH and way & stat.S_IXOTH:
        open_to_all = f"others may read {file.name} (mode {stat.S_IMODE(mode):04o})"
        files = " ".join(str(Path(f"{file}{end}")) for end in ("", "-wal", "-shm"))
        yield Finding("wrong", "who reads it", open_to_all, f"chmod -f go= {files}")


def _ui() -> Finding:
    built = (Path(__file__).parent.parent / "static" / "index.html").is_file()
    return Finding(
        "ok" if built else "note", "web UI", "built" if built else "not built (make run)"
    )


async def _reach(settings: Settings) -> list[Finding]:
    """Return what connections tell: the port, and every agent, asked at the same time."""
    from perdure.cli import servers  # noqa: PLC0415  # adapters, only here

    agents = [_agent(name, settings) for name in settings.agents]
    shared: list[Finding] = [] if settings.alone else await servers.look(settings)
    shared += await servers.who_signs_in(settings)
    if not agents:
        return [*shared, await _port(settings), Finding("ok", "agent guide", "built in")]
    return [*shared, *await asyncio.gather(_port(settings), *agents)]


async def _port(settings: Settings) -> Finding:
    about, url = f"port {settings.port}", f"http://{settings.host}:{settings.port}"
    if settings.port == 0 or _bindable(settings.host, settings.port):
        return Finding("ok", about, f"free on {settings.host}; no server runs there")
    try:
        async with Remote(url) as remote:
            ready = await remote.status("/readyz")
    except PerdureError:
        hint = "Stop that program or choose another port: perdure serve --port 8001"
        return Finding("wrong", about, "taken by another program", hint)
    if ready == 200:  # noqa: PLR2004  # HTTP's own number
        return Finding("ok", about, f"a Perdure server runs at {url} and is ready")
    return Finding("wrong", about, f"{url} answers {ready} to /readyz", "See the server's log.")


def _bindable(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


async def _agent(name: str, settings: Settings) -> Finding:
    about, agent = f"agent {name}", settings.agents[name]
    if agent.handler == "databricks":
        from perdure.cli import servers  # noqa: PLC0415  # adapters, only here

        return await servers.endpoint(name, settings)
    if agent.handler == "python":
        return _module(name, agent.module)
    if agent.handler == "guide":
        return Finding("ok", about, "built in")
    return await _upstream(name, agent)


def _module(name: str, place: str) -> Finding:
    """Say whether a start would find the function, by importing it as a start does."""
    from perdure.handlers import python  # noqa: PLC0415  # an adapter, only here

    try:
        python.load(place)
    except PerdureError as error:
        return Finding("wrong", f"agent {name}", error.detail, f"Correct agents.{name}.module.")
    return Finding("ok", f"agent {name}", f"{place} is there")


async def _upstream(name: str, agent: AgentSettings) -> Finding:
    about = f"agent {name}"
    if agent.api_key_env and not os.environ.get(agent.api_key_env):
        hint = f"Set it before the start: export {agent.api_key_env}=…"
        return Finding("wrong", about, f"the variable {agent.api_key_env} is not set", hint)
    key = os.environ.get(agent.api_key_env, "") if agent.api_key_env else ""
    headers = dict(agent.headers) | (_signed(agent, key) if key else {})
    try:
        async with Remote(agent.base_url) as remote:
            status, told = await remote.look("/models", headers)
    except PerdureError as error:
        hint = f"Start the agent's server or correct agents.{name}.base_url."
        why = "" if error.code == "no_server" else f" ({error})"
        return Finding("wrong", about, f"{agent.base_url} cannot be reached{why}", hint)
    if status in (401, 403):
        hint = f"Check the key in the variable that agents.{name}.api_key_env names."
        return Finding("wrong", about, f"{agent.base_url} refuses the key ({status})", hint)
    models = _models(told)
    if models and agent.model not in models:
        hint = f"It lists {', '.join(models[:MODELS_TOLD])}. Is agents.{name}.model right?"
        detail = f"{agent.base_url} answers and does not list the model {agent.model}"
        return Finding("note", about, detail, hint)
    return Finding("ok", about, f"{agent.base_url} answers; model {agent.model}")


def _models(told: Any) -> list[str]:
    """Return the ids of a list of models; none where it is none."""
    listed = told.get("data") if isinstance(told, dict) else None
    found = listed if isinstance(listed, list) else []
    return [str(one["id"]) for one in found if isinstance(one, dict) and "id" in one]


def _signed(agent: AgentSettings, key: str) -> dict[str, str]:
    """Return the headers by which a server of the agent's dialect knows its caller."""
    if agent.handler == "anthropic":
        return {"x-api-key": key, "anthropic-version": VERSION}
    return {"Authorization": f"Bearer {key}"}


def _print(findings: list[Finding], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([msgspec.to_builtins(finding) for finding in findings]))
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(soft_wrap=True, highlight=False)
    width = max(len(finding.about) for finding in findings)
    for finding in findings:
        mark, style = MARKS[finding.verdict]
        console.print(Text(f"{mark} {finding.about:<{width}}  {finding.detail}", style=style))
        if finding.hint:
            console.print(Text(f"  {'':<{width}}  {finding.hint}"))
    wrong = sum(finding.verdict == "wrong" for finding in findings)
    console.print("Nothing is wrong." if not wrong else f"{wrong} wrong.")
