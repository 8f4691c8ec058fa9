"""The sections of the settings: one class per table of `perdure.toml`, units last in a name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1024)]
Rate = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
SecondsOrNever = Annotated[float, Field(ge=0)]


def _split(value: object) -> object:
    """Let a variable give a list as `a,b` or as JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return msgspec.json.decode(value)
    return [part.strip() for part in value.split(",") if part.strip()]


Strings = Annotated[list[str], NoDecode, BeforeValidator(_split)]


class Section(BaseModel):
    """A table of the file: unknown keys are refused, values do not change after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(Section):
    """How much at once, how large. Over a running limit requests wait; over a queue's: 429."""

    running_max: Count = Field(default=500, description="Answers produced at once, in total.")
    running_per_user_max: Count = Field(
        default=100, description="Answers produced at once, per person."
    )
    queued_max: Count = Field(
        default=5000, description="Requests that may wait, in total; over it: 429."
    )
    queued_per_user_max: Count = Field(
        default=500, description="Requests that may wait, per person."
    )
    message_bytes_max: Bytes = Field(
        default=1_000_000, description="Size of one message's text, UTF-8."
    )
    body_bytes_max: Bytes = Field(default=4_000_000, description="Size of one HTTP request body.")
    answer_bytes_max: Bytes = Field(
        default=4_000_000, description="Size of one answer's text, UTF-8."
    )
    requests_per_minute_per_user: Rate = Field(
        default=600, description="Questions of one person; not counted in mode `none`. 0 = any."
    )
    calls_per_minute_per_user: Rate = Field(
        default=6000, description="All calls of one person, likewise: what ends wild polling."
    )
    open_per_user_max: Count = Field(
        default=500,
        description="Calls, streams and sockets that one person has open in one process, likewise.",
    )
    rates_url: str = Field(
        default="",
        pattern=r"^((redis|rediss|valkey)://.*)?$",
        description="Where processes count rates together; empty = a Redis bus, else each alone.",
    )
    header_timeout_s: Seconds = Field(
        default=10, description="How long a request's line and headers may take to arrive."
    )
    body_timeout_s: Seconds = Field(default=60, description="How long its body may take.")
    messages_max: Count = Field(default=10_000, description="Messages that one chat may hold.")


class Retention(Section):
    """How long things are kept; 0 = for ever."""

    events_hours: SecondsOrNever = Field(default=24, description="Event logs of finished answers.")
    requests_days: SecondsOrNever = Field(
        default=0, description="Finished requests (their messages stay)."
    )
    chats_days: SecondsOrNever = Field(default=0, description="Chats without activity.")


class Oidc(Section):
    """The OpenID provider that signs people in, in mode `oidc`."""

    issuer: str = Field(default="", description="Its address, as its own metadata name it.")
    client_id: str = Field(default="", description="What it calls this server.")
    client_secret: str = Field(
        default="", repr=False, description="What it gave this server; empty = a public client."
    )
    scopes: str = Field(default="openid profile email", description="What is asked for.")
    user_claim: str = Field(
        default="sub", description="The claim that becomes a person's id; it must never change."
    )
    name_claim: str = Field(default="name", description="The claim to show as a person's name.")
    groups_claim: str = Field(
        default="groups", description="The claim that lists a person's groups, or roles."
    )


class Auth(Section):
    """Who is asking."""

    mode: Literal["none", "proxy", "token", "oidc"] = Field(
        default="none",
        description="`none`: one person, loopback only. `proxy`: a trusted proxy's headers."
        " `token`: tokens of `perdure tokens`. `oidc`: logins at an OpenID provider, and tokens.",
    )
    oidc: Oidc = Oidc()
    public_url: str = Field(
        default="",
        pattern=r"^(https?://[^/?#]+)?$",
        description="How browsers reach this server (logins come back there); empty = as they ask.",
    )
    session_idle_hours: Seconds = Field(
        default=24, description="Age at which a browser's unused session ends."
    )
    session_max_days: Seconds = Field(
        default=14, description="Age at which a browser's session ends, used or not."
    )
    admins: Strings = Field(
        default=[], description="Ids or e-mail addresses of people who see everyone's requests."
    )
    admin_groups: Strings = Field(
        default=[],
        description="Groups whose members are admins: of `X-Forwarded-Groups`, or of the login.",
    )
    trusted_proxies: Strings = Field(
        default=["127.0.0.1", "::1"],
        description="Addresses or networks whose `X-Forwarded-User` is believed.",
    )
    allow_open: bool = Field(
        default=False,
        description="Let mode `none` listen on an address that others can reach.",
    )
    allowed_hosts: Strings = Field(
        default=[],
        description="Host names for browsers beside loopback; empty = any, except in mode `none`.",
    )


class Ui(Section):
    """The chat page at `/`."""

    enabled: bool = Field(
        default=True, description="Serve the chat page where it is built in; else a small one."
    )
    name: str = Field(default="Perdure", max_length=60, description="What the product is called.")
    logo: Path | None = Field(default=None, description="Its picture: an SVG, PNG or WebP file.")
    accent: str = Field(
        default="",
        pattern=r"^(#[0-9a-fA-F]{6})?$",
        description="Its colour, `#rrggbb`; shades that can be read are derived from it.",
    )
    remote_images: bool = Field(
        default=False,
        description="Let people choose to see pictures that answers have on other servers.",
    )
    trace_url: str = Field(
        default="",
        pattern=r"^(https?://.*\{trace_id\}.*)?$",
        description="Address of a trace's page, with `{trace_id}` in it.",
    )


