"""Commands that come in groups: `db`, `init`, `tokens`, `webhooks`."""

# ruff: noqa: PLC0415  # imports inside commands keep `perdure --help` under half a second

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perdure.cli.flags import LOCAL, AsJson, Config, DataDir, Url

db = typer.Typer(
    help="Look after the database (a SQLite file: while no server runs, but for backups).",
    no_args_is_help=True,
)
hooks = typer.Typer(help="Look after webhooks that tell the end of answers.", no_args_is_help=True)
starters = typer.Typer(help="Write a folder that is ready to be deployed.", no_args_is_help=True)
keys = typer.Typer(help="Look after the tokens that programs show.", no_args_is_help=True)


@starters.callback()
def init() -> None:
    """Write a folder that is ready to be deployed."""


@starters.command("databricks")
def databricks(
    folder: Annotated[Path, typer.Argument(help="Where to.")] = Path("perdure-app"),
    endpoint: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A serving endpoint to ask; repeatable."),
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="FILE", help="A template's agents.json or app.json."),
    ] = None,
) -> None:
    """Databricks Apps, with Lakebase: app.yaml, a bundle, the settings."""
    from perdure.cli import starting

    raise typer.Exit(starting.databricks(folder, endpoint or [], config or []))


@hooks.command("list")
def webhooks(
    dead: Annotated[  # noqa: FBT002  # a flag of the command line
        bool,
        typer.Option("--dead", help="Only those that were given up."),
    ] = False,
    as_json: AsJson = False,  # noqa: FBT002  # a flag of the command line
    url: Url = LOCAL,
) -> None:
    """List webhooks, newest first."""
    from perdure.cli import listing

    raise typer.Exit(listing.webhooks(url, dead=dead, as_json=as_json))


@hooks.command("redeliver")
def redeliver(
    webhook_id: Annotated[str, typer.Argument(help="The webhook's id, evt_…")],
    url: Url = LOCAL,
) -> None:
    """Deliver a webhook again, whatever became of it."""
    from perdure.cli import listing

    raise typer.Exit(listing.redeliver(url, webhook_id))


ServerOrStore = Annotated[
    str | None,
    typer.Option("--url", help="A running server to go through, not the database itself."),
]


@keys.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="What it is for: laptop, nightly-report …")],
    user: Annotated[str, typer.Option(help="Whom it stands for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help="read, write, admin; repeat it. [read and write]"),
    ] = None,
    days: Annotated[float | None, typer.Option(min=0.01, help="How long it is good.")] = None,
    url: ServerOrStore = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Make a token and print its secret, which nobody can show again."""
    from perdure.cli import tokens

    place = tokens.Place(url, config, data_dir)
    raise typer.Exit(tokens.create(place, user, name, scope or [], days))


@keys.command("list")
def list_tokens(
    user: Annotated[str | None, typer.Option(help="Only this person's.")] = None,
    as_json: AsJson = False,  # noqa: FBT002  # a flag of the command line
    url: ServerOrStore = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """List tokens, oldest first, with their last use."""
    from perdure.cli import tokens

    place = tokens.Place(url, config, data_dir)
    raise typer.Exit(tokens.show(place, user, as_json=as_json))


@keys.command("revoke")
def revoke_token(
    token_id: Annotated[str, typer.Argument(help="The token's id, tok_…")],
    url: ServerOrStore = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Revoke a token: whatever shows it is refused from now on."""
    from perdure.cli import tokens

    raise typer.Exit(tokens.revoke(tokens.Place(url, config, data_dir), token_id))


@db.command("upgrade")
def upgrade(config: Config = None, data_dir: DataDir = None) -> None:
    """Bring the database to this version's schema."""
    from perdure.cli import upkeep

    raise typer.Exit(upkeep.upgrade(config, data_dir))


@db.command("prune")
def prune(
    dry_run: Annotated[  # noqa: FBT002  # a flag of the command line
        bool,
        typer.Option("--dry-run", help="Only say what would go."),
    ] = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Remove what is past its retention (settings `retention.*`)."""
    from perdure.cli import upkeep

    raise typer.Exit(upkeep.prune(config, data_dir, dry_run=dry_run))


@db.command("backup")
def backup(
    target: Annotated[Path, typer.Argument(help="The file to make; it must not exist.")],
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Copy a SQLite database, also while a server runs, and check the copy."""
    from perdure.cli import upkeep

    raise typer.Exit(upkeep.backup(config, data_dir, target))


@db.command("restore")
def restore(
    source: Annotated[Path, typer.Argument(help="What `perdure db backup` has made.")],
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Put a backup in place of the SQLite database; what was there is kept beside it."""
    from perdure.cli import upkeep

    raise typer.Exit(upkeep.restore(config, data_dir, source))


@db.command("copy")
def copy(
    source: Annotated[str, typer.Argument(help="sqlite:///… or postgresql://…, not in use.")],
    target: Annotated[str, typer.Argument(help="The other one, empty.")],
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Move to another database with every id and event: all of it, or nothing."""
    from perdure.cli import upkeep

    raise typer.Exit(upkeep.copy(config, data_dir, source, target))
