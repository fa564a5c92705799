"""A sync against everything that servers were seen to do wrong, one fault at a time."""

from datetime import datetime

import pytest
from servers.tenants import ONE
from sync.lab import assert_equal, connected, messages, sync
from sync.lies import OF_GMAIL, Trial, survive

from postroom.accounts import store as accounts
from postroom.accounts.model import Account
from postroom.db.pool import Database
from postroom.lab.certificate import Certificate
from postroom.lab.faults import FAULTS
from postroom.lab.server import serve
from postroom.lab.switches import CHANGES, FETCHES, MAILS

pytestmark = pytest.mark.usefixtures("tenants")

LEISURELY = {fault.name for group in (CHANGES, FETCHES, MAILS) for fault in group}
QUICK = [name for name in FAULTS if name not in LEISURELY]
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in sorted(LEISURELY)]


def offers(fault: str) -> tuple[str, ...]:
    return ("objectid", "gmail") if fault in OF_GMAIL else ()


@pytest.mark.parametrize("fault", [*QUICK, *OTHERS])
async def test_a_first_sync_stores_nothing_wrong_and_the_next_ones_all_of_it(
    fault: str, db: Database, certificate: Certificate
) -> None:
    await survive(db, certificate, Trial((fault,), offers(fault)))


async def test_mail_that_is_hidden_is_not_gone_when_its_folder_is_numbered_anew(
    db: Database, certificate: Certificate
) -> None:
    await survive(db, certificate, Trial(("newest-only", "validity-changes"), from_the_first=False))


async def test_a_removal_that_is_not_proven_is_not_followed_and_proves_no_equality(db: Database) -> None:
    async with serve(messages=12, folder_count=2) as server:
        account = await connected(db, server)
        await sync(db, account)
        fresh = await freshness(db, account)
        server.faults.switch_on("validity-missing")
        server.mailbox.expunge("INBOX", 1)
        before = await messages(db, account)
        outcome = await sync(db, account, full=True)

        assert (outcome.status, await messages(db, account)) == ("success", before)
        assert await freshness(db, account) == fresh
        server.faults.switch_off("validity-missing")
        await sync(db, account, full=True)
        await assert_equal(db, account, server)
        assert await freshness(db, account) != fresh


async def freshness(db: Database, account: Account) -> datetime | None:
    async with db.transaction(ONE) as conn:
        return (await accounts.get_by_id(conn, ONE, account.id)).verified_fresh_at


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_copy_loses_nothing_to_a_server_that_begins_to_fail(
    fault: str, db: Database, certificate: Certificate
) -> None:
    await survive(db, certificate, Trial((fault,), offers(fault), from_the_first=False, keeps=True))
