"""Serve a lab mailbox until the caller cancels: what `postroom lab imap` does."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta

from postroom.lab.server import LabServer, serve


async def run(
    *,
    port: int = 0,
    messages: int = 300,
    arrive_every: timedelta | None = None,
    faults: Iterable[str] = (),
    offers: Iterable[str] = (),
    prefix: str = "",
    delimiter: str = "/",
    seed: int = 1,
    when_ready: Callable[[LabServer], None] | None = None,
) -> None:
    """`when_ready` is called once clients can connect. Raises what `serve` raises."""
    async with serve(
        messages=messages,
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
