import asyncio
from datetime import timedelta

import pytest
from servers.dovecot import Dovecot
from servers.mailbox import other_client
from servers.tenants import ONE, TWO
from sync.mailboxes import connected, copied, means

from postroom.accounts import store as accounts
from postroom.db.pool import Database
from postroom.sync.due import sync_due
from postroom.sync.perform import Outcome

pytestmark = pytest.mark.usefixtures("tenants")


async def rounds(db: Database, wanted: int) -> list[Outcome]:
    """Poll until so many syncs have ended."""
    heard: list[Outcome] = []
    enough = asyncio.Event()

    def told(outcome: Outcome) -> None:
        heard.append(outcome)
        if len(heard) == wanted:
            enough.set()

    async with asyncio.timeout(60):
        polling = asyncio.create_task(sync_due(means(db), every=timedelta(minutes=15), parallel=4, told=told))
        await enough.wait()
        polling.cancel()
        await asyncio.wait([polling])
    return heard


@pytest.fixture(autouse=True)
async def others(db: Database) -> None:
    """The tenants' first accounts lead to no server."""
    for tenant in (ONE, TWO):
        async with db.transaction(tenant) as conn:
            await conn.execute("UPDATE accounts_account SET state = 'paused'")


async def test_what_is_due_is_synced_and_one_broken_account_is_its_own_trouble(
    db: Database, dovecot: Dovecot
) -> None:
    users = [dovecot.user("due") for _ in range(3)]
    for user in users:
        with other_client(dovecot, user) as client:
            client.append("INBOX", b"Subject: hello\r\n\r\nhi " + user.encode())
    good = [await connected(db, dovecot, user) for user in users]
    broken = await connected(db, dovecot, dovecot.user("broken"))
    async with db.transaction(ONE) as conn:
        await conn.execute(
            "UPDATE accounts_account SET settings = settings || '{\"port\": 1}' WHERE id = $1", broken.id
        )

    outcomes = {outcome.account.id: outcome for outcome in await rounds(db, 4)}

    assert [outcomes[account.id].status for account in good] == ["success"] * 3
    error = outcomes[broken.id].error
    assert error is not None
    assert error.code == "providers.port_closed"
    for account in good:
        assert len(await copied(db, account)) == 1
    async with db.transaction(ONE) as conn:
        row = await accounts.get_by_id(conn, ONE, broken.id)
    assert (row.state, row.failures, row.sync_started_at) == ("error", 1, None)
    assert row.next_sync_at > row.created_at


async def test_an_account_with_its_own_interval_comes_again(db: Database, dovecot: Dovecot) -> None:
    account = await connected(db, dovecot, dovecot.user("often"))
    async with db.transaction(ONE) as conn:
        await accounts.set_interval(
            conn, ONE, account.id, timedelta(milliseconds=100), default=timedelta(minutes=15)
        )

    assert [outcome.status for outcome in await rounds(db, 2)] == ["success", "success"]
