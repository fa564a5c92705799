"""All SQL about webhooks as their owners see them; `lanes` has that of who delivers."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from asyncpg import Connection, Record

from postroom.events.model import Place, Stream
from postroom.ids import AccountId, TenantId
from postroom.webhooks.model import (
    MOST,
    Behind,
    Delivery,
    NoSuchWebhook,
    Outcome,
    State,
    TooMany,
    Webhook,
    WebhookId,
)

COLUMNS = """
    tenant_id, id, public_id, url, description, types, accounts, state, secret, previous, previous_until,
    created_at, fence, delivered_at, failing_since, failure, told_at
"""
LOCK_COUNT = "SELECT pg_advisory_xact_lock(hashtextextended('postroom.webhooks', $1))"
COUNT = "SELECT count(*) FROM webhooks_webhook WHERE tenant_id = $1"
ADD = f"""
    INSERT INTO webhooks_webhook (tenant_id, public_id, url, description, types, accounts, secret)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    RETURNING {COLUMNS}
"""  # noqa: S608
# Of streams that are there already it is told what comes from now on.
BEGIN = """
    INSERT INTO webhooks_lane AS l (tenant_id, webhook_id, stream, seq)
    SELECT h.tenant_id, $2, h.stream, h.seq FROM events_head h
     WHERE h.tenant_id = $1 AND ($3::bigint[] IS NULL OR h.stream = ANY($3)) AND h.stream <> ALL($4::bigint[])
    ON CONFLICT (tenant_id, webhook_id, stream) DO UPDATE
       SET seq = excluded.seq, failures = 0, next_at = NULL, failing_since = NULL
"""


async def add(
    conn: Connection,
    tenant: TenantId,
    *,
    public_id: UUID,
    url: str,
    description: str,
    types: Sequence[str] | None,
    accounts: Collection[AccountId] | None,
    secret: str,
) -> Webhook:
    """It is told what comes from now on. Raises `TooMany`."""
    await conn.execute(LOCK_COUNT, tenant)
    if await conn.fetchval(COUNT, tenant) >= MOST:
        raise TooMany(f"There are {MOST} webhooks already, and there can be no more; delete one.")
    some = None if accounts is None else list(accounts)
    row = await conn.fetchrow(ADD, tenant, public_id, url, description, types, some, secret)
    made = _found(row)
    await conn.execute(BEGIN, tenant, made.id, some, [])
    return made


async def begin(
    conn: Connection,
    webhook: Webhook,
    accounts: Collection[AccountId] | None,
    known: Collection[AccountId],
) -> None:
    """Let it be told of these accounts, too, what comes from now on, but go on with the known ones."""
    some = None if accounts is None else list(accounts)
    await conn.execute(BEGIN, webhook.tenant, webhook.id, some, list(known))


GET = f"SELECT {COLUMNS} FROM webhooks_webhook WHERE tenant_id = $1 AND public_id = $2"  # noqa: S608


async def get(conn: Connection, tenant: TenantId, public_id: UUID) -> Webhook:
    """Raises `NoSuchWebhook`."""
    return _found(await conn.fetchrow(GET, tenant, public_id))


LOCK = f"{GET} FOR NO KEY UPDATE"


async def lock(conn: Connection, tenant: TenantId, public_id: UUID) -> Webhook:
    """The same, and nobody else changes it until this transaction ends."""
    return _found(await conn.fetchrow(LOCK, tenant, public_id))


LIST = f"SELECT {COLUMNS} FROM webhooks_webhook WHERE tenant_id = $1 ORDER BY id"  # noqa: S608


async def listed(conn: Connection, tenant: TenantId) -> list[Webhook]:
    """All of them, the oldest first."""
    return [_webhook(row) for row in await conn.fetch(LIST, tenant)]


CHANGE = f"""
    UPDATE webhooks_webhook
       SET url = $3, description = $4, types = $5, accounts = $6, state = $7, secret = $8, previous = $9,
           previous_until = $10, fence = fence + 1,
           told_at = CASE WHEN $7 = 'active' THEN told_at END,
           failing_since = CASE WHEN $7 = 'active' THEN failing_since END,
           failure = CASE WHEN $7 = 'active' THEN failure END
     WHERE tenant_id = $1 AND id = $2
    RETURNING {COLUMNS}
"""  # noqa: S608
TRY_NOW = """
    UPDATE webhooks_lane SET next_at = NULL WHERE tenant_id = $1 AND webhook_id = $2 AND next_at IS NOT NULL
"""


async def change(conn: Connection, webhook: Webhook) -> Webhook:
    """Write what its owner may change. Whoever delivers it begins anew, and what waits is tried at once.

    One that is disabled does not fail, and nothing is told of it; if it fails when it is active again, that
    is news.
    """
    it = webhook
    some = None if it.accounts is None else list(it.accounts)
    values: Sequence[Any] = (
        *(it.url, it.description, it.types, some, it.state, it.secret, it.previous, it.previous_until),
    )
    row = await conn.fetchrow(CHANGE, it.tenant, it.id, *values)
    await conn.execute(TRY_NOW, it.tenant, it.id)
    return _found(row)


DELETE = "DELETE FROM webhooks_webhook WHERE tenant_id = $1 AND public_id = $2 RETURNING id"


async def delete(conn: Connection, tenant: TenantId, public_id: UUID) -> None:
    """And all that is known of its deliveries. Raises `NoSuchWebhook`."""
    if await conn.fetchval(DELETE, tenant, public_id) is None:
        raise _unknown()


REWIND = """
    INSERT INTO webhooks_lane AS l (tenant_id, webhook_id, stream, seq)
    SELECT h.tenant_id, $2, h.stream, coalesce(
               (SELECT e.seq FROM events_event e
                 WHERE e.tenant_id = h.tenant_id AND e.stream = h.stream
                   AND (e.position, e.stream, e.seq) <= ($4, $5, $6)
                 ORDER BY e.seq DESC LIMIT 1),
               (SELECT r.seq FROM events_removed r WHERE r.tenant_id = h.tenant_id AND r.stream = h.stream),
               0)
      FROM events_head h
     WHERE h.tenant_id = $1 AND ($3::bigint[] IS NULL OR h.stream = ANY($3))
    ON CONFLICT (tenant_id, webhook_id, stream) DO UPDATE
       SET seq = excluded.seq, failures = 0, next_at = NULL, failing_since = NULL
