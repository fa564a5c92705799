"""Ask for a sync of an account, as a job; `jobs` has what it does."""

from datetime import timedelta

from postroom.accounts.model import Account, AccountState
from postroom.db.pool import Connection
from postroom.jobs import store as jobs
from postroom.jobs.model import Enqueued, JobId, Wish
from postroom.jobs.store import running

from .model import ASKED, IsPaused, key

ACCOUNT = "sync.account"
LIMIT = timedelta(hours=12)  # a first sync from a slow server takes hours; what it has stored stays


async def request(conn: Connection, account: Account, *, full: bool = False) -> Enqueued:
    """A sync of the account, as soon as may be: once it has completed, all is here that was there before.

    One that waits already is pulled forward, and a poll that runs is joined: it will look once more.
    `full` compares everything. Raises `IsPaused`.
    """
    not_paused(account)
    wish = Wish(
        ACCOUNT,
        {"full": True} if full else {},
        account=account.id,
        key=key(account.id),
        dedupe=f"{key(account.id)}:full" if full else key(account.id),
        priority=ASKED,
        limit=LIMIT,
    )
    if joined := await running.join(conn, account.tenant_id, wish):
        return joined
    (made,) = await jobs.enqueue(conn, account.tenant_id, [wish])
    return made


async def poll(conn: Connection, account: Account) -> JobId:
    """The same as the schedule asks for, as soon as may be; nothing is left of one that finds nothing."""
    wish = Wish(
        ACCOUNT, account=account.id, key=key(account.id), dedupe=key(account.id), limit=LIMIT, is_kept=False
    )
    (made,) = await jobs.enqueue(conn, account.tenant_id, [wish])
    return made.id


def not_paused(account: Account) -> None:
    """Raises `IsPaused`."""
    if account.state is AccountState.PAUSED:
        raise IsPaused("The account is paused; resume it first.")
