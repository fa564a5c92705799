"""All SQL of who delivers: whose a webhook is, how far its lanes have come. Most of it spans tenants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection

from postroom.events.model import Stream
from postroom.ids import TenantId
from postroom.webhooks.model import Outcome, Reached, Webhook, WebhookId

from . import COLUMNS, _found

CLAIM = "SELECT webhooks_claim($1, $2, $3)"


async def claim(conn: Connection, by: str, living: Sequence[str], most: int) -> int:
    """Take at most so many webhooks that none of the `living` processes delivers; how many."""
    return int(await conn.fetchval(CLAIM, by, living, most))


SHARES = "SELECT deliverer, webhooks FROM webhooks_shares($1)"


@dataclass(frozen=True, slots=True)
class Shares:
    """How the webhooks are shared among the processes that live."""

    webhooks: int
    of: Mapping[str, int]


async def shares(conn: Connection, living: Sequence[str]) -> Shares:
    rows = {row["deliverer"]: row["webhooks"] for row in await conn.fetch(SHARES, living)}
    return Shares(rows.pop(None), {process: rows.get(process, 0) for process in living})


MINE = "SELECT owner, webhook, held FROM webhooks_mine($1)"


async def mine(conn: Connection, by: str) -> dict[tuple[TenantId, WebhookId], int]:
    """What `by` delivers, each with its fence."""
    rows = await conn.fetch(MINE, by)
    return {(TenantId(row["owner"]), WebhookId(row["webhook"])): row["held"] for row in rows}


RELEASE = "SELECT webhooks_release($1, $2)"


async def release(conn: Connection, by: str, most: int | None = None) -> None:
    """Let go of so many, or of all."""
    await conn.execute(RELEASE, by, most)


GET = f"SELECT {COLUMNS} FROM webhooks_webhook WHERE tenant_id = $1 AND id = $2"  # noqa: S608
LANES = """
    SELECT h.stream, coalesce(l.seq, 0) AS seq, coalesce(l.failures, 0) AS failures, l.next_at,
           l.failing_since, h.seq AS head
      FROM events_head h
      LEFT JOIN webhooks_lane l ON l.tenant_id = h.tenant_id AND l.webhook_id = $2 AND l.stream = h.stream
     WHERE h.tenant_id = $1 AND ($3::bigint[] IS NULL OR h.stream = ANY($3))
"""


async def load(
    conn: Connection, tenant: TenantId, webhook: WebhookId
) -> tuple[Webhook, list[tuple[Reached, int]]]:
    """How it stands, and how far each stream was told that has begun; with its last number.

    Raises `NoSuchWebhook`.
    """
    found = _found(await conn.fetchrow(GET, tenant, webhook))
    some = None if found.accounts is None else list(found.accounts)
    rows = await conn.fetch(LANES, tenant, webhook, some)
    return found, [(Reached(Stream(row[0]), *row[1:5]), row["head"]) for row in rows]


@dataclass(frozen=True, slots=True)
class State:
    """How a webhook does, as its deliverer knows. `delivered_at`: None where there is no news of that."""

    webhook: WebhookId
    fence: int
    delivered_at: datetime | None
    failing_since: datetime | None
    failure: str | None


REACH = "SELECT webhooks_reach($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"


async def reach(
    conn: Connection, by: str, states: Sequence[State], lanes: Sequence[tuple[WebhookId, Reached]]
) -> set[WebhookId]:
    """Write how far they have come. Those that are `by`'s no more, or under another fence, are left alone.

    Which were written.
    """
    rows = await conn.fetch(
        REACH,
        by,
        [each.webhook for each in states],
        [each.fence for each in states],
        [each.delivered_at for each in states],
        [each.failing_since for each in states],
        [each.failure for each in states],
        [webhook for webhook, _ in lanes],
        [lane.stream for _, lane in lanes],
        [lane.seq for _, lane in lanes],
        [lane.failures for _, lane in lanes],
        [lane.next_at for _, lane in lanes],
        [lane.failing_since for _, lane in lanes],
    )
    return {WebhookId(row[0]) for row in rows}


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt to tell an event to a webhook."""

    webhook: WebhookId
    message: str
    stream: Stream
    seq: int
    kind: str
    attempt: int
    outcome: Outcome


NOTE = "SELECT webhooks_note($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"


async def note(conn: Connection, by: str, tried: Sequence[Tried]) -> None:
    """Add to the deliveries of webhooks that are `by`'s."""
    outcomes = [each.outcome for each in tried]
    await conn.execute(
        NOTE,
        by,
        [each.webhook for each in tried],
        [each.message for each in tried],
        [each.stream for each in tried],
        [each.seq for each in tried],
        [each.kind for each in tried],
        [each.attempt for each in tried],
        [outcome.at for outcome in outcomes],
        [outcome.seconds for outcome in outcomes],
        [outcome.status for outcome in outcomes],
        [outcome.code for outcome in outcomes],
        [outcome.said for outcome in outcomes],
    )


# The row is locked before its lane, as by whoever writes both.
MISS = """
    WITH held AS (
        SELECT w.tenant_id, w.id FROM webhooks_webhook w
         WHERE w.tenant_id = $1 AND w.id = $2 AND w.fence = $3 FOR NO KEY UPDATE
    )
    INSERT INTO webhooks_lane AS l (tenant_id, webhook_id, stream, seq)
    SELECT h.tenant_id, h.id, $4, $5 FROM held h
    ON CONFLICT (tenant_id, webhook_id, stream) DO UPDATE
       SET seq = excluded.seq, failures = 0, next_at = NULL, failing_since = NULL
     WHERE l.seq < excluded.seq
    RETURNING l.seq
"""


async def miss(conn: Connection, webhook: Webhook, stream: Stream, until: int) -> bool:
    """Pass what the log does not have any more.

    False, and nothing is written, under a fence that is old, or where that was passed already.
    """
    values = webhook.tenant, webhook.id, webhook.fence, stream, until
    return await conn.fetchval(MISS, *values) is not None


TELL_FAILING = """
    UPDATE webhooks_webhook SET told_at = now()
     WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND told_at IS NULL RETURNING id
"""
TELL_RECOVERED = """
    UPDATE webhooks_webhook SET told_at = NULL
     WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND told_at IS NOT NULL RETURNING id
"""


async def tell(conn: Connection, webhook: Webhook, *, is_failing: bool) -> bool:
    """Mark as told that it fails, or that it does no more; whether that is news."""
    statement = TELL_FAILING if is_failing else TELL_RECOVERED
    return await conn.fetchval(statement, webhook.tenant, webhook.id, webhook.fence) is not None
