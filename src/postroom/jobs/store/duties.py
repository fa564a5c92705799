"""All SQL of duties, which are no tenant's. Their rows outlive every process."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from asyncpg import Connection

PLAN = """
    INSERT INTO jobs_duty (name, every, next_at)
    SELECT d.name, d.every, now() + d.wait FROM unnest($1::text[], $2::interval[], $3::interval[])
        AS d (name, every, wait)
    ON CONFLICT (name) DO UPDATE
       SET every = excluded.every, next_at = least(jobs_duty.next_at, now() + excluded.every)
     WHERE jobs_duty.every <> excluded.every
"""


async def plan(
    conn: Connection, names: Sequence[str], every: Sequence[timedelta], waits: Sequence[timedelta]
) -> None:
    """Let these recur; a new one for the first time after its wait, one that is known when it is due."""
    await conn.execute(PLAN, names, every, waits)


CLAIM = """
    UPDATE jobs_duty SET holder = $1, lease_until = clock_timestamp() + $3
     WHERE name = (SELECT name FROM jobs_duty
                    WHERE name = ANY($2) AND next_at <= clock_timestamp()
                      AND (holder IS NULL OR lease_until < clock_timestamp() OR holder = ANY($4))
                    ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING name
"""


async def claim(
    conn: Connection, holder: str, names: Sequence[str], lease: timedelta, dead: Sequence[str]
) -> str | None:
    """One of these whose time has come and that nobody else does who is alive; the holder's for a `lease`."""
    name: str | None = await conn.fetchval(CLAIM, holder, names, lease, [*dead, holder])
    return name


HOLDERS = "SELECT DISTINCT holder FROM jobs_duty WHERE holder IS NOT NULL"


async def holders(conn: Connection) -> list[str]:
    return [row[0] for row in await conn.fetch(HOLDERS)]


HOLD = """
    UPDATE jobs_duty SET lease_until = clock_timestamp() + $3 WHERE name = $1 AND holder = $2 RETURNING name
"""


async def hold(conn: Connection, name: str, holder: str, lease: timedelta) -> bool:
    """For another `lease`; whether it was still the holder's."""
    return await conn.fetchval(HOLD, name, holder, lease) is not None


# A claim that was cut off in its commit may still come to stand: its row is waited for, then looked at.
AWAIT = "SELECT FROM jobs_duty WHERE name = ANY($1) ORDER BY name FOR UPDATE"
RELEASE = "UPDATE jobs_duty SET holder = NULL, lease_until = NULL WHERE name = ANY($1) AND holder = $2"


async def release(conn: Connection, names: Sequence[str], holder: str) -> None:
    """Those of these that are the holder's were cut off: whoever comes next does them."""
    await conn.execute(AWAIT, names)
    await conn.execute(RELEASE, names, holder)


DONE = """
    UPDATE jobs_duty
       SET holder = NULL, lease_until = NULL, last_at = clock_timestamp(), last_seconds = $3, last_error = $4,
           next_at = clock_timestamp() + every * $5::float8
     WHERE name = $1 AND holder = $2
"""


async def done(
    conn: Connection, name: str, holder: str, *, seconds: float, error: str | None, jitter: float
) -> None:
    """It comes again after its interval times `jitter`."""
    await conn.execute(DONE, name, holder, seconds, error, jitter)


@dataclass(frozen=True, slots=True)
class DutyRow:
    """How a duty goes."""

    name: str
    every: timedelta
    next_at: datetime
    holder: str | None
    last_at: datetime | None
    last_seconds: float | None
    last_error: str | None


LIST = "SELECT name, every, next_at, holder, last_at, last_seconds, last_error FROM jobs_duty ORDER BY name"


async def listed(conn: Connection) -> list[DutyRow]:
    return [DutyRow(**row) for row in await conn.fetch(LIST)]
