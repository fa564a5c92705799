"""Who fails is told of, and is never disabled; what was tried can be looked at for a while."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from servers.tenants import ONE
from webhooks.receiving import (
    BROKEN,
    OK,
    QUICK,
    added,
    alerts,
    append,
    delivered,
    has,
    receiving,
    running,
    subscribe,
)

from postroom.alerts import read
from postroom.alerts import store as alarms
from postroom.alerts.model import Alert
from postroom.db.pool import Database
from postroom.events.model import Event
from postroom.vault.seal import Vault
from postroom.webhooks import change, store

pytestmark = pytest.mark.usefixtures("tenants")


async def alarm(db: Database, *, is_open: bool) -> Alert:
    """The only one, as soon as what it follows from can be read."""
    while True:
        await read.look(db, [])
        async with db.transaction(ONE) as conn:
            found = await alarms.page(conn, ONE, limit=10)
        if [alert.closed_at is None for alert in found] == [is_open]:
            return found[0]
        await asyncio.sleep(0.01)


async def test_who_fails_is_told_of_once_and_never_disabled_and_when_it_is_over(
    db: Database, vault: Vault
) -> None:
    async with receiving(BROKEN) as receiver, running(db, vault), asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url, types=["mail.*"])
        await append(db, 1, added())
        [failing] = await alerts(db, 1)
        assert failing == ("webhooks.failing", str(webhook.public_id), "webhooks.bad_status")
        await receiver.until(lambda it: len(it.got) >= 12)
        async with db.transaction(ONE) as conn:
            now = await store.get(conn, ONE, webhook.public_id)
        assert (now.state, now.failure, now.failing_since is None) == ("active", "webhooks.bad_status", False)
        assert await alerts(db, 1) == [failing]
        receiver.reply = OK
        assert await alerts(db, 2) == [failing, ("webhooks.recovered", str(webhook.public_id), None)]
        async with db.transaction(ONE) as conn:
            now = await store.get(conn, ONE, webhook.public_id)
        assert (now.failure, now.failing_since, now.told_at) == (None, None, None)


async def test_who_says_that_nobody_wants_it_is_told_of_at_once_and_posted_to_again(
    db: Database, vault: Vault
) -> None:
    gone = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
    patient = replace(QUICK, tell_after=timedelta(days=1))
    async with receiving(gone) as receiver, running(db, vault, patient), asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url, types=["mail.*"])
        await append(db, 1, added())
        assert await alerts(db, 1) == [("webhooks.failing", str(webhook.public_id), "webhooks.gone")]
        receiver.reply = OK
        await receiver.until(lambda it: len(it.taken) == 1)


async def test_what_failed_and_is_wanted_no_more_fails_no_more(db: Database, vault: Vault) -> None:
    async with receiving(BROKEN) as receiver, running(db, vault), asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url, types=["mail.added"])
        await append(db, 1, added())
        await alerts(db, 1)
        receiver.reply = OK
        async with db.transaction(ONE) as conn:
            await change.change(conn, ONE, webhook.public_id, {"types": ["mail.removed"]})
        taken = len(receiver.taken)
        await append(db, 1, Event("mail.removed", {"message": "0" * 36}))
        assert [kind for kind, *_ in await alerts(db, 2)] == ["webhooks.failing", "webhooks.recovered"]
        async with db.transaction(ONE) as conn:
            now = await store.get(conn, ONE, webhook.public_id)
        assert (now.failing_since, now.failure, len(receiver.taken) > taken) == (None, None, True)


async def test_who_fails_and_is_disabled_is_no_trouble_any_more_and_new_trouble_once_it_is_active(
    db: Database, vault: Vault
) -> None:
    async with receiving(BROKEN) as receiver, running(db, vault), asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url, types=["mail.*"])
        await append(db, 1, added())
        await alerts(db, 1)
        for state in ("disabled", "disabled", "active"):
            async with db.transaction(ONE) as conn:
                changed = await change.change(conn, ONE, webhook.public_id, {"state": state})
            if state == "disabled":
                assert (changed.failing_since, changed.failure) == (None, None)
        told = await alerts(db, 3)
    assert [kind for kind, *_ in told] == ["webhooks.failing", "webhooks.disabled", "webhooks.failing"]


@pytest.mark.parametrize("how", ["disabled", "deleted", "delivers"])
async def test_the_alert_of_one_that_fails_is_closed_when_it_does_so_no_more_or_is_gone(
    db: Database, vault: Vault, how: str
) -> None:
    async with receiving(BROKEN) as receiver, running(db, vault), asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url, types=["mail.*"])
        await append(db, 1, added())
        await alerts(db, 1)
        opened = await alarm(db, is_open=True)
        assert (opened.subject, opened.code) == (webhook.public_id, "webhooks.bad_status")
        async with db.transaction(ONE) as conn:
            if how == "disabled":
                await change.change(conn, ONE, webhook.public_id, {"state": "disabled"})
            elif how == "deleted":
                await change.delete(conn, ONE, webhook.public_id)
        receiver.reply = OK
        await alerts(db, 2)
        closed = await alarm(db, is_open=False)
    assert closed.public_id == opened.public_id


async def test_who_was_told_of_is_not_told_of_again_by_another_process(db: Database, vault: Vault) -> None:
    async with receiving(BROKEN) as receiver, asyncio.timeout(20):
        await subscribe(db, vault, receiver.url, types=["mail.*"])
        await append(db, 1, added())
        for round in range(3):
            async with running(db, vault):
                await receiver.until(partial(has, 4 * round + 4))
                await alerts(db, 1)
        assert len(await alerts(db, 1)) == 1


async def test_what_was_tried_is_forgotten_but_for_the_last(db: Database, vault: Vault) -> None:
    async with receiving() as receiver, running(db, vault), asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url)
        for number in range(6):
            await append(db, 1, added())
            await delivered(db, webhook, number + 1)
        receiver.reply = BROKEN
        await append(db, 1, added())
        await delivered(db, webhook, 7)
    async with db.single() as conn:
        assert await store.clean(conn, timedelta(days=7), 2) == 4
    left = await delivered(db, webhook, 3)
    assert [each.seq for each in left if each.outcome.code is None] == [6, 5]
    async with db.single() as conn:
        await store.clean(conn, timedelta(0), 2)
    async with db.transaction(ONE) as conn:
        assert await store.deliveries(conn, webhook, None, 10) == []
