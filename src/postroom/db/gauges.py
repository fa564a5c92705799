"""Numbers for Prometheus that a query counts: of the whole installation, and nothing of any tenant."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, TypeVar

from postroom import telemetry
from postroom.db.pool import Connection, Database
from postroom.errors import PostroomError

AGE = timedelta(seconds=5)
"""How old the numbers may be: whoever asks without end does not keep the database busy."""
PATIENCE = timedelta(seconds=2)

T = TypeVar("T")


@dataclass
class Gauges(Generic[T]):
    """What a room counts. Without a database that answers, its gauges have no values.

    `name`: of the room. `clear` takes the values away, `read` counts on an unbound connection, `put` sets
    what was counted.
    """

    name: str
    clear: Callable[[], None]
    read: Callable[[Connection], Awaitable[T]]
    put: Callable[[T], None]
    _good_until: float = 0.0
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def refresh(self, db: Database) -> None:
        now = asyncio.get_running_loop().time
        async with self._one:
            if now() < self._good_until:
                return
            self.clear()
            try:
                async with asyncio.timeout(PATIENCE.total_seconds()), db.unbound() as conn:
                    found = await self.read(conn)
            except (PostroomError, TimeoutError) as error:
                telemetry.logger().warning(f"{self.name}.not_counted", reason=type(error).__name__)
            else:
                self.put(found)
            self._good_until = now() + AGE.total_seconds()
