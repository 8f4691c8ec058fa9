"""The composition root of the server: settings and agents in, an ASGI application out."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Literal

from fastapi import FastAPI

from perdure import adapters, routers, server
from perdure.core import Adapters, Core
from perdure.errors import SettingsError
from perdure.handlers import guide, python
from perdure.handlers.anthropic import AnthropicHandler
from perdure.handlers.databricks import (
    Credentials,
    DatabricksHandler,
    GenieHandler,
    SupervisorHandler,
)
from perdure.handlers.guide import GuideHandler
from perdure.handlers.openai import OpenAIHandler
from perdure.handlers.python import PythonHandler
from perdure.handlers.responses import ResponsesHandler
from perdure.ports import Agent, Handler
from perdure.settings import AgentSettings, Settings, load

Agents = Mapping[str, Agent | Callable[..., Any]]


def create_app(
    agents: Agents | None = None,
    settings: Settings | None = None,
    *,
    core: Core | None = None,
) -> FastAPI:
    """Return Perdure as an ASGI application.

    Args:
        agents: by id; a Python agent function, or an `Agent` with any handler. None = those of the
            settings, else the built-in guide.
        settings: what is in force; None = `perdure.toml` and `PERDURE_*`.
        core: parts that the caller opens and closes; by default the application's lifespan does.

    """
    if core is None:
        settings = settings or load()
        core = build_core(settings, agents or build_agents(settings))
        lifespan = _opening(core)
    else:
        lifespan = None
    core.metrics.deployment.shown = True
    app = FastAPI(
        title="Perdure",
        version=version("perdure"),
        summary="A chat server for LLM agents whose answers outlast the connection.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.core = core
    app.state.provider = adapters.provider_of(core.settings)
    rates = app.state.rates = adapters.rates_of(core.settings)
    if rates is not None:
        core.besides.append(rates.close)
    routers.include(app, with_ui=core.settings.ui.enabled)
    return app


def build_core(settings: Settings, agents: Agents, *, worker: bool = False) -> Core:
    """Return the parts of one process, with the adapters that the settings name.

    `worker`: it is a worker process; else it runs answers only where there are no workers.
    """
    runs_here = worker or not settings.has_workers
    known = {agent_id: _agent(agent_id, agent) for agent_id, agent in agents.items()}
    behind = Adapters(
        adapters.store_of(settings),
        adapters.queue_of(settings),
        adapters.bus_of(settings),
        lease_store=adapters.lease_store_of(settings) if runs_here and not settings.alone else None,
        tracker=None if worker else adapters.tracker_of(settings),
    )
    core = Core(settings, known, behind, slots=settings.worker.running_max if worker else 0)
    core.trace(adapters.traces_of_environment())
    return core


def build_agents(settings: Settings, modules: Sequence[str] = ()) -> dict[str, Agent]:
    """Return the agents of the command line and the settings, in this order; else the guide.

    Raises `SettingsError` when one cannot be made.
    """
    agents: dict[str, Agent] = {}
    for module in modules:
        agent_id = module.rpartition(":")[2].replace(".", "_")
        agents[agent_id] = _agent(agent_id, python.load(module))
    for agent_id, wanted in settings.agents.items():
        agents[agent_id] = _configured(agent_id, wanted)
    return agents or {"guide": _configured("guide", AgentSettings(handler="guide"))}


def serve(settings: Settings, agents: Mapping[str, Agent]) -> int:
    """Serve until a signal says otherwise; return the process's exit code."""
    core = build_core(settings, agents)
    return server.run(core, create_app(core=core))


def _opening(core: Core) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await core.open()
        try:
            yield
        finally:
            await core.close()

    return lifespan


def _agent(agent_id: str, agent: Agent | Callable[..., Any]) -> Agent:
    if isinstance(agent, Agent):
        return agent
    about = python.about(agent)
    handler = PythonHandler(agent)
    return Agent(
        id=agent_id,
        handler=handler,
        recovery="continue" if handler.can_continue else "restart",
        name=about.name,
        description=about.description,
        examples=about.examples,
    )


def _configured(agent_id: str, wanted: AgentSettings) -> Agent:
    """Make an agent of its settings; what they leave open comes from its handler."""
    handler, name, description, examples = _HANDLERS[wanted.handler](agent_id, wanted)
    return Agent(
        id=agent_id,
        handler=handler,
        name=wanted.name or name,
        description=wanted.description or description,
        examples=wanted.examples or examples,
        recovery=_recovery(agent_id, wanted, handler),
        attempts_max=wanted.attempts_max,
        running_max=wanted.running_max,
        first_byte_timeout_s=wanted.first_byte_timeout_s,
        idle_timeout_s=wanted.idle_timeout_s,
        total_timeout_s=wanted.total_timeout_s,
        retry_total_s=wanted.retry_total_s,
    )


