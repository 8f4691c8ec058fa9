"""`init databricks`: a folder that is ready to be deployed, for new agents or those of a template.

What the first users' app keeps in `config/agents.json` or `config/app.json` is read as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from perdure.cli.exits import ExitCode
from perdure.errors import Invalid
from perdure.model import JSON

STARTER = Path(__file__).parent / "starters" / "databricks"
EXAMPLES_MAX = 6


class Found(msgspec.Struct, frozen=True):
    """An agent as it is to be configured, and what a person should look at."""

    id: str
    settings: JSON
    notes: Sequence[str] = ()


def databricks(folder: Path, endpoints: Sequence[str], configs: Sequence[Path]) -> int:
    """Write the folder; files that are there already are not touched."""
    read = [_read(path) for path in configs]
    agents = [_agent({"endpoint_name": name}) for name in endpoints]
    agents += [_agent(one) for config in read for one in _agents(config)]
    if not agents:
        raise Invalid("Name an agent: --endpoint NAME, or --from config/app.json")
    files = _files(_distinct(agents), _name(read))
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise Invalid(f"{folder} has {', '.join(there)} already; choose another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
        print(f"{folder / name}")
    for agent in agents:
        for note in agent.notes:
            print(f"note: {agent.id}: {note}")
    print("Next: look at perdure.toml, then: databricks bundle deploy")
    return ExitCode.OK


def _files(agents: Sequence[Found], name: str) -> dict[str, str]:
    """Return every file's text by its name."""
    files = {path.name: path.read_text("utf-8") for path in sorted(STARTER.iterdir())}
    files["perdure.toml"] += _toml(agents, name)
    files["databricks.yml"] += "".join(_grants(agents))
    return files


def _toml(agents: Sequence[Found], name: str) -> str:
    tables = [f"\n[ui]\nname = {_value(name)}\n"] if name else []
    for agent in agents:
        lines = [f"{key} = {_value(value)}" for key, value in agent.settings.items()]
        notes = [f"# {note}" for note in agent.notes]
        tables.append("\n".join(["", *notes, f"[agents.{agent.id}]", *lines, ""]))
    return "".join(tables)


def _value(value: Any) -> str:
    """Return a text or a list of texts in TOML, whose strings can be written as JSON's."""
    return json.dumps(value, ensure_ascii=False)


def _grants(agents: Sequence[Found]) -> Iterator[str]:
    """Yield the bundle's lines that let the application ask its agents."""
    for agent in agents:
        endpoint = agent.settings.get("endpoint")
        kind, key = ("serving_endpoint", "name") if endpoint else ("genie_space", "space_id")
        what = endpoint or agent.settings["genie_space"]
        right = "CAN_QUERY" if endpoint else "CAN_RUN"
        yield f"        - name: {agent.id.replace('_', '-')}\n          {kind}:\n"
        if not endpoint:
            yield f"            name: {_value(agent.settings.get('name') or agent.id)}\n"
        yield f"            {key}: {_value(what)}\n            permission: {right}\n"


def _read(path: Path) -> JSON:
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Invalid(f"Cannot read {path}: {error}") from None
    if not isinstance(config, dict):
        raise Invalid(f"{path} holds no object.")
    return config


def _agents(config: JSON) -> list[JSON]:
    agents = config.get("agents") or []
    return [one for one in agents if isinstance(one, dict)]


def _name(configs: Sequence[JSON]) -> str:
    """Return what the template's app is called."""
    for config in configs:
        branding = config.get("branding") or {}
        found = branding.get("appName") or branding.get("name") or config.get("app_name")
        if found:
            return str(found)[:60]
    return ""


def _agent(told: JSON) -> Found:
    """Return an agent of the template as ours."""
    settings: JSON = {"handler": "databricks"}
    notes: list[str] = []
    if told.get("endpoint_name"):
        settings["endpoint"] = str(told["endpoint_name"])
    elif told.get("mas_id"):
        settings["endpoint"] = f"mas-{str(told['mas_id']).partition('-')[0]}-endpoint"
        notes.append(f"supervisor {told['mas_id']}: check that this is its endpoint's name.")
    elif told.get("genie_space_id"):
        settings["genie_space"] = str(told["genie_space_id"])
    else:
        raise Invalid(f"An agent names no endpoint, supervisor or Genie space: {told}")
    place = settings.get("endpoint") or "genie"
    name = told.get("display_name") or told.get("name")
    if name:
        settings["name"] = str(name)
    about = told.get("display_description") or told.get("chat_subtitle")
    if about:
        settings["description"] = str(about)
    if told.get("question_examples"):
        settings["examples"] = [str(one) for one in told["question_examples"][:EXAMPLES_MAX]]
    return Found(_id(str(told.get("id") or name or place)), settings, notes)


def _id(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:60] or "agent"


def _distinct(agents: Sequence[Found]) -> list[Found]:
    """Return the agents under ids that differ."""
    seen: dict[str, int] = {}
    found = []
    for agent in agents:
        count = seen[agent.id] = seen.get(agent.id, 0) + 1
        renamed = agent if count == 1 else msgspec.structs.replace(agent, id=f"{agent.id}_{count}")
        found.append(renamed)
    return found
