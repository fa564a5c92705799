"""The options that commands share."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Data: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The folder of the embedded database, keys and logs.  [env: POSTROOM_DATA]",
    ),
]
DatabaseUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="A PostgreSQL of your own instead of the embedded one.  [env: POSTROOM_DATABASE_URL]",
    ),
]
Host: TypeAlias = Annotated[
    str | None, typer.Option("--host", help="The address of the API.  [env: POSTROOM_HOST]")
]
Port: TypeAlias = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65535, help="The port of the API.  [env: POSTROOM_PORT]"),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Write one JSON document to standard output, and nothing else.")
]


def command(about: str | None = None) -> typer.Typer:
    """A module's command, or its group of commands where `about` says what they share."""
    return typer.Typer(
        help=about,
        no_args_is_help=about is not None,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
