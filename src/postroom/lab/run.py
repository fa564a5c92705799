"""Serve a lab mailbox until the caller cancels: what `postroom lab imap` does."""

import asyncio
import resource
from collections.abc import Callable, Iterable
from datetime import timedelta

from postroom.lab.server import LabServer, serve

FOLDERS_OF_MANY = 3  # of each account, where there are several


async def run(
    *,
    port: int = 0,
    messages: int = 300,
    accounts: int = 1,
    arrive_every: timedelta | None = None,
    faults: Iterable[str] = (),
    offers: Iterable[str] = (),
    prefix: str = "",
    delimiter: str = "/",
    seed: int = 1,
    when_ready: Callable[[LabServer], None] | None = None,
) -> None:
    """`when_ready` is called once clients can connect. Raises what `serve` raises.

    As many files may be open as the system allows, since each client is one.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    async with serve(
        messages=messages,
        folder_count=8 if accounts == 1 else FOLDERS_OF_MANY,
        accounts=accounts,
        arrive_every=arrive_every,
        faults=faults,
        offers=offers,
        prefix=prefix,
        delimiter=delimiter,
        seed=seed,
        port=port,
    ) as server:
        if when_ready:
            when_ready(server)
        await asyncio.Event().wait()
