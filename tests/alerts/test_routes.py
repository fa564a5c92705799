"""/v1/alerts, and the numbers of alerts."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from servers.api import Client
from servers.tenants import ANNS, ONE, TWO

from postroom.alerts import store
from postroom.alerts.model import Begins, Channel, Ends
from postroom.alerts.rules import AWAY
from postroom.db.pool import Database
from postroom.events.model import TENANT, stream_of
from postroom.ids import TenantId, new_public_id

NOW = datetime(2026, 11, 21, 9, 20, tzinfo=UTC)
PUBLIC = "SELECT public_id FROM accounts_account"


async def begun(db: Database, tenant: TenantId, kind: str, subject: UUID, stream: int = TENANT) -> None:
    async with db.transaction(tenant) as conn:
        change = Begins(kind, subject, None, NOW, stream_of(ANNS) if stream else TENANT)
        [number] = await store.begin(conn, tenant, change)
        await store.say(conn, tenant, [number], [Channel.URL], is_over=False)


async def test_alerts_are_listed_the_latest_first(api: Client, db: Database) -> None:
    async with db.transaction(ONE) as conn:
        account = await conn.fetchval(PUBLIC)
    job, other = new_public_id(), new_public_id()
    await begun(db, ONE, "accounts.stale", account, ANNS)
    await begun(db, ONE, "jobs.failed", job)
    await begun(db, TWO, "jobs.failed", other)
    async with db.transaction(ONE) as conn:
        await store.end(conn, ONE, Ends(None, job, NOW))

    everything = (await api.get("/v1/alerts")).json()
    open_ones = (await api.get("/v1/alerts?open=true")).json()["items"]
    of_account = (await api.get(f"/v1/alerts?account={account}")).json()["items"]
    first = (await api.get("/v1/alerts?page_size=1")).json()
    second = (await api.get("/v1/alerts", params={"page_size": 1, "cursor": first["next"]})).json()

    assert [item["subject"] for item in everything["items"]] == [str(job), str(account)]
    assert [item["account"] for item in everything["items"]] == [None, str(account)]
    assert [item["kind"] for item in open_ones] == [item["kind"] for item in of_account] == ["accounts.stale"]
    assert first["items"] + second["items"] == everything["items"]
    assert (first["has_next"], second["has_next"]) == (True, False)


@pytest.mark.usefixtures("tenants")
async def test_metrics_count_what_is_open_and_what_waits_of_all(stranger: Client, db: Database) -> None:
    async with db.unbound() as conn:
        await store.want(conn, [Channel.URL], AWAY)
    await begun(db, ONE, "jobs.failed", new_public_id())
    await begun(db, TWO, "jobs.failed", new_public_id())
    text = (await stranger.get("/metrics")).text

    assert 'postroom_alerts_open{kind="jobs.failed"} 2.0' in text
    assert "postroom_alerts_waiting 2.0" in text