class DatabaseSettings(Section):
    """How a PostgreSQL or Redis store is used; where it is says `store_url`."""

    connections_max: Count = Field(
        default=10,
        description="Connections of one process, beside those kept for answers, readers, leases.",
    )
    prepared_statements: bool = Field(
        default=True, description="PostgreSQL: off behind a pooler in transaction mode (PgBouncer)."
    )
    password_from: str = Field(
        default="",
        description="PostgreSQL: `module:function` that gives a password for each connection.",
    )


class Worker(Section):
    """A worker process: `perdure worker`."""

    running_max: Count = Field(default=100, description="Answers that one worker produces at once.")
    silent_max_s: Seconds = Field(
        default=60,
        description="A worker whose loop is stuck, or that hears nothing of waiting work, exits.",
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Port on which a worker shows its figures to Prometheus; 0 = it does not.",
    )
    metrics_host: str = Field(default="127.0.0.1", description="Address for that port.")


class Webhooks(Section):
    """Telling the end of each request to an address of yours."""

    url: str = Field(default="", description="Where to; empty = nobody is told.")
    secret: str = Field(
        default="",
        repr=False,
        description="What signs them (`whsec_…`); several, separated by spaces, while you rotate.",
    )
    timeout_s: Seconds = Field(default=15, description="Length of one try.")
    give_up_hours: Seconds = Field(
        default=72, description="Age at which one becomes a dead letter."
    )
    allow_private: bool = Field(
        default=False, description="Let `url` lead into a private network or to this machine."
    )

    @property
    def secrets(self) -> list[str]:
        """All secrets that sign."""
        return self.secret.split()


class Mlflow(Section):
    """Where the agents' traces are: people's verdicts go there, and the page shows them."""

    tracking_uri: str = Field(
        default="", description="`databricks`, `http://…`, `sqlite:///…`; empty = nowhere."
    )
    timeout_s: Seconds = Field(default=20, description="Length of one call.")


class AgentSettings(Section):
    """One agent: which handler, where, how patient."""

    handler: Literal["openai", "responses", "anthropic", "databricks", "python", "guide"] = Field(
        default="openai", description="The dialect."
    )
    name: str = Field(default="", description="Shown name; the id when empty.")
    description: str = Field(default="", description="One sentence for the agent picker.")
    examples: Strings = Field(default=[], description="Example questions.")
    base_url: str = Field(
        default="", description="The agent's server, up to `/v1`; `databricks`: the workspace."
    )
    model: str = Field(default="", description="The model's name there.")
    api_key_env: str = Field(default="", description="The variable that holds the key.")
    headers: dict[str, str] = Field(default={}, description="Further request headers.")
    params: dict[str, Any] = Field(
        default={}, description="Further body keys (temperature …); they win over a caller's."
    )
    endpoint: str = Field(default="", description="`databricks`: name of the serving endpoint.")
    genie_space: str = Field(default="", description="`databricks`: a Genie space's id instead.")
    supervisor_model: str = Field(
        default="", description="`databricks`: a model that the Supervisor API runs instead."
    )
    profile: str = Field(default="", description="`databricks`: profile of `~/.databrickscfg`.")
    on_behalf_of: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="`databricks`: with the person's own token; `auto`: where it is wanted.",
    )
    return_trace: bool = Field(
        default=True, description="`databricks`: ask the agent for its trace's id."
    )
    module: str = Field(default="", description="`python`: `package.module:function`.")
    words_per_s: Seconds = Field(default=12.0, description="`guide`: its reading pace.")
    recovery: Literal["restart", "continue", "fail"] = Field(
        default="restart",
        description="After a lost worker or a dropped call: anew, go on behind it, or keep it.",
    )
    continue_style: Literal["", "vllm", "prefix", "assistant_prefill"] = Field(
        default="",
        description="`openai`, `recovery = continue`: how the server goes on with a partial.",
    )
    max_tokens_field: Literal["auto", "max_tokens", "max_completion_tokens"] = Field(
        default="auto",
        description="`openai`: what a caller's `max_output_tokens` is called there. `auto`: "
        "`max_tokens`, unless the server asks for the other.",
    )
    upstream_background: bool = Field(
        default=False,
        description="`responses`: run in the server's background mode, re-attach after a crash.",
    )
    attempts_max: Count = Field(
        default=3,
        description="Lost workers and dropped calls before the request fails.",
    )
    running_max: Count | None = Field(default=None, description="Answers of this agent at once.")
    first_byte_timeout_s: Seconds = Field(
        default=300, description="Silence allowed before the answer."
    )
    idle_timeout_s: Seconds = Field(default=120, description="Silence allowed within the answer.")
    total_timeout_s: Seconds = Field(
        default=3600, description="Length of one run, retries included."
    )
    retry_total_s: SecondsOrNever = Field(
        default=60, description="Retrying before the first delta."
    )
