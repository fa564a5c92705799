"""What stops the delivery of a webhook, a fault of ours or a lost key, is that webhook's trouble alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from functools import partial

import asyncpg
import pytest
from prometheus_client import REGISTRY
from servers.tenants import ONE
from standardwebhooks import Webhook as Verifier
from structlog.testing import capture_logs
from webhooks.receiving import (
    ANYWHERE,
    BROKEN,
    QUICK,
    added,
    alerts,
    append,
    delivered,
    receiving,
    running,
    subscribe,
)

from postroom.accounts import store as accounts
from postroom.db import processes
from postroom.db.beside import beside
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.events.follow import Following, following
from postroom.vault.seal import Key, Vault
from postroom.webhooks import change, store
from postroom.webhooks.courier import Means
from postroom.webhooks.health import Health
from postroom.webhooks.model import Webhook
from postroom.webhooks.post import SECRET, slot
from postroom.webhooks.run import KIND, Deliverer

pytestmark = pytest.mark.usefixtures("tenants")

OTHER_KEY = Vault([Key.derived(b"another secret of this installation")])
# A courier that takes longer to find a fault is taken for one that is well.
SOMEWHAT = replace(QUICK, tell_after=timedelta(seconds=1))
SPOIL = "UPDATE postroom.webhooks_webhook SET secret = $2 WHERE public_id = $1"
TAKE_OVER = "UPDATE postroom.webhooks_webhook SET fence = fence + 1, process = 'another'"
LOSE_PREVIOUS = """
    UPDATE postroom.webhooks_webhook SET previous = 'v1.lost.lost', previous_until = now() - interval '1 hour'
