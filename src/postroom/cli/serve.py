"""`postroom serve`: the API alone; executors run what it asks for."""

import asyncio
import socket

from postroom import __version__
from postroom.cli import screen
from postroom.cli.listening import address, listening
from postroom.cli.options import Data, DatabaseUrl, Host, Port, command
from postroom.cli.run import carry_out
from postroom.cli.starting import loading, starting
from postroom.cli.stopping import until_stopped
from postroom.settings import Settings

app = command()


@app.command()
def main(
    host: Host = None,
    port: Port = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Answer requests, and leave jobs to `postroom executor`. Ctrl-C stops it."""
    carry_out(_serve, data, database_url, host=host, port=port)


async def _serve(settings: Settings) -> None:
    async with until_stopped():
        with listening(settings.host, settings.port) as listener:
            async with starting(settings, "postroom.cli.installation") as dsn:
                await _answer(settings, dsn, listener)
    screen.say("Stopped.")


async def _answer(settings: Settings, dsn: str, listener: socket.socket) -> None:
    from postroom.cli.installation import unlocked

    async with loading("postroom.cli.serving") as loaded, unlocked(settings, dsn) as house:
        await loaded.wait()
        from postroom.cli.serving import answering

        async with answering(house, listener):
            url = address(settings.host, listener)
            screen.say(f"Postroom {__version__} answers at {url}/v1; jobs wait for `postroom executor`.")
            await asyncio.Event().wait()
