"""Every setting, its default and its meaning; from `perdure.toml`, `PERDURE_*` and flags.

Flags win over variables, variables over the file. `__` nests: `PERDURE_LIMITS__RUNNING_MAX=10`.
Unknown keys and variables stop the start.
"""

from __future__ import annotations

import base64
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as UnreadableVariable

from perdure.errors import SettingsError
from perdure.sections import (
    AgentSettings,
    Auth,
    DatabaseSettings,
    Limits,
    Mlflow,
    Retention,
    Seconds,
    SecondsOrNever,
    Ui,
    Webhooks,
    Worker,
)

__all__ = [
    "AgentSettings",
    "Auth",
    "DatabaseSettings",
    "Limits",
    "Mlflow",
    "Retention",
    "Settings",
    "Ui",
    "Webhooks",
    "Worker",
    "load",
    "without_secrets",
]

PREFIX = "PERDURE_"
SQLITE = "sqlite:///"
OWN_PATHS = ("/api/", "/v1/", "/c/", "/assets/", "/auth/")
FOREIGN = {"PERDURE_URL", "PERDURE_CONFIG", "PERDURE_SOAK", "PERDURE_TOKEN"}
"""Variables of the command line and the tests, which are not settings of the server."""


class Settings(BaseSettings):
    """The whole configuration of one process."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port to listen on; 0 = any free one."
    )
    root_path: str = Field(
        default="",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="Path at which a proxy shows this server, such as `/chat`; empty = none.",
    )
    data_dir: Path = Field(default=Path(), description="Folder of the SQLite file and its lock.")
    store_url: str = Field(default="sqlite:///perdure.db", description="Where everything is kept.")
    queue_url: str = Field(
        default="inprocess://", description="What delivers request ids to workers."
    )
    bus_url: str = Field(default="", description='What wakes readers; "" = what fits the store.')
    prefix: str = Field(
        default="perdure",
        pattern=r"^[A-Za-z0-9_.-]{1,60}$",
        description="Keeps deployments apart that share a Redis server.",
    )
    synchronous: Literal["full", "normal"] = Field(
        default="full",
        description="SQLite: `full` survives power loss, `normal` only crashes.",
    )
    default_agent: str = Field(
        default="", description="Agent of a question that names none; the first one."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Log from."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Log lines for people, or one JSON object a line."
    )
    keepalive_s: Seconds = Field(
        default=15, description="Silence after which a stream sends a comment."
    )
    stream_max_s: SecondsOrNever = Field(
        default=0, description="Age at which a stream ends for re-attaching."
    )
    stream_write_timeout_s: Seconds = Field(
        default=30, description="How long a reader may take nothing."
    )
    resume_grace_s: SecondsOrNever = Field(
        default=10,
        description="How long after its end an answer is told again to a `useChat` that resumes.",
    )
    drain_grace_s: SecondsOrNever = Field(
        default=5, description="SIGTERM: time for short answers to end."
    )
    lease_s: Seconds = Field(
        default=30, description="How long a worker owns a request without renewing."
    )
    reap_s: Seconds = Field(
        default=5, description="How often lost and undelivered things are looked for."
    )
    limits: Limits = Limits()
    retention: Retention = Retention()
    auth: Auth = Auth()
    ui: Ui = Ui()
    database: DatabaseSettings = DatabaseSettings()
    worker: Worker = Worker()
    webhooks: Webhooks = Webhooks()
    mlflow: Mlflow = Mlflow()
    agents: dict[str, AgentSettings] = {}

    @property
    def alone(self) -> bool:
        """Whether this process is the only one on its store, which a lock on its file ensures."""
        return self.store_url.startswith(SQLITE)

    @property
    def has_workers(self) -> bool:
        """Whether worker processes produce the answers."""
        return self.queue_url.startswith("celery+")

    @property
    def broker_url(self) -> str:
        """Celery's broker."""
        return self.queue_url.removeprefix("celery+")

    @property
    def sqlite_path(self) -> Path:
        """The SQLite file; relative ones lie in `data_dir`."""
        return self.data_dir / self.store_url.removeprefix(SQLITE)


def load(config: Path | None = None, overrides: dict[str, Any] | None = None) -> Settings:
    """Return the settings in force.

    Args:
        config: a TOML file; `perdure.toml` of the working folder when None and it exists.
        overrides: nested values that win over everything (the flags).

    Raises:
        SettingsError: an unknown key or variable, a bad value, an unreadable file.

    """
    _refuse_unknown_variables()
    path = config or Path("perdure.toml")
    if config is not None and not config.is_file():
        detail = f"There is no configuration file {config}."
        raise SettingsError(detail)
    try:
        settings = _from_file(path)(**(overrides or {}))
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    except UnreadableVariable as error:
        detail = f"A variable is not JSON, as a whole table must be: {error}."
        raise SettingsError(detail) from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        detail = f"Cannot read the configuration {path}: {error}"
        raise SettingsError(detail) from None
    _check(settings)
    return settings


