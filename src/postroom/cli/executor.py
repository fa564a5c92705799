"""`postroom executor`: run jobs, poll mailboxes and do what recurs, until it is stopped."""

import asyncio
from typing import Annotated

import typer

from postroom.cli import screen
from postroom.cli.installation import unlocked
from postroom.cli.options import Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.cli.stopping import until_stopped
from postroom.cli.working import working
from postroom.settings import Settings

app = command()


@app.command()
def main(
    workers: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Jobs at a time.  [env: POSTROOM_WORKERS]")
    ] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Run jobs and poll mailboxes, beside `postroom serve` or other executors. Ctrl-C stops it."""
    carry_out(_execute, data, database_url, workers=workers)


async def _execute(settings: Settings) -> None:
    async with until_stopped(), unlocked(settings) as house, working(house, settings.stop_patience):
        polls = "" if settings.email_sync_enabled else ", without polling"
        screen.say(f"Running jobs, {settings.workers} at a time{polls}. Ctrl-C stops it.")
        await asyncio.Event().wait()
    screen.say("Stopped.")
