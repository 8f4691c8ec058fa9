"""Flags that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[
    str,
    typer.Option(envvar="PERDURE_URL", help="Address of the server to talk to."),
]
Config = Annotated[
    Path | None,
    typer.Option(envvar="PERDURE_CONFIG", help="Settings file; ./perdure.toml if it exists."),
]
DataDir = Annotated[Path | None, typer.Option(help="Folder of the database file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Wait = Annotated[
    float,
    typer.Option(min=0, help="Seconds to keep trying to reach a server that went away."),
]
RequestId = Annotated[str, typer.Argument(help="The request's id, resp_…")]
LOCAL = "http://127.0.0.1:8000"
