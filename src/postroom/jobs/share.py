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

PROMISE = timedelta(seconds=5)  # so long whoever gives way may take to stop, before another does so too

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
            self._seen = {other.job for other in found}
            pair = gives_way(running(), [other for other in found if other.job in seen], self.slice)
            if pair is None:
                return None
            async with self.db.transaction(pair[1].tenant) as conn:
                is_first = await queue.promise(conn, pair[1], PROMISE)
        except DATABASE_AWAY as error:
            logger.warning("jobs.database_away", code=error.code)
            return None
        return pair if is_first and any(one.job is pair[0].job for one in running()) else None
