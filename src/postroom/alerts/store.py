"""All SQL of alerts."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import orjson
from asyncpg import Connection, Record

from postroom.db.sql import Where
from postroom.events.model import Place, Stream
from postroom.ids import AccountId, TenantId, new_public_id

from .model import Alert, Amount, Begins, Channel, Count, Ends, Entry, Message, Together
from .rules import JOB_FAILED

BEGIN_ANEW = """
    SELECT alerts_begin_anew(array_agg(o)) FROM unnest($1::text[]) AS o
     WHERE NOT EXISTS (SELECT FROM alerts_channel c WHERE c.channel = o AND c.until > now())
"""
WANT = """
    WITH own AS (
        INSERT INTO alerts_channel (channel, until) SELECT o, now() + $2 FROM unnest($1::text[]) AS o
        ON CONFLICT (channel) DO UPDATE SET until = excluded.until RETURNING channel)
    SELECT channel FROM own UNION SELECT channel FROM alerts_channel WHERE until > now()
"""


async def want(conn: Connection, own: Collection[Channel], away: timedelta) -> list[Channel]:
    """Those that any process wants, these among them, which are wanted until they are `away` for so long.

    One that was not wanted begins anew. Unbound.
    """
    await conn.execute(BEGIN_ANEW, sorted(own))
    return [Channel(row["channel"]) for row in await conn.fetch(WANT, sorted(own), away)]


BEHIND = "SELECT alerts_behind()"


async def behind(conn: Connection) -> list[TenantId]:
    """Tenants of which there may be something to read, or over. Unbound."""
    return [TenantId(row[0]) for row in await conn.fetch(BEHIND)]


# Locks the row: whoever reads the same tenant's log meanwhile waits, and goes on from there.
PLACE = """
    INSERT INTO alerts_cursor AS c (tenant_id) VALUES ($1)
    ON CONFLICT (tenant_id) DO UPDATE SET position = c.position
    RETURNING position, stream, seq, is_live
"""
MOVE = "UPDATE alerts_cursor SET position = $2, stream = $3, seq = $4 WHERE tenant_id = $1"
READ = """
    SELECT position, stream, seq, at, kind, body FROM events_event
     WHERE tenant_id = $1 AND (position, stream, seq) > ($2, $3, $4) AND position < $5
       AND kind = ANY($6::text[])
     ORDER BY position, stream, seq LIMIT $7
"""


async def place(conn: Connection, tenant: TenantId) -> tuple[Place, bool]:
    """How far the tenant's log was read, and whether its end was reached once; held until the commit."""
    row = await conn.fetchrow(PLACE, tenant)
    assert row is not None  # an upsert returns its row
    return (row["position"], row["stream"], row["seq"]), row["is_live"]


async def move(conn: Connection, tenant: TenantId, place: Place) -> None:
    await conn.execute(MOVE, tenant, *place)


async def read(
    conn: Connection, tenant: TenantId, after: Place, below: int, kinds: Sequence[str], limit: int
) -> list[Entry]:
    """The next entries of these kinds, of all streams."""
    rows = await conn.fetch(READ, tenant, *after, below, kinds, limit)
    return [
        Entry(
            row["position"],
            Stream(row["stream"]),
            row["seq"],
            row["at"],
            row["kind"],
            orjson.loads(row["body"]),
        )
        for row in rows
    ]


# Of an event in the tenant's stream the account is that of its job, if there is one.
BEGIN = """
    INSERT INTO alerts_alert (tenant_id, public_id, kind, subject, code, opened_at, account_id)
    VALUES ($1, $2, $3, $4, $5, $6, coalesce(nullif($7::bigint, 0), (
            SELECT j.account_id FROM jobs_job j WHERE j.tenant_id = $1 AND j.public_id = $4)))
    ON CONFLICT (tenant_id, kind, subject) WHERE closed_at IS NULL DO NOTHING
    RETURNING id
"""
END = """
    UPDATE alerts_alert SET closed_at = greatest($4, opened_at)
     WHERE tenant_id = $1 AND subject = $2 AND closed_at IS NULL AND ($3::text[] IS NULL OR kind = ANY($3))
    RETURNING id
"""
END_JOBS = """
    UPDATE alerts_alert a SET closed_at = greatest(now(), opened_at)
     WHERE a.tenant_id = $1 AND a.closed_at IS NULL AND a.kind = $2 AND NOT EXISTS (
           SELECT FROM jobs_job j WHERE j.tenant_id = $1 AND j.public_id = a.subject AND j.state = 'failed')
    RETURNING id
"""


