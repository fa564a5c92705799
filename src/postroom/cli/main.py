"""The command line's entrance. Each command's module is imported when the command runs, so help is quick."""

import gc
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core

from postroom import __version__

COMMANDS = {
    "up": "Start everything in one process: the API and the polling of mailboxes.",
    "serve": "Start the API alone; executors run its jobs.",
    "executor": "Run jobs and poll mailboxes, beside `serve` or other executors.",
    "connect": "Connect a mailbox.",
    "sync": "Bring the copies of mailboxes up to date, in the foreground.",
    "watch": "Show mail as it arrives.",
    "search": "Search the mail of all accounts.",
    "show": "Show one message.",
    "status": "Tell how accounts are doing.",
    "verify": "Compare a copy with its server, folder by folder.",
    "events": "Read the log of everything that happened; seal, verify and export it.",
    "jobs": "List, follow, cancel and requeue jobs: what runs, what waits, what failed.",
    "parked": "Tell what could not be copied and why, and try it again.",
    "reread": "Read stored mail again after a change of the parser.",
    "import": "Copy mail from a Maildir or mbox.",
    "export": "Write an account's mail to a Maildir or to mbox files.",
    "keys": "Make, list and revoke API keys.",
    "sql": "Let a BI tool read mail in SQL, by a login for one tenant.",
    "webhooks": "Have events posted to a program of yours, and see how that goes.",
    "login": "Print a link that signs a browser in, once.",
    "lab": "Run a scriptable mail server for demonstrations and tests.",
}
MODULES = {"import": "import_"}


class LazyCommands(typer.core.TyperGroup):
    """Knows its commands by name and sentence; loads the one that is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: typer.core.TyperCommand(name, help=says) for name, says in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None:
            gc.disable()  # what is imported stays: looking for cycles in it was an eighth of the start
            module = import_module(f"postroom.cli.{MODULES.get(name, name)}")
            gc.enable()
            command = typer.main.get_command(module.app)
            command.name = name
        return name, command, rest


app = typer.Typer(
    cls=LazyCommands,
    help="An exact, fresh, searchable copy of people's mailboxes, in PostgreSQL.",
    epilog="Every command works beside `postroom up` and without it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"postroom {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=lambda wanted: show_version(wanted=wanted), is_eager=True)
    ] = False,
) -> None:
    """What stands before the command."""


def main() -> None:
    typer.main.get_command(app).main(prog_name="postroom")
