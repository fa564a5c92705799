"""Applications in processes of their own, of which some events are the end.

python -m library.poisoned      a nursery of them
"""

import asyncio
import os
from typing import Any

from library.desk import room_of, write
from servers.nursery import forking

from postroom.library import Event

ATTEMPTS = 2
SLOW = "SELECT pg_sleep(0.3)"
NOTE = "INSERT INTO public.note VALUES ($1)"


async def host(dsn: str, poison: list[str]) -> None:
    """Until one of these messages comes to its ticket."""
    room = room_of(dsn)

    @room.on("mail.added", attempts=ATTEMPTS)
    async def ticket(event: Event, tx: Any) -> None:
        await write(event, tx)
        if str(event.message) in poison:
            os._exit(9)  # as the system ends whoever takes too much memory

    @room.on("mail.added", attempts=1)
    async def note(event: Event, tx: Any) -> None:
        """It is not done when its neighbour is, and dies with that."""
        await tx.execute(SLOW)
        await tx.execute(NOTE, event.message)

    async with room:
        await asyncio.Event().wait()


if __name__ == "__main__":
    forking(host)
