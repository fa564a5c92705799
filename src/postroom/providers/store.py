"""All SQL over what accounts have spent. Days are those of `budget`: they end at midnight UTC."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
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

    bytes: int = 0
    connections: int = 0
    logins: int = 0
    slowed_at: datetime | None = None  # when the server last made its answers slow on purpose
    alerts: tuple[Mapping[str, Any], ...] = ()  # {"at": ..., "text": ...}, the latest first


TODAY = """
    SELECT CASE WHEN t.is_today THEN b.bytes ELSE 0 END AS bytes,
           CASE WHEN t.is_today THEN b.connections ELSE 0 END AS connections,
           CASE WHEN t.is_today THEN b.logins ELSE 0 END AS logins, b.slowed_at, b.alerts
      FROM providers_budget b
     CROSS JOIN LATERAL (SELECT b.day = (now() AT TIME ZONE 'UTC')::date) AS t (is_today)
     WHERE b.tenant_id = $1 AND b.account_id = $2
"""


async def today(conn: Connection, tenant: TenantId, account: AccountId) -> Today:
    row = await conn.fetchrow(TODAY, tenant, account)
    return Today(**{**row, "alerts": tuple(row["alerts"])}) if row else Today()
