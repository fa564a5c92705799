"""The schedule: accounts whose time has come become jobs.

Any number of processes may run this over one database: each due account becomes one job. When an account is
due stands in its row and nowhere else, so a hundred thousand of them cost a process no memory, and a
changed interval takes effect at once. A hint tells of one that has just become due; looking every second is
the truth.
"""

import asyncio
import random
from contextlib import suppress
from datetime import timedelta

import structlog

from postroom.accounts.model import DUE
from postroom.db.listen import Hints
from postroom.db.model import DATABASE_AWAY
from postroom.db.pool import Database

from .ask import LIMIT
from .store import due as store

LOOK_EVERY = timedelta(seconds=1)
GATHER = 0.02  # seconds after a hint, for more of them: many accounts may be connected at once
STEP = 200  # accounts in one transaction
ENOUGH = 1000  # jobs that are ready: more would only wait, and the longest waiting account could not go first

logger = structlog.get_logger()


async def schedule(db: Database, hints: Hints, every: timedelta) -> None:
    """Run until cancelled. `every`: the interval of accounts without their own."""
    with hints.hear(DUE) as due:
        while True:
            try:
                while await enqueue_due(db, every) == STEP:
                    pass
            except DATABASE_AWAY as error:
                logger.warning("sync.database_away", code=error.code)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY.total_seconds() * random.uniform(0.8, 1.2)):
                    await anext(due)
                    await asyncio.sleep(GATHER)


async def enqueue_due(db: Database, every: timedelta) -> int:
    """Let accounts that are due wait as jobs; how many there were, `STEP` at most."""
    async with db.unbound() as conn:
        if await store.ready(conn, ENOUGH) == ENOUGH:
            return 0
        return await store.enqueue_due(conn, STEP, every, LIMIT)
