"""`postroom up`: the API and the polling of mailboxes, in one process, until Ctrl-C."""

import asyncio
import shlex
import shutil
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from postroom import __version__
from postroom.accounts.model import Account
from postroom.cli import screen
from postroom.cli.demo import ADDRESS, ARRIVE_EVERY, demonstration
from postroom.cli.following import follow
from postroom.cli.installation import Installation, all_accounts, unlocked
from postroom.cli.options import Data, DatabaseUrl, Host, Port, command
from postroom.cli.run import carry_out
from postroom.cli.serving import address, answering, listening
from postroom.cli.stopping import until_stopped
from postroom.cli.working import working
from postroom.jobs.store import names
from postroom.settings import Settings, default_data
from postroom.sync import jobs as sync

app = command()

WORD = "invoice"
PATIENCE = timedelta(seconds=1)  # somebody waits for Ctrl-C; what is cut off goes on at the next start


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
            async with unlocked(settings) as house, AsyncExitStack() as stack:
                account = await stack.enter_async_context(demonstration(house)) if demo else None
                await stack.enter_async_context(answering(house, listener))
                await stack.enter_async_context(working(house, PATIENCE))
                if account is not None:
                    await _first_sync(house, account)
                await _welcome(house, address(settings.host, listener), demo=demo)
                await asyncio.Event().wait()
    screen.say("Stopped.")


async def _first_sync(house: Installation, account: Account) -> None:
    """As a job like any other, shown while it runs."""
    async with house.database.transaction(house.tenant) as conn:
        made = await sync.request(conn, account)
        short = (await names.short(conn, house.tenant, [made.public_id]))[made.public_id]
    watch = _called(house.settings).format("jobs watch")
    screen.say(f"Job {short} copies {account.address}; in another terminal: {watch} {short}")
    await follow(house, made.id, called=account.address)


async def _welcome(house: Installation, url: str, *, demo: bool) -> None:
    settings = house.settings
    command = _called(settings)
    key, question = f"-H 'Authorization: Bearer {house.key.text}'", f"'{url}/v1/search?q={WORD}&limit=3'"
    screen.say(f"Postroom {__version__} is running{f' with the mailbox {ADDRESS}' if demo else ''}.")
    screen.say()
    screen.say(f"  API            {url}/v1")
    screen.say(f"  documentation  {url}/docs")
    screen.say(f"  try            curl {key} {question}")
    if demo or await all_accounts(house):
        screen.say(f"  in another terminal: {command.format('search')} {WORD}")
    else:
        screen.say(f"  connect a mailbox, in another terminal: {command.format('connect')} you@example.com")
    screen.say()
    arriving = f"New mail arrives every {ARRIVE_EVERY.total_seconds():.0f} s. " if demo else ""
    screen.say(f"{arriving}Ctrl-C stops everything.")


def _called(settings: Settings) -> str:
    """How another terminal in this folder calls a command of this installation, which stands for `{}`."""
    return f"{_program()}{_where(settings)}"


def _program() -> str:
    here = Path(sys.argv[0])
    if here.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m postroom.cli {{}}"
    if shutil.which("postroom") and Path(str(shutil.which("postroom"))).resolve() == here.resolve():
        return "postroom {}"
    shown = here.resolve()
    if shown.is_relative_to(Path.cwd()):
        shown = shown.relative_to(Path.cwd())
    return f"{shlex.quote(str(shown))} {{}}"


def _where(settings: Settings) -> str:
    """The options without which another terminal would find other data."""
    if settings.database_url is None and settings.data == default_data():
        return ""
    data = f" --data {shlex.quote(str(settings.data))}"
    return data + (" --database-url ..." if settings.database_url else "")
