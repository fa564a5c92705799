"""Due accounts of all tenants, as jobs."""

from datetime import timedelta

from asyncpg import Connection

from postroom.db.pool import hint
from postroom.ids import new_public_id
from postroom.jobs.model import READY

ENQUEUE_DUE = "SELECT sync_enqueue_due($1, $2, $3)"


async def enqueue_due(conn: Connection, most: int, every: timedelta, limit: timedelta) -> int:
    """Jobs for at most so many, with a time limit each; how many accounts were due."""
    ids = [new_public_id() for _ in range(most)]
    found: int = await conn.fetchval(ENQUEUE_DUE, ids, every, round(limit.total_seconds()))
    if found:
        hint(conn, READY)
    return found


READY_JOBS = "SELECT jobs_ready($1)"


async def ready(conn: Connection, most: int) -> int:
    """How many jobs could run now, counted up to `most`."""
    return int(await conn.fetchval(READY_JOBS, most))
