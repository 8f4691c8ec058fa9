"""`serve`, `worker`, `openapi`: from flags to settings and agents, on to the composition root."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from perdure.cli.exits import ExitCode
from perdure.errors import Invalid

UPSTREAM_AGENT = "default"
"""Id of the agent that `--upstream` makes."""


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """The flags of `serve`; None = not given."""

    modules: Sequence[str] = ()
    config: Path | None = None
    host: str | None = None
    port: int | None = None
    data_dir: Path | None = None
    upstream: str | None = None
    model: str | None = None
    api_key_env: str | None = None

    def overrides(self) -> dict[str, Any]:
        """Return the settings these flags set, nested as in the file."""
        given = {"host": self.host, "port": self.port, "data_dir": self.data_dir}
        settings: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
        if self.upstream is not None:
            settings["agents"] = {UPSTREAM_AGENT: self._upstream_agent()}
            settings["default_agent"] = UPSTREAM_AGENT
        elif self.model is not None or self.api_key_env is not None:
            raise Invalid("--model and --api-key-env belong to --upstream URL; give that as well.")
        return settings

    def _upstream_agent(self) -> dict[str, str]:
        if self.model is None:
            raise Invalid("--upstream needs --model NAME: the model to ask for there.")
        agent = {"handler": "openai", "base_url": self.upstream or "", "model": self.model}
        agent["name"] = self.model
        return agent | ({"api_key_env": self.api_key_env} if self.api_key_env else {})


def serve(flags: Flags) -> int:
    """Run the server until it is told to stop; return its exit code."""
    from perdure import app, settings  # noqa: PLC0415  # the whole server, only here

    for module in flags.modules:
        if ":" not in module:
            raise Invalid(f"{module} names no agent: write MODULE:AGENT, e.g. my_agent:support.")
    in_force = settings.load(flags.config, flags.overrides())
    return app.serve(in_force, app.build_agents(in_force, list(flags.modules)))


def work(config: Path | None, modules: Sequence[str], concurrency: int | None) -> int:
    """Run a worker until it is told to stop; return its exit code."""
    from perdure import adapters, settings  # noqa: PLC0415  # all adapters, only here

    overrides = {} if concurrency is None else {"worker": {"running_max": concurrency}}
    in_force = settings.load(config, overrides)
    with adapters.needing("celery", "perdure worker"):
        from perdure import worker  # noqa: PLC0415  # Celery, only here

    return worker.run(in_force, modules)


def openapi(config: Path | None) -> int:
    """Print the OpenAPI description as JSON."""
    from perdure import app, settings  # noqa: PLC0415  # the whole server, only here

    in_force = settings.load(config, {})
    served = app.create_app(agents=app.build_agents(in_force, []), settings=in_force)
    print(json.dumps(served.openapi(), indent=2, ensure_ascii=False))
    return ExitCode.OK
