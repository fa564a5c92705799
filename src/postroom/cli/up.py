"""`postroom up`: the API and the polling of mailboxes, in one process, until Ctrl-C."""

import asyncio
import shlex
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer

from postroom import __version__
from postroom.api.app import create_app
from postroom.cli import screen
from postroom.cli.announcing import Announcer
from postroom.cli.demo import ADDRESS, ARRIVE_EVERY, demonstration
from postroom.cli.installation import Installation, all_accounts, opened
from postroom.cli.options import Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.cli.serving import listening, serving
from postroom.cli.sync import report, sync_accounts
from postroom.db.beside import beside
from postroom.settings import Settings, default_data
from postroom.sync.due import sync_due
from postroom.sync.workshop import workshop

app = command()

WORD = "invoice"
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@app.command()
def main(
    demo: Annotated[
        bool, typer.Option("--demo", help="With a mailbox to play with, that mail arrives in.")
    ] = False,
    host: Annotated[str | None, typer.Option(help="The address of the API.  [env: POSTROOM_HOST]")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port of the API.  [env: POSTROOM_PORT]")
    ] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Start everything in one process: the API and the polling of mailboxes. Ctrl-C stops it."""
    carry_out(lambda settings: up(settings, demo=demo), data, database_url, host=host, port=port)


async def up(settings: Settings, *, demo: bool) -> None:
    """Run until SIGINT or SIGTERM. The port comes first: where it is taken, nothing has been started."""
    async with _until_stopped():
        with listening(settings.host, settings.port) as listener:
            async with opened(settings) as house, AsyncExitStack() as stack:
                if demo:
                    account = await stack.enter_async_context(demonstration(house))
                    for outcome in await sync_accounts(house, [account], quiet=False):
                        report(outcome)
                application = create_app(house.database, settings, house.vault, house.providers)
                await stack.enter_async_context(serving(application, listener))
                if settings.email_sync_enabled:
                    await stack.enter_async_context(beside(_polling(house)))
                await _welcome(house, listener.getsockname()[1], demo=demo)
                await asyncio.Event().wait()
    screen.say("Stopped.")


@asynccontextmanager
async def _until_stopped() -> AsyncIterator[None]:
    """SIGINT and SIGTERM end the block, whatever it is waiting for; that is no error."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        is_stopping = True
        task.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    except asyncio.CancelledError:
        if not is_stopping:
            raise
        task.uncancel()
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


async def _polling(house: Installation) -> None:
    """Sync accounts as they fall due, and say what arrives."""
    announcer = Announcer(house)
    with workshop() as shop:
        async with beside(announcer.run()):
            await sync_due(
                house.means(shop),
                every=house.settings.sync_interval,
                parallel=house.settings.sync_parallel,
                told=announcer.hear,
            )


async def _welcome(house: Installation, port: int, *, demo: bool) -> None:
    settings = house.settings
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
    command = f"{_program()}{_where(settings)}"
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


def _program() -> str:
    """How another terminal in this folder calls us."""
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