"""


async def spoil(dsn: str, vault: Vault, webhook: Webhook) -> None:
    """As nobody foresaw it: what is sealed there is no base64, so that nothing can be signed with it."""
    conn = await asyncpg.connect(dsn)
    sealed = vault.seal(b"whsec_a", slot(ONE, webhook.public_id, SECRET))
    await conn.execute(SPOIL, webhook.public_id, sealed)
    await conn.close()


async def now(db: Database, webhook: Webhook) -> Webhook:
    async with db.transaction(ONE) as conn:
        return await store.get(conn, ONE, webhook.public_id)


async def test_a_fault_is_of_one_webhook_alone_and_its_owner_is_told(
    db: Database, dsn: str, vault: Vault
) -> None:
    counted = partial(REGISTRY.get_sample_value, "postroom_webhooks_failing")
    before = counted() or 0
    async with receiving() as receiver, receiving() as other, asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url, types=["mail.*"])
        await subscribe(db, vault, other.url, types=["mail.*"])
        await spoil(dsn, vault, webhook)
        with capture_logs() as logs:
            async with running(db, vault, SOMEWHAT):
                for number in range(30):
                    await append(db, 1, added(number))
                    await other.count(number + 1)
                failing = ("webhooks.failing", str(webhook.public_id), "webhooks.fault")
                assert await alerts(db, 1) == [failing]
                assert (await now(db, webhook)).failure == "webhooks.fault"
                assert (receiver.got, counted()) == ([], before + 1)
                async with db.transaction(ONE) as conn:
                    await change.rotate(conn, vault, ONE, webhook.public_id, timedelta())
                await receiver.count(30)
                assert await alerts(db, 2) == [failing, ("webhooks.recovered", str(webhook.public_id), None)]
                assert (await now(db, webhook)).failing_since is None
    assert counted() == before
    told = [line for line in logs if line["event"] == "webhooks.fault"]
    assert {line["webhook"] for line in told} == {webhook.id}
    assert "binascii.Error" in told[0]["traceback"]


async def test_who_has_stopped_is_not_begun_anew_with_whatever_happens_to_others(
    db: Database, vault: Vault
) -> None:
    patient = replace(QUICK, first=timedelta(days=1), longest=timedelta(days=1), anew=timedelta(days=1))
    async with receiving() as receiver, asyncio.timeout(20):
        webhook, _ = await subscribe(db, OTHER_KEY, receiver.url)
        with capture_logs() as logs:
            async with running(db, vault, patient):
                for number in range(10):
                    await subscribe(db, vault, receiver.url, types=["mail.*"])
                    await append(db, 1, added(number))
                    await receiver.count((number + 1) * (number + 2) // 2)
    stopped = [line for line in logs if line["event"] == "webhooks.interrupted"]
    assert [(line["webhook"], line["code"]) for line in stopped] == [(webhook.id, "vault.wrong_key")]


async def test_a_secret_that_nobody_can_open_is_told_of_until_its_key_is_back(
    db: Database, vault: Vault
) -> None:
    """Though nothing happens that could be delivered."""
    async with receiving() as receiver, asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url, types=["mail.*"])
        failing = ("webhooks.failing", str(webhook.public_id), "vault.wrong_key")
        since = []
        for _ in range(2):
            async with running(db, OTHER_KEY):
                assert await alerts(db, 1) == [failing]
            found = await now(db, webhook)
            since.append(found.failing_since)
            assert found.failure == "vault.wrong_key"
        assert since[0] == since[1] is not None
        async with running(db, vault):
            assert await alerts(db, 2) == [failing, ("webhooks.recovered", str(webhook.public_id), None)]
            await append(db, 1, added())
            await receiver.count(1)
    assert (await now(db, webhook)).failure is None


async def test_a_secret_that_nobody_can_open_can_be_changed_for_a_new_one(db: Database, vault: Vault) -> None:
    async with receiving() as receiver, asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url, types=["mail.*"])
        await append(db, 1, added())
        async with running(db, OTHER_KEY):
            await alerts(db, 1)
            async with db.transaction(ONE) as conn:
                changed, secret = await change.rotate(
                    conn, OTHER_KEY, ONE, webhook.public_id, timedelta(hours=1)
                )
            await receiver.count(1)
            assert [kind for kind, *_ in await alerts(db, 2)] == ["webhooks.failing", "webhooks.recovered"]
    assert (changed.previous, changed.previous_until) == (None, None)
    [message] = receiver.firsts
    assert Verifier(secret).verify(message.body, message.headers)["type"] == "mail.added"


async def test_a_secret_that_signs_no_more_need_not_be_opened(db: Database, dsn: str, vault: Vault) -> None:
    async with receiving() as receiver, asyncio.timeout(20):
        await subscribe(db, vault, receiver.url, types=["mail.*"])
        conn = await asyncpg.connect(dsn)
        await conn.execute(LOSE_PREVIOUS)
        await conn.close()
        async with running(db, vault):
            await append(db, 1, added())
            await receiver.count(1)


@asynccontextmanager
async def by_hand(db: Database, vault: Vault) -> AsyncIterator[tuple[Deliverer, Following]]:
    """A process that looks once, and writes when it is told to."""
    seldom = replace(QUICK, write_every=timedelta(hours=1), look_every=timedelta(hours=1))
    async with (
        open_hints(db) as hints,
        following(db, hints, accounts.public_ids) as live,
        processes.registered(db, KIND) as me,
    ):
        deliverer = Deliverer(Means(db, live, vault, ANYWHERE, seldom), hints, me)
        async with beside(deliverer.work()):
            yield deliverer, live


def stop(live: Following) -> None:
    """As when the database goes back to a backup: whoever follows a log is ended, and so are couriers."""
    for watch in list(live._watches.values()):
        live._end(watch)


async def test_who_is_dropped_in_the_moment_that_it_stops_is_not_begun_anew(
    db: Database, vault: Vault
) -> None:
    async with receiving() as receiver, asyncio.timeout(20):
        await subscribe(db, vault, receiver.url, types=["mail.*"])
        await append(db, 1, added())
        async with by_hand(db, vault) as (deliverer, live):
            await receiver.count(1)
            [(key, (_, task))] = deliverer._ours.items()
            stop(live)
            deliverer._drop(key)
            await asyncio.wait([task])
            assert task.cancelled()


async def test_who_has_stopped_while_another_took_its_webhook_delivers_it_no_more(
    db: Database, dsn: str, vault: Vault
) -> None:
    async with receiving() as receiver, asyncio.timeout(20):
        await subscribe(db, vault, receiver.url, types=["mail.*"])
        await append(db, 1, added())
        with capture_logs() as logs:
            async with by_hand(db, vault) as (_, live):
                await receiver.count(1)
                conn = await asyncpg.connect(dsn)
                await conn.execute(TAKE_OVER)  # this process has not heard of it yet
                await conn.close()
                stop(live)
                while [line.get("code") for line in logs].count("webhooks.outdated") < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)  # nobody tells of what is logged
        assert len(receiver.got) == 1  # which this process has not written down


async def test_a_process_that_ends_counts_nothing_as_failing(db: Database, vault: Vault) -> None:
    counted = partial(REGISTRY.get_sample_value, "postroom_webhooks_failing")
    before = counted() or 0
    async with receiving(BROKEN) as receiver, asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url, types=["mail.*"])
        await append(db, 1, added())
        async with running(db, vault):
            await delivered(db, webhook)
            assert counted() == before + 1
    assert counted() == before


class Back(datetime):
    """A clock that was set back by an hour."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) - timedelta(hours=1)


def test_who_runs_again_is_well_though_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    health = Health(replace(QUICK, tell_after=timedelta()))
    health.stops("webhooks.fault")
    health.begins()
    monkeypatch.setattr("postroom.webhooks.health.datetime", Back)
    assert health.failing_since is None
