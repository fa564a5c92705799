"""A mailbox that is read by a grant: a real mail server asks a real token server about every login."""

from datetime import timedelta

from servers.bearing import OAUTH, PROVIDERS, VAULT, Mail
from servers.tenants import ONE
from sync.mailboxes import copied, told

from postroom.accounts import store as accounts
from postroom.accounts.model import Account
from postroom.db.pool import Database
from postroom.sync.perform import Means, Outcome, perform
from postroom.sync.run import Manner

HOUR = timedelta(hours=1)


def means(db: Database) -> Means:
    manner = Manner(grace=timedelta(), pause=timedelta())
    return Means(db, VAULT, PROVIDERS, manner=manner, oauth=OAUTH)


async def synced(db: Database, account: Account) -> Outcome:
    return await perform(means(db), await now(db, account), every=HOUR)


async def now(db: Database, account: Account) -> Account:
    async with db.transaction(ONE) as conn:
        return await accounts.get_by_id(conn, ONE, account.id)


async def test_a_mailbox_is_connected_and_copied_by_a_grant(db: Database, mail: Mail) -> None:
    made = await mail.connected(db)
    outcome = await synced(db, made.account)

    assert made.estimate.messages == 3
    assert outcome.status == "success"
    assert len(await copied(db, made.account)) == 3
    assert mail.tokens.refreshes == 1  # to connect it: the token lasts
    assert (await told(db, made.account))[0].kind == "accounts.connected"
