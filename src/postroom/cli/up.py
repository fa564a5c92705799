"""`postroom up`: the API and the polling of mailboxes, in one process, until Ctrl-C.

What it takes to answer comes up beside the database; what it takes to poll, once requests are answered.
"""

from typing import Annotated

import typer

from postroom.cli import screen
from postroom.cli.listening import listening
from postroom.cli.options import Data, DatabaseUrl, Host, Port, command
from postroom.cli.run import carry_out
from postroom.cli.starting import starting
from postroom.cli.stopping import until_stopped
from postroom.settings import Settings

app = command()


@app.command()
def main(
    demo: Annotated[
        bool, typer.Option("--demo", help="With a mailbox to play with, that mail arrives in.")
    ] = False,
    host: Host = None,
    port: Port = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Start everything in one process: the API and the polling of mailboxes. Ctrl-C stops it."""
    carry_out(lambda settings: up(settings, demo=demo), data, database_url, host=host, port=port)


async def up(settings: Settings, *, demo: bool) -> None:
    """Run until SIGINT or SIGTERM. The port comes first: where it is taken, nothing has been started."""
    async with until_stopped():
        with listening(settings.host, settings.port) as listener:
            async with starting(settings, "postroom.cli.everything") as dsn:
                from postroom.cli.everything import everything

                await everything(settings, dsn, listener, demo=demo)
    screen.say("Stopped.")
