"""What `postroom up` runs: requests are answered first, then jobs run and mailboxes are polled."""

import asyncio
import socket
from contextlib import AsyncExitStack
from datetime import timedelta

from postroom import __version__
from postroom.accounts.model import Account
from postroom.cli import screen
from postroom.cli.called import called
from postroom.cli.installation import Installation, all_accounts, unlocked
from postroom.cli.listening import address
from postroom.cli.starting import load, loading
from postroom.settings import Settings

WORD = "invoice"
PATIENCE = timedelta(seconds=1)  # somebody waits for Ctrl-C; what is cut off goes on at the next start


async def everything(settings: Settings, dsn: str, listener: socket.socket, *, demo: bool) -> None:
    """Run on a database that has been started, until cancelled."""
    async with AsyncExitStack() as stack:
        loaded = await stack.enter_async_context(loading("postroom.cli.serving"))
        house = await stack.enter_async_context(unlocked(settings, dsn))
        await loaded.wait()
        from postroom.cli.serving import answering

        account = await _demonstration(house, stack) if demo else None
        await stack.enter_async_context(answering(house, listener))
        await load("postroom.cli.working")
        from postroom.cli.working import working

        await stack.enter_async_context(working(house, PATIENCE))
        arriving = await _first_sync(house, account) if account is not None else ""
        await _welcome(house, address(settings.host, listener), account, arriving)
        await asyncio.Event().wait()


async def _demonstration(house: Installation, stack: AsyncExitStack) -> Account:
    from postroom.cli.demo import demonstration

    return await stack.enter_async_context(demonstration(house))


async def _first_sync(house: Installation, account: Account) -> str:
    """What there is to say of the demonstration, once it has been copied."""
    from postroom.cli.demo import ARRIVING, first_sync

    await first_sync(house, account)
    return ARRIVING


async def _welcome(house: Installation, url: str, demo: Account | None, arriving: str) -> None:
    command = called(house.settings)
    key, question = f"-H 'Authorization: Bearer {house.key.text}'", f"'{url}/v1/search?q={WORD}&limit=3'"
    screen.say(f"Postroom {__version__} is running{f' with the mailbox {demo.address}' if demo else ''}.")
    screen.say()
    screen.say(f"  API            {url}/v1")
    screen.say(f"  documentation  {url}/docs")
    screen.say(f"  try            curl {key} {question}")
    if demo or await all_accounts(house):
        screen.say(f"  in another terminal: {command.format('search')} {WORD}")
    else:
        screen.say(f"  connect a mailbox, in another terminal: {command.format('connect')} you@example.com")
    screen.say()
    screen.say(f"{arriving}Ctrl-C stops everything.")