def _from_file(path: Path) -> type[Settings]:
    """Return `Settings` reading `path` below the variables, and those below the arguments."""

    class Configured(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings
            file = TomlConfigSettingsSource(settings_cls, toml_file=path)
            platform = InitSettingsSource(settings_cls, init_kwargs=_platform())
            return (init_settings, env_settings, file, platform)

    return Configured


def _platform() -> dict[str, Any]:
    """Return what the platform prescribes, below all that people set: Databricks Apps' port."""
    port = os.environ.get("DATABRICKS_APP_PORT")
    return {"host": "0.0.0.0", "port": port} if port else {}  # noqa: S104  # behind its proxy


def _refuse_unknown_variables() -> None:
    for variable in os.environ:
        upper = variable.upper()
        if upper.startswith(PREFIX) and upper not in FOREIGN:
            path = upper.removeprefix(PREFIX).lower().split("__")
            if not _known(Settings, path):
                detail = f"Unknown setting {variable}: see docs/settings.md for the names."
                raise SettingsError(detail)


def _known(model: type[BaseModel], path: list[str]) -> bool:
    """Tell whether a nested name leads to a field of `model`."""
    field = model.model_fields.get(path[0])
    if field is None:
        return False
    kind, rest = field.annotation, path[1:]
    if get_origin(kind) is dict:
        kind, rest = get_args(kind)[1], rest[1:]
    if isinstance(kind, type) and issubclass(kind, BaseModel) and rest:
        return _known(kind, rest)
    return not rest or get_origin(field.annotation) is dict


def _explain(error: ValidationError) -> str:
    """Say in one line per problem which setting is wrong and how."""
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"]) or "the settings"
        unknown = problem["type"] == "extra_forbidden"
        lines.append(f"Unknown setting {name}." if unknown else f"{name}: {problem['msg']}.")
    return "\n".join(lines)


def without_secrets(url: str) -> str:
    """Return a URL without its passwords, of which some libraries take one in the query."""
    url = re.sub(r"([?&](?:ssl)?password=)[^&]*", r"\1…", url, flags=re.IGNORECASE)
    return re.sub(r"(?<=://)([^/?#@:]*):.*@", r"\1:…@", url)


_SCHEMES: dict[str, tuple[str, ...]] = {
    "store_url": (SQLITE, "postgresql://", "postgres://", "redis://", "rediss://", "valkey://"),
    "queue_url": ("inprocess://", "celery+redis://", "celery+rediss://", "celery+amqp://"),
    "bus_url": ("inprocess://", "redis://", "rediss://", "valkey://", "postgresql://"),
}
_REDIS = ("redis", "rediss", "valkey")


def _check(settings: Settings) -> None:
    """Refuse what cannot work in this version or is dangerous."""
    for name, known in _SCHEMES.items():
        value = getattr(settings, name)
        if (value or name != "bus_url") and not value.startswith(known):
            detail = f"{name}: {value.split(':', 1)[0]!r} is not known here; use one of "
            raise SettingsError(detail + ", ".join(f"{scheme}…" for scheme in known))
        _check_url(name, value)
    if settings.alone and settings.has_workers:
        detail = "queue_url: workers need a store that they share: store_url = postgresql://… or redis://…"
        raise SettingsError(detail)
    if settings.alone and settings.bus_url not in ("", "inprocess://"):
        detail = "bus_url: with SQLite there is nobody else to wake; leave it empty."
        raise SettingsError(detail)
    _check_root_path(settings.root_path)
    if settings.has_workers:
        _check_workers(settings)
    if settings.webhooks.url:
        _check_webhooks(settings.webhooks)
    loopback = settings.host in ("localhost", "::1") or settings.host.startswith("127.")
    if settings.auth.mode == "none" and not loopback and not settings.auth.allow_open:
        detail = (
            f"auth.mode is none, so everyone who reaches {settings.host} would share one account. "
            "Listen on 127.0.0.1, use another auth.mode, or set auth.allow_open = true."
        )
        raise SettingsError(detail)
    if settings.auth.mode == "oidc" and not (
        settings.auth.oidc.client_id
        and settings.auth.oidc.issuer.startswith(("https://", "http://"))
    ):
        detail = "auth.mode is oidc: auth.oidc.issuer (a URL) and auth.oidc.client_id are needed."
        raise SettingsError(detail)


def _check_url(name: str, url: str) -> None:
    """Refuse an address that no library could read; PostgreSQL's may name several hosts."""
    try:
        parts = urlsplit(url)
        for host in parts.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError:
        detail = (
            f"{name}: what stands where the port should is no number up to 65535. "
            "In a user or a password write / as %2F, # as %23, ? as %3F."
        )
        raise SettingsError(detail) from None
    if parts.scheme.endswith(_REDIS) and not (parts.path.strip("/") or "0").isdecimal():
        detail = (
            f"{name}: Redis has numbers for names of databases: end it with /0, or leave it out."
        )
        raise SettingsError(detail)


def _check_root_path(root_path: str) -> None:
    """Refuse a path that cannot be told from our own, once the proxy has taken it away."""
    if f"{root_path}/".startswith(OWN_PATHS):
        detail = f"root_path: {root_path} begins like a path of this server; choose another one."
        raise SettingsError(detail)


def _check_workers(settings: Settings) -> None:
    """Refuse agents that need what never reaches a worker."""
    for agent_id, agent in settings.agents.items():
        if agent.handler == "databricks" and agent.on_behalf_of == "always":
            detail = (
                f"agents.{agent_id}: on_behalf_of = always needs answers in the server's own "
                "process: people's tokens never go through a queue. Use queue_url = inprocess://"
            )
            raise SettingsError(detail)


def _check_webhooks(webhooks: Webhooks) -> None:
    """Refuse an address that is none, and unsigned or wrongly signed webhooks."""
    if not webhooks.url.startswith(("https://", "http://")):
        detail = "webhooks.url must begin with https:// or http://."
        raise SettingsError(detail)
    if not webhooks.secrets:
        detail = "webhooks.secret is missing: receivers could not tell whom a webhook is from."
        raise SettingsError(detail)
    for secret in webhooks.secrets:
        plain = secret.removeprefix("whsec_")
        try:
            base64.b64decode(plain if plain != secret else "", validate=True)
        except ValueError:
            detail = "webhooks.secret: what follows whsec_ must be base64."
            raise SettingsError(detail) from None
