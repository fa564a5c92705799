"""Applications in processes of their own, that are killed with -9 at a step.

    python -m library.hosting      a nursery of them

A step is a statement on its way to PostgreSQL, or its answer on the way back, once a handler runs. At the
step with the given number the process is gone. One that lives to see all handled makes a file, and ends.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
from library.desk import given, room_of, write
from servers.nursery import forking

from postroom.library import Event
from postroom.library.handle import Batch, Handling, Line


class Steps:
    """Counts, and kills when it is time."""

    def __init__(self, last: int) -> None:
        self.last, self.count, self.is_counting = last, 0, False

    def step(self) -> None:
        self.count += self.is_counting
        if self.is_counting and self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def stepped(*args: Any, **options: Any) -> Any:
            self.step()
            done = await method(*args, **options)
            self.step()
            return done

        return stepped

    def patch(self) -> None:
        """All that asyncpg says, in simple and in extended queries."""
        connection: Any = asyncpg.Connection
        connection.execute = self.around(connection.execute)
        connection._do_execute = self.around(connection._do_execute)
        prepared: Any = asyncpg.prepared_stmt.PreparedStatement
        for name in ("fetch", "fetchval", "fetchrow", "executemany"):
            setattr(prepared, name, self.around(getattr(prepared, name)))


async def host(dsn: str, way: str, messages: int, last: int, lived: str) -> None:
    """Handle all up to the message of this number, or die at the step `last`; there is no step 0."""
    steps, done, together = Steps(last), asyncio.Event(), Handling._together
    steps.patch()

    async def counted(self: Handling, line: Line, batch: Batch) -> float | None:
        steps.is_counting = True
        found = await together(self, line, batch)
        if found is None and batch.to[2] >= messages:
            done.set()
        return found

    Handling._together = counted  # type: ignore[method-assign]
    async with given(dsn, way) as session:
        room = room_of(dsn, session)

        @room.on("mail.added")
        async def ticket(event: Event, tx: Any) -> None:
            await write(event, tx)

        async with room:
            await done.wait()
            steps.is_counting = False
    os.mknod(lived)


if __name__ == "__main__":
    forking(host)