"""


async def rewind(conn: Connection, webhook: Webhook, place: Place) -> None:
    """Let it be told all that stands behind a place of the feed, once more or for the first time."""
    some = None if webhook.accounts is None else list(webhook.accounts)
    await conn.execute(REWIND, webhook.tenant, webhook.id, some, *place)


REWIND_TO = """
    INSERT INTO webhooks_lane AS l (tenant_id, webhook_id, stream, seq)
    SELECT h.tenant_id, $2, h.stream, coalesce(
               (SELECT e.seq - 1 FROM events_event e
                 WHERE e.tenant_id = h.tenant_id AND e.stream = h.stream AND e.at >= $4
                 ORDER BY e.seq LIMIT 1), h.seq)
      FROM events_head h
     WHERE h.tenant_id = $1 AND ($3::bigint[] IS NULL OR h.stream = ANY($3))
    ON CONFLICT (tenant_id, webhook_id, stream) DO UPDATE
       SET seq = excluded.seq, failures = 0, next_at = NULL, failing_since = NULL
"""


async def rewind_to(conn: Connection, webhook: Webhook, since: datetime) -> None:
    """The same of what was logged since a time."""
    some = None if webhook.accounts is None else list(webhook.accounts)
    await conn.execute(REWIND_TO, webhook.tenant, webhook.id, some, since)


BEHIND = """
    SELECT coalesce(sum(b.head - b.seq), 0)::bigint AS events, min(e.at) AS since
      FROM (SELECT h.tenant_id, h.stream, h.seq AS head, coalesce(l.seq, 0) AS seq
              FROM events_head h
              LEFT JOIN webhooks_lane l
                ON l.tenant_id = h.tenant_id AND l.webhook_id = $2 AND l.stream = h.stream
             WHERE h.tenant_id = $1 AND ($3::bigint[] IS NULL OR h.stream = ANY($3))) b
      LEFT JOIN LATERAL (
            SELECT at FROM events_event o
             WHERE o.tenant_id = b.tenant_id AND o.stream = b.stream AND o.seq > b.seq
             ORDER BY o.seq LIMIT 1) e ON true
     WHERE b.head > b.seq
"""


async def behind(conn: Connection, webhook: Webhook) -> Behind:
    some = None if webhook.accounts is None else list(webhook.accounts)
    row = await conn.fetchrow(BEHIND, webhook.tenant, webhook.id, some)
    assert row is not None  # sums have a row
    return Behind(row["events"], row["since"])


DELIVERIES = """
    SELECT d.id, d.message, a.public_id AS account, d.stream, d.seq, d.kind, d.attempt, d.at, d.seconds,
           d.status, d.code, d.said
      FROM webhooks_delivery d
      LEFT JOIN accounts_account a ON a.tenant_id = d.tenant_id AND a.id = d.stream
     WHERE d.tenant_id = $1 AND d.webhook_id = $2 AND d.id < $3
     ORDER BY d.id DESC LIMIT $4
"""
NEWEST = (1 << 63) - 1


async def deliveries(conn: Connection, webhook: Webhook, before: int | None, limit: int) -> list[Delivery]:
    """What was tried, the latest first."""
    rows = await conn.fetch(DELIVERIES, webhook.tenant, webhook.id, before or NEWEST, limit)
    return [_delivery(row) for row in rows]


CLEAN = "SELECT webhooks_clean($1, $2)"


async def clean(conn: Connection, age: timedelta, kept: int) -> int:
    """Forget what was tried that long ago, and of what was delivered all but the latest. Unbound."""
    return int(await conn.fetchval(CLEAN, age, kept))


def _found(row: Record | None) -> Webhook:
    if row is None:
        raise _unknown()
    return _webhook(row)


def _unknown() -> NoSuchWebhook:
    return NoSuchWebhook("There is no such webhook.")


def _webhook(row: Record) -> Webhook:
    accounts = row["accounts"]
    return Webhook(
        tenant=TenantId(row["tenant_id"]),
        id=WebhookId(row["id"]),
        accounts=None if accounts is None else frozenset(map(AccountId, accounts)),
        state=State(row["state"]),
        **{name: row[name] for name in SAME},
    )


SAME = (
    *("public_id", "url", "description", "types", "secret", "previous", "previous_until", "created_at"),
    *("fence", "delivered_at", "failing_since", "failure", "told_at"),
)


def _delivery(row: Record) -> Delivery:
    outcome = Outcome(row["at"], row["seconds"], row["status"], row["code"], row["said"])
    return Delivery(
        row["id"],
        row["message"],
        row["account"],
        Stream(row["stream"]),
        row["seq"],
        row["kind"],
        row["attempt"],
        outcome,
    )
