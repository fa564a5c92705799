"""Look, again and again, whether somebody has to give way to a job that finds no worker.

Costs nothing unless every worker is busy and one of them has been so for longer than its slice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from postroom.db.model import DATABASE_AWAY
from postroom.db.pool import Database

from .model import JobId
from .slices import Ran, Waiting, gives_way, over
from .store import queue

logger = structlog.get_logger()


@dataclass(slots=True)
class Share:
    """Remembers what waited at the last look: what still does, no other executor has taken meanwhile."""

    db: Database
    kinds: Sequence[str]
    slice: timedelta  # the length of the first one
    _seen: set[JobId] = field(default_factory=set)

    async def look(self, running: Callable[[], Sequence[Ran]], turn: int) -> tuple[Ran, Waiting] | None:
        """Who is to give way, and to whom. `running`: now, and nothing while a worker is free."""
        seen, self._seen = self._seen, set()
        if not over(running(), self.slice):
            return None
        try:
            async with self.db.unbound() as conn:
                found = await queue.waiting(conn, self.kinds, turn)
        except DATABASE_AWAY as error:
            logger.warning("jobs.database_away", code=error.code)
            return None
        now = running()
        wait = seen - {one.job.id for one in now}  # one may have come free here meanwhile
        pair = gives_way(now, [other for other in found if other.job in wait], self.slice)
        # Whoever gives way may take a moment to stop: nobody else does so for the same one meanwhile.
        self._seen = {other.job for other in found if pair is None or other != pair[1]}
        return pair