def _recovery(
    agent_id: str, wanted: AgentSettings, handler: Handler
) -> Literal["restart", "continue", "fail"]:
    """Return the policy: who can go on without being told how does, unless told otherwise."""
    able = handler.can_continue and wanted.handler in ("responses", "databricks", "python")
    if able and "recovery" not in wanted.model_fields_set:
        return "continue"
    if wanted.recovery == "continue" and not handler.can_continue:
        detail = (
            f"agents.{agent_id}: recovery = continue needs continue_style (handler openai), "
            "upstream_background (handler responses), a Genie space, the Supervisor API, "
            "or an agent that says it does."
        )
        raise SettingsError(detail)
    return wanted.recovery


_Made = tuple[Handler, str, str, Sequence[str]]


def _openai(agent_id: str, wanted: AgentSettings) -> _Made:
    server = _server(agent_id, wanted)
    limit = "" if wanted.max_tokens_field == "auto" else wanted.max_tokens_field
    handler = OpenAIHandler(*server, continues=_CONTINUES[wanted.continue_style], limit=limit)
    return handler, agent_id, "", ()


def _responses(agent_id: str, wanted: AgentSettings) -> _Made:
    server = _server(agent_id, wanted)
    handler = ResponsesHandler(*server, background=wanted.upstream_background)
    return handler, agent_id, "", ()


def _anthropic(agent_id: str, wanted: AgentSettings) -> _Made:
    return AnthropicHandler(*_server(agent_id, wanted)), agent_id, "", ()


def _databricks(agent_id: str, wanted: AgentSettings) -> _Made:
    given = (wanted.endpoint, wanted.genie_space, wanted.supervisor_model)
    if sum(map(bool, given)) != 1:
        detail = f"agents.{agent_id}: the handler databricks needs endpoint, genie_space or "
        raise SettingsError(detail + "supervisor_model, one of them.")
    with adapters.needing("databricks", f"agents.{agent_id}"):
        # Not imported yet: that takes seconds, and a person's own token needs none of it.
        if importlib.util.find_spec("databricks.sdk") is None:
            raise ModuleNotFoundError(name="databricks")
    host = wanted.base_url or ("" if wanted.profile else os.environ.get("DATABRICKS_HOST", ""))
    credentials = Credentials(host, wanted.profile, _key(agent_id, wanted))
    return _in_workspace(wanted, credentials), agent_id, "", ()


def _in_workspace(wanted: AgentSettings, credentials: Credentials) -> Handler:
    """Return the handler of what is asked in a workspace."""
    headers = wanted.headers
    if wanted.genie_space:
        own = wanted.on_behalf_of == "always"
        return GenieHandler(wanted.genie_space, credentials, on_behalf_of_user=own, headers=headers)
    if wanted.supervisor_model:
        return SupervisorHandler(
            wanted.supervisor_model, credentials, headers=headers, params=wanted.params
        )
    return DatabricksHandler(
        wanted.endpoint,
        credentials,
        on_behalf_of=wanted.on_behalf_of,
        return_trace=wanted.return_trace,
        headers=headers,
        params=wanted.params,
    )


def _server(
    agent_id: str, wanted: AgentSettings
) -> tuple[str, str, str | None, Mapping[str, str], Mapping[str, Any]]:
    """Return a server's address, model, key, headers and parameters."""
    if not wanted.base_url or not wanted.model:
        detail = f"agents.{agent_id}: the handler {wanted.handler} needs base_url and model."
        raise SettingsError(detail)
    if not wanted.base_url.startswith(("http://", "https://")):
        detail = f"agents.{agent_id}: base_url begins with http:// or https://; this one does not."
        raise SettingsError(detail)
    key = _key(agent_id, wanted)
    return wanted.base_url, wanted.model, key, wanted.headers, wanted.params


def _key(agent_id: str, wanted: AgentSettings) -> str | None:
    """Return the key that a variable holds, None where no variable is named."""
    key = os.environ.get(wanted.api_key_env) if wanted.api_key_env else None
    if wanted.api_key_env and not key:
        detail = f"agents.{agent_id}: the variable {wanted.api_key_env} (api_key_env) is not set."
        raise SettingsError(detail)
    return key


def _python(agent_id: str, wanted: AgentSettings) -> _Made:
    if not wanted.module:
        detail = f"agents.{agent_id}: the handler python needs module = 'package.module:function'."
        raise SettingsError(detail)
    made = _agent(agent_id, python.load(wanted.module))
    return made.handler, made.name, made.description, made.examples


def _guide(_: str, wanted: AgentSettings) -> _Made:
    handler = GuideHandler(words_per_s=wanted.words_per_s)
    return handler, "Guide", guide.DESCRIPTION, guide.EXAMPLES


_CONTINUES: Mapping[str, Literal["", "continue_final_message", "prefix", "prefill"]] = {
    "": "",
    "vllm": "continue_final_message",
    "prefix": "prefix",
    "assistant_prefill": "prefill",
}
_HANDLERS: Mapping[str, Callable[[str, AgentSettings], _Made]] = {
    "openai": _openai,
    "responses": _responses,
    "anthropic": _anthropic,
    "databricks": _databricks,
    "python": _python,
    "guide": _guide,
}