async def begin(conn: Connection, tenant: TenantId, change: Begins) -> list[int]:
    """Its number; nothing where it is open already."""
    return _numbers(
        await conn.fetch(
            BEGIN,
            tenant,
            new_public_id(),
            change.kind,
            change.subject,
            change.code,
            change.at,
            change.stream,
        )
    )


async def end(conn: Connection, tenant: TenantId, change: Ends) -> list[int]:
    """The numbers of those that are over now."""
    kinds = None if change.kinds is None else sorted(change.kinds)
    return _numbers(await conn.fetch(END, tenant, change.subject, kinds, change.at))


async def end_jobs(conn: Connection, tenant: TenantId) -> list[int]:
    """The same, of jobs that have not failed any more."""
    return _numbers(await conn.fetch(END_JOBS, tenant, JOB_FAILED))


SAY = """
    INSERT INTO alerts_message (tenant_id, public_id, alert_id, channel, is_over)
    SELECT $1, gen_random_uuid(), a.id, c.channel, $3
      FROM unnest($2::bigint[]) AS a (id), unnest($4::text[]) AS c (channel)
    ON CONFLICT DO NOTHING
"""
OPEN = "SELECT id FROM alerts_alert WHERE tenant_id = $1 AND closed_at IS NULL"
GO_LIVE = "UPDATE alerts_cursor SET is_live = true WHERE tenant_id = $1"


async def say(
    conn: Connection, tenant: TenantId, alerts: Sequence[int], channels: Collection[Channel], *, is_over: bool
) -> None:
    """Have it said over each of these channels."""
    await conn.execute(SAY, tenant, alerts, is_over, sorted(channels))


async def go_live(conn: Connection, tenant: TenantId) -> list[int]:
    """The log was read to its end for the first time; the numbers of what is open."""
    await conn.execute(GO_LIVE, tenant)
    return _numbers(await conn.fetch(OPEN, tenant))


DUE = "SELECT tenant, message FROM alerts_due($1, $2)"
MESSAGE = """
    SELECT m.id, m.public_id, m.channel, m.is_over, m.attempts, t.public_id AS tenant, a.id AS alert,
           a.public_id AS alert_id, a.kind, a.subject, a.account_id, a.code, a.opened_at, a.closed_at
      FROM alerts_message m
      JOIN alerts_alert a ON a.tenant_id = m.tenant_id AND a.id = m.alert_id
      JOIN people_tenant t ON t.tenant_id = m.tenant_id
     WHERE m.tenant_id = $1 AND m.id = $2 AND m.sent_at IS NULL
"""
SENT = """
    UPDATE alerts_message SET sent_at = now(), attempts = attempts + 1, last_error = NULL
     WHERE tenant_id = $1 AND id = $2
"""
FAILED = """
    UPDATE alerts_message SET attempts = attempts + 1, next_at = now() + $3, last_error = $4
     WHERE tenant_id = $1 AND id = $2
"""


async def due(conn: Connection, channels: Collection[Channel], most: int) -> list[tuple[TenantId, int]]:
    """What is to be said now, of all tenants, the oldest first. Unbound."""
    return [(TenantId(row[0]), row[1]) for row in await conn.fetch(DUE, sorted(channels), most)]


async def message(conn: Connection, tenant: TenantId, number: int) -> Message | None:
    """None: it was said meanwhile."""
    row = await conn.fetchrow(MESSAGE, tenant, number)
    if row is None:
        return None
    return Message(
        tenant,
        row["id"],
        row["public_id"],
        row["tenant"],
        Channel(row["channel"]),
        row["is_over"],
        row["attempts"],
        Alert(
            row["alert"],
            row["alert_id"],
            row["kind"],
            row["subject"],
            AccountId(row["account_id"]) if row["account_id"] is not None else None,
            row["code"],
            row["opened_at"],
            row["closed_at"],
        ),
    )


async def sent(conn: Connection, tenant: TenantId, number: int) -> None:
    """It was said."""
    await conn.execute(SENT, tenant, number)


