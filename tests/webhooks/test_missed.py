"""What was removed from the log before a receiver took it is told once, whoever is killed meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from servers.tenants import ANNS, ONE
from structlog.testing import capture_logs
from structlog.typing import EventDict
from webhooks.receiving import (
    ANYWHERE,
    BROKEN,
    OK,
    QUICK,
    added,
    alerts,
    append,
    receiving,
    running,
    subscribe,
)

from postroom.accounts import store as accounts
from postroom.db import processes
from postroom.db.beside import beside
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.events import remove
from postroom.events.follow import following
from postroom.events.model import Stream
from postroom.vault.seal import Vault
from postroom.webhooks.courier import Means
from postroom.webhooks.model import Reached, Webhook
from postroom.webhooks.run import KIND, Deliverer
from postroom.webhooks.store import lanes

pytestmark = pytest.mark.usefixtures("tenants")

BY_HAND = replace(QUICK, write_every=timedelta(hours=1), look_every=timedelta(hours=1))
OUTGROW = "UPDATE postroom.webhooks_webhook SET fence = fence + 1"


@asynccontextmanager
async def dying(db: Database, vault: Vault) -> AsyncIterator[None]:
    """A process that delivers, and is gone before it has written how far that has come."""
    async with (
        open_hints(db) as hints,
        following(db, hints, accounts.public_ids) as live,
        processes.registered(db, KIND) as me,
        beside(Deliverer(Means(db, live, vault, ANYWHERE, BY_HAND), hints, me).work()),
    ):
        yield


async def removed(db: Database, vault: Vault) -> None:
    assert await remove.mark(db, vault.signer, ONE, datetime.now(UTC))
    await append(db, ANNS, added(9))
    assert await remove.sweep(db, vault.signer, ONE)


async def logged(logs: list[EventDict], is_it: Callable[[EventDict], bool]) -> None:
    while not any(map(is_it, logs)):  # noqa: ASYNC110  # nobody tells of what is logged
        await asyncio.sleep(0.01)


async def stored(db: Database, webhook: Webhook) -> Reached:
    async with db.transaction(ONE) as conn:
        _, found = await lanes.load(conn, ONE, webhook.id)
    return next(reached for reached, _ in found if reached.stream == Stream(ANNS))


async def test_who_is_gone_after_it_was_told_has_also_passed_it(db: Database, vault: Vault) -> None:
    async with receiving(BROKEN) as receiver, asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url, types=["mail.*"])
        await append(db, ANNS, *(added(number) for number in range(5)))
        await removed(db, vault)
        missed = ("webhooks.missed", str(webhook.public_id), None)
        async with dying(db, vault):
            assert await alerts(db, 1) == [missed]
            await receiver.count(1)
        assert (await stored(db, webhook)).seq == 5
        receiver.reply = OK
        async with running(db, vault, replace(QUICK, tell_after=timedelta(hours=1))):
            await receiver.until(lambda it: len(it.taken) == 1)
        assert {one.place for one in receiver.got} == {(ANNS, 6)}
        assert await alerts(db, 1) == [missed]


async def test_whose_fence_is_old_neither_tells_it_nor_passes_it(
    db: Database, dsn: str, vault: Vault
) -> None:
    async with receiving(BROKEN) as receiver, asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url, types=["mail.*"])
        await append(db, ANNS, *(added(number) for number in range(5)))
        with capture_logs() as logs:
            async with dying(db, vault):
                await receiver.until(lambda it: len(it.got) == 1)
                conn = await asyncpg.connect(dsn)
                await conn.execute(OUTGROW)  # nobody hears of it, as if this process had slept
                await conn.close()
                await removed(db, vault)
                await logged(logs, lambda line: line.get("code") == "webhooks.outdated")
        assert await alerts(db, 0) == []
        assert (await stored(db, webhook)).seq == 0


async def test_what_is_written_late_of_a_lane_does_not_move_it_back(db: Database, vault: Vault) -> None:
    webhook, _ = await subscribe(db, vault, "http://127.0.0.1:1/")
    await append(db, ANNS, *(added(number) for number in range(5)))
    async with processes.registered(db, KIND) as me:
        async with db.unbound() as conn:
            assert await lanes.claim(conn, me.identity, [me.identity], 1) == 1
        state = lanes.State(webhook.id, webhook.fence + 1, None, None, None)
        for seq in (4, 3):
            reached = Reached(Stream(ANNS), seq, 1, None, None)
            async with db.unbound() as conn:
                assert await lanes.reach(conn, me.identity, [state], [(webhook.id, reached)]) == {webhook.id}
    assert (await stored(db, webhook)).seq == 4
