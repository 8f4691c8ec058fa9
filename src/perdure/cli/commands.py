"""Every command and its flags; what they do stands in the sibling modules, imported when needed."""

# ruff: noqa: PLC0415  # imports inside commands keep `perdure --help` under half a second

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from perdure.cli import groups
from perdure.cli.flags import LOCAL, AsJson, Config, DataDir, RequestId, Url, Wait

app = typer.Typer(
    name="perdure",
    help="A chat server for LLM agents whose answers outlast the connection.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(groups.db, name="db")
app.add_typer(groups.hooks, name="webhooks")
app.add_typer(groups.starters, name="init")
app.add_typer(groups.keys, name="tokens")


class Status(StrEnum):
    """A request's state, as `perdure requests --status` takes it."""

    queued = "queued"
    streaming = "streaming"
    completed = "completed"
    failed = "failed"
    cancelled = "cancelled"


def _version(wanted: bool) -> None:  # noqa: FBT001  # the shape typer calls back with
    if wanted:
        from importlib.metadata import version

        print(f"perdure {version('perdure')}")
        raise typer.Exit


@app.callback()
def perdure(
    version: Annotated[  # noqa: FBT002  # a flag of the command line
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """A chat server for LLM agents whose answers outlast the connection."""
    del version


@app.command()
def serve(  # noqa: PLR0913, PLR0917  # one parameter per flag
    modules: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODULE:AGENT", help="Python agents to serve."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. [8000]")] = None,
    config: Config = None,
    data_dir: DataDir = None,
    upstream: Annotated[
        str | None,
        typer.Option(metavar="URL", help="An OpenAI-compatible server, up to /v1."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The model's name at the upstream."),
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(metavar="VARIABLE", help="Variable that holds the upstream's key."),
    ] = None,
) -> None:
    """Run the server: the API, the web UI and the answers themselves."""
    from perdure.cli import serving

    flags = serving.Flags(
        modules=modules or [],
        config=config,
        host=host,
        port=port,
        data_dir=data_dir,
        upstream=upstream,
        model=model,
        api_key_env=api_key_env,
    )
    raise typer.Exit(serving.serve(flags))


@app.command()
def worker(
    modules: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODULE:AGENT", help="Python agents, as given to serve."),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Answers produced at once. [100]")
    ] = None,
    config: Config = None,
) -> None:
    """Run a Celery worker of this deployment: it produces answers and serves nothing."""
    from perdure.cli import serving

    raise typer.Exit(serving.work(config, modules or [], concurrency))


@app.command()
def ask(  # one parameter per flag
    question: Annotated[str, typer.Argument(help="What to ask; - reads it from standard input.")],
    agent: Annotated[
        str | None, typer.Option(help="Whom to ask, if not the default agent.")
    ] = None,
    chat: Annotated[
        str | None, typer.Option(help="Go on in this chat instead of a new one.")
    ] = None,
    detach: Annotated[  # noqa: FBT002  # a flag of the command line
        bool,
        typer.Option("--detach", help="Print the request's id and leave it running."),
    ] = False,
    as_json: AsJson = False,  # noqa: FBT002  # a flag of the command line
    wait: Wait = 60,
    url: Url = LOCAL,
) -> None:
    """Ask, and watch the answer. Ctrl-C leaves it running; a second Ctrl-C cancels it."""
    from perdure.cli import asking

    text = asking.read(sys.stdin) if question == "-" else question
    asked = asking.Question(text, agent=agent, chat=chat)
    raise typer.Exit(asking.ask(asked, url, detach=detach, as_json=as_json, wait_s=wait))


@app.command()
def attach(
    request_id: RequestId,
    after: Annotated[int, typer.Option(min=-1, help="Show only what follows this event.")] = -1,
    as_json: Annotated[  # noqa: FBT002  # a flag of the command line
        bool,
        typer.Option("--json", help="Print each event as one line of JSON."),
    ] = False,
    wait: Wait = 60,
    url: Url = LOCAL,
) -> None:
    """Watch an answer, from its start or from an event on, until it ends."""
    from perdure.cli import asking

    raise typer.Exit(asking.attach(request_id, url, after=after, as_json=as_json, wait_s=wait))


@app.command()
def requests(
    status: Annotated[Status | None, typer.Option(help="Only those in this state.")] = None,
    chat: Annotated[str | None, typer.Option(help="Only those of this chat.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 20,
    as_json: AsJson = False,  # noqa: FBT002  # a flag of the command line
    url: Url = LOCAL,
) -> None:
    """List requests, newest first."""
    from perdure.cli import listing

    query = {"status": status.value if status else None, "chat_id": chat, "limit": str(limit)}
    raise typer.Exit(listing.requests(url, query, as_json=as_json))


@app.command()
def cancel(
    request_id: RequestId,
    as_json: AsJson = False,  # noqa: FBT002  # a flag of the command line
    url: Url = LOCAL,
) -> None:
    """Stop an answer; the text so far is kept."""
    from perdure.cli import listing

    raise typer.Exit(listing.cancel(url, request_id, as_json=as_json))


@app.command()
def agents(
    as_json: AsJson = False,  # noqa: FBT002  # a flag of the command line
    url: Url = LOCAL,
) -> None:
    """List the agents that can be asked."""
    from perdure.cli import listing

    raise typer.Exit(listing.agents(url, as_json=as_json))


@app.command()
def check(
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,  # noqa: FBT002  # a flag of the command line
) -> None:
    """Say what is in force, what is reachable and what is wrong; needs no running server."""
    from perdure.cli import checking

    raise typer.Exit(checking.check(config, data_dir, as_json=as_json))


@app.command()
def openapi(config: Config = None) -> None:
    """Print the API's description (OpenAPI, JSON)."""
    from perdure.cli import serving

    raise typer.Exit(serving.openapi(config))


@app.command(hidden=True)
def settings_table() -> None:
    """Print every setting as the Markdown of docs/settings.md."""
    from perdure.cli import settings_page

    print(settings_page.table())