async def failed(conn: Connection, tenant: TenantId, number: int, wait: timedelta, error: str) -> None:
    """It was not, and is tried again after `wait`."""
    await conn.execute(FAILED, tenant, number, wait, error)


AMOUNT = "SELECT waiting, said, is_together FROM alerts_amount($1, $2, $3)"
UNSAID = "SELECT digest, attempts, is_due FROM alerts_unsaid($1)"
GATHER = "SELECT alerts_gather($1, $2)"


async def amount(conn: Connection, channel: Channel, span: timedelta, most: int) -> Amount:
    """What waits, and was said within `span`: of all tenants, at most so much. Unbound."""
    row = await conn.fetchrow(AMOUNT, channel, span, most)
    assert row is not None  # it counts
    return Amount(row["waiting"], row["said"], row["is_together"])


async def unsaid(conn: Connection, channel: Channel) -> Together | None:
    """What was put together and nobody has taken. Unbound."""
    row = await conn.fetchrow(UNSAID, channel)
    return None if row is None else Together(row["digest"], row["attempts"], row["is_due"])


async def gather(conn: Connection, channel: Channel) -> Together:
    """Put together all that is to be said over the channel, unless somebody else does so. Unbound."""
    made = Together(new_public_id(), attempts=0, is_due=True)
    await conn.execute(GATHER, channel, made.public_id)
    return made


DIGEST = "SELECT kind, code, opened, closed, latest FROM alerts_digest($1)"
FIRST = "SELECT tenant, message FROM alerts_together($1, $2)"
SAID = "SELECT alerts_said($1, $2, $3)"


async def counts(conn: Connection, digest: UUID) -> tuple[list[Count], datetime | None]:
    """What is together, of all tenants, and when the last of it happened. Unbound."""
    rows = await conn.fetch(DIGEST, digest)
    found = [Count(row["kind"], row["code"], row["opened"], row["closed"]) for row in rows]
    return found, max((row["latest"] for row in rows), default=None)


async def first(conn: Connection, digest: UUID, most: int) -> list[tuple[TenantId, int]]:
    """The first messages of it, of all tenants. Unbound."""
    return [(TenantId(row[0]), row[1]) for row in await conn.fetch(FIRST, digest, most)]


async def said(conn: Connection, digest: UUID, error: str | None, wait: timedelta) -> None:
    """All of it was said; or, with an error, nothing, and it is tried again after `wait`. Unbound."""
    await conn.execute(SAID, digest, error, wait)


PAGE = """
    SELECT id, public_id, kind, subject, account_id, code, opened_at, closed_at FROM alerts_alert
     WHERE tenant_id = $1 AND {where} ORDER BY id DESC LIMIT $2
"""


async def page(
    conn: Connection,
    tenant: TenantId,
    *,
    limit: int,
    before: int | None = None,
    account: AccountId | None = None,
    is_open: bool | None = None,
) -> list[Alert]:
    """The latest first."""
    where = Where(tenant, limit)
    where.given("id < $?", before)
    where.given("account_id = $?", account)
    where.given("(closed_at IS NULL) = $?", is_open)
    return [_alert(row) for row in await conn.fetch(where.into(PAGE), *where.values)]


def _alert(row: Record) -> Alert:
    account = None if row["account_id"] is None else AccountId(row["account_id"])
    return Alert(
        row["id"],
        row["public_id"],
        row["kind"],
        row["subject"],
        account,
        row["code"],
        row["opened_at"],
        row["closed_at"],
    )


COUNTED = "SELECT kind, found FROM alerts_counted()"
CLEAN = "SELECT alerts_clean($1, $2)"


async def counted(conn: Connection) -> tuple[dict[str, int], int]:
    """How many are open, by kind, and how many messages wait that are wanted: of all tenants. Unbound."""
    found = {row["kind"]: row["found"] for row in await conn.fetch(COUNTED)}
    return {kind: number for kind, number in found.items() if kind is not None}, found[None]


async def clean(conn: Connection, age: timedelta, most: int) -> int:
    """Forget alerts that are over for so long, unless one is still to be said; how many. Unbound."""
    return int(await conn.fetchval(CLEAN, age, most))


def _numbers(rows: Sequence[Record]) -> list[int]:
    return [row["id"] for row in rows]
