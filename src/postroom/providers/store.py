"""All SQL over what accounts have spent. Days end at midnight UTC, by the database's clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from asyncpg import Connection

from postroom.ids import AccountId, TenantId
from postroom.providers.spent import MOST_ALERTS, Cost

SPEND = """
    INSERT INTO providers_budget AS b
           (tenant_id, account_id, day, bytes, connections, logins, slowed_at, alerts)
    SELECT $1, $2, (now() AT TIME ZONE 'UTC')::date, $3, $4, $5, CASE WHEN $6 THEN now() END,
           coalesce(jsonb_agg(jsonb_build_object('at', now(), 'text', t.text)), '[]')
      FROM unnest($7::text[]) AS t (text)
    ON CONFLICT (tenant_id, account_id) DO UPDATE
       SET day = excluded.day,
           bytes = excluded.bytes + CASE WHEN b.day = excluded.day THEN b.bytes ELSE 0 END,
           connections = excluded.connections + CASE WHEN b.day = excluded.day THEN b.connections ELSE 0 END,
           logins = excluded.logins + CASE WHEN b.day = excluded.day THEN b.logins ELSE 0 END,
           slowed_at = coalesce(excluded.slowed_at, b.slowed_at),
           alerts = CASE WHEN cardinality($7::text[]) = 0 THEN b.alerts ELSE (
               SELECT jsonb_agg(a.alert ORDER BY a.nr) FROM (
                   SELECT e.alert, e.nr
                     FROM jsonb_array_elements(excluded.alerts || b.alerts) WITH ORDINALITY AS e (alert, nr)
                    WHERE e.nr <= jsonb_array_length(excluded.alerts) OR e.alert->>'text' <> ALL($7::text[])
                    ORDER BY e.nr LIMIT $8) AS a) END
"""


async def spend(conn: Connection, tenant: TenantId, account: AccountId, cost: Cost) -> None:
    """Add to what was spent today. Of the alerts the latest are kept, each text once."""
    texts = list(dict.fromkeys(reversed(cost.alerts)))
    values = (cost.bytes, cost.connections, cost.logins, cost.is_slowed, texts, MOST_ALERTS)
    await conn.execute(SPEND, tenant, account, *values)


@dataclass(frozen=True, slots=True)
class Today:
    """What an account has spent today, as far as it is written down."""

    bytes: int
    connections: int
    logins: int
    slowed_at: datetime | None  # when the server last made its answers slow on purpose
    alerts: tuple[Mapping[str, Any], ...]  # {"at": ..., "text": ...}, the latest first
    ends_at: datetime  # the day
    ends_in: timedelta


TODAY = """
    SELECT coalesce(b.bytes, 0) AS bytes, coalesce(b.connections, 0) AS connections,
           coalesce(b.logins, 0) AS logins, e.slowed_at, coalesce(e.alerts, '[]') AS alerts,
           d.ends_at, d.ends_at - now() AS ends_in
      FROM (SELECT t.day, (t.day + 1)::timestamp AT TIME ZONE 'UTC' AS ends_at
              FROM (SELECT (now() AT TIME ZONE 'UTC')::date) AS t (day)) AS d
      LEFT JOIN providers_budget e ON e.tenant_id = $1 AND e.account_id = $2
      LEFT JOIN providers_budget b ON b.tenant_id = $1 AND b.account_id = $2 AND b.day = d.day
"""


async def today(conn: Connection, tenant: TenantId, account: AccountId) -> Today:
    row = await conn.fetchrow(TODAY, tenant, account)
    assert row is not None  # there is always a day
    return Today(**{**row, "alerts": tuple(row["alerts"])})
