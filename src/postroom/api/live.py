"""What one process tells live: of jobs, of the log, of syncs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from postroom.accounts import store as accounts
from postroom.db.listen import Hints
from postroom.db.pool import Database
from postroom.events import follow as events
from postroom.jobs import follow as jobs
from postroom.sync import live as sync


@dataclass(frozen=True, slots=True)
class Live:
    jobs: jobs.Following
    log: events.Following
    syncs: sync.Syncs


@asynccontextmanager
async def live(database: Database, hints: Hints) -> AsyncIterator[Live]:
    """All of it, for as long as the block runs; at its end everybody who follows something is told so."""
    async with (
        jobs.following(database, hints) as of_jobs,
        events.following(database, hints, accounts.public_ids) as log,
        sync.syncs(database, hints) as syncs,
    ):
        yield Live(of_jobs, log, syncs)
