"""All SQL of how people name a job: by as much of its id as no other one's begins with."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from uuid import UUID

from asyncpg import Connection

from postroom.ids import TenantId
from postroom.jobs.model import Ambiguous, Job, NoSuchJob

from . import COLUMNS, job_of

DIGITS = 32
PREFIX = re.compile(r"[0-9a-f]{4,32}")
MILLISECOND = 12  # digits that tell when it was made: ids of other milliseconds, coming ones too, have others
HYPHENS = (8, 12, 16, 20)  # digits before each of them

FIND = f"""
    SELECT {COLUMNS} FROM jobs_job WHERE tenant_id = $1 AND public_id BETWEEN $2 AND $3 LIMIT 2
"""  # noqa: S608


async def find(conn: Connection, tenant: TenantId, prefix: str) -> Job:
    """The one job whose id begins like this, with hyphens or without. Raises `NoSuchJob`, `Ambiguous`."""
    digits = prefix.replace("-", "").lower()
    if PREFIX.fullmatch(digits) is None:
        raise NoSuchJob(f"{prefix[:50]} is no beginning of an id, which is at least 4 digits from 0 to f.")
    found = await conn.fetch(FIND, tenant, UUID(digits.ljust(DIGITS, "0")), UUID(digits.ljust(DIGITS, "f")))
    if not found:
        raise NoSuchJob(f"There is no job whose id begins with {prefix}.")
    if len(found) > 1:
        raise Ambiguous(f"The ids of several jobs begin with {prefix}; give more of it.")
    return job_of(found[0])


NEIGHBOURS = """
    SELECT o.public_id,
           (SELECT j.public_id FROM jobs_job j
             WHERE j.tenant_id = $1 AND j.public_id >= o.earliest AND j.public_id < o.public_id
             ORDER BY j.public_id DESC LIMIT 1) AS before,
           (SELECT j.public_id FROM jobs_job j
             WHERE j.tenant_id = $1 AND j.public_id > o.public_id AND j.public_id <= o.latest
             ORDER BY j.public_id LIMIT 1) AS after
      FROM unnest($2::uuid[], $3::uuid[], $4::uuid[]) AS o (public_id, earliest, latest)
"""


async def short(conn: Connection, tenant: TenantId, ids: Sequence[UUID]) -> dict[UUID, str]:
    """For each of these as much of it as `find` needs, and at least its millisecond, so that this lasts."""
    moments = [one.hex[:MILLISECOND] for one in ids]
    bounds = ([UUID(moment.ljust(DIGITS, digit)) for moment in moments] for digit in "0f")
    rows = await conn.fetch(NEIGHBOURS, tenant, ids, *bounds)
    return {row["public_id"]: _cut(row["public_id"], row["before"], row["after"]) for row in rows}


def _cut(one: UUID, *others: UUID | None) -> str:
    needed = [DIGITS - ((one.int ^ other.int).bit_length() + 3) // 4 + 1 for other in others if other]
    digits = max([MILLISECOND, *needed])
    return str(one)[: digits + bisect_left(HYPHENS, digits)]
