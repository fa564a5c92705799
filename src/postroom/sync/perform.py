"""Sync one account from its row to its row: credentials in, outcome out. Errors become states here.

success                  active
a failure                what `verdict` says
LeaseHeld, LeaseLost     untouched: another process is at it
WrongKey                 untouched: this process cannot open its secret, others may
the database is away     untouched, unless its disk is full: that lasts, and its owner sees it
TooSoon                  untouched, and due when the server has been left alone for long enough
paused meanwhile         a failure says nothing any more: untouched
other credentials        whatever came of the old ones says nothing any more: untouched
"""

import random
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from time import monotonic
from typing import Any, Literal

import structlog

from postroom.accounts import change, credentials, due
from postroom.accounts import store as accounts
from postroom.accounts.model import NOT_THROTTLED, Account, AccountState, NoSuchAccount, Throttle
from postroom.db import leases
from postroom.db.model import Busy, Lease, LeaseHeld, LeaseLost, Refused, Unreachable
from postroom.db.pool import Connection, Database
from postroom.errors import Broken, NeedsOwner, NotFound, PostroomError, TryLater
from postroom.jobs.model import JobLost
from postroom.providers import store as budgets
from postroom.providers.budget import is_worth_writing
from postroom.providers.model import Login, Mailbox, Provider, SentAway
from postroom.providers.spent import Ledger, Spent
from postroom.vault.model import WrongKey
from postroom.vault.seal import Vault

from . import logins
from .logins import TooSoon
from .model import Counts, IsPaused, Outdated, key
from .run import Manner, sync_account
from .sessions import IDLE, Sessions
from .verdict import verdict
from .workshop import Workshop
from .write import Tally, nobody

OTHER_CREDENTIALS = "It got other credentials while it was synced."
A_MOMENT = timedelta(seconds=10)
FULL_EVERY = timedelta(days=1)  # deltas are hints: this often everything is compared

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Means:
    """What it takes to sync: database, key to secrets, providers, where mail is read, open mailboxes."""

    db: Database
    vault: Vault
    providers: Mapping[str, Provider]
    workshop: Workshop = field(default_factory=Workshop)
    manner: Manner = field(default_factory=Manner)
    sessions: Sessions = field(default_factory=Sessions)  # which keep none, unless there are others
    ledger: Ledger = field(default_factory=Ledger)  # what accounts cost, until it is written down

    def spent(self, account: Account) -> Spent:
        return self.ledger.of((account.tenant_id, account.id))

    async def mailbox(self, account: Account) -> AbstractAsyncContextManager[Mailbox]:
        """The account's mailbox, to be entered; its secret is opened for that. Raises `NeedsOwner`."""
        async with self.db.transaction(account.tenant_id) as conn:
            sealed = await accounts.secret(conn, account.tenant_id, account.id)
        return self.opening(account, sealed, often=False, anew=True)

    def opening(
        self, account: Account, sealed: str | None, *, often: bool, anew: bool
    ) -> AbstractAsyncContextManager[Mailbox]:
        """The same, of a secret that was read; for the rest see `Sessions.lend`. Raises `WrongKey`."""
        tenant = account.tenant_id
        secret = credentials.unseal(self.vault, tenant, account.public_id, sealed) if sealed else ""
        login = Login(account.address, account.settings, secret, self.spent(account))
        opening = self.providers[account.provider].open(login)
        return self.sessions.lend(account, opening, often=often, anew=anew)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one sync."""

    account: Account
    status: Literal["success", "failed", "busy"]  # busy: of no account, for something else is at it, or was
    counts: Counts
    seconds: float
    error: PostroomError | None = field(default=None)


async def perform(
    means: Means,
    account: Account,
    *,
    every: timedelta,
    counts: Counts | None = None,
    full: bool = False,
    grace: timedelta | None = None,
    tally: Tally = nobody,
) -> Outcome:
    """Sync one account now. `every` is its poll interval where it has none of its own.

    `full` compares everything, as happens by itself once a day; `grace` is how long mail that lies nowhere
    may have moved, where that is not as usual. `tally` counts what is stored, in the same transactions.

    Never raises for what is the account's, the server's or the network's trouble; those are outcomes.
    """
    counts = counts if counts is not None else Counts()
    began = monotonic()
    error: PostroomError | None = None
    outdated: PostroomError | None = None
    grace = means.manner.grace if grace is None else grace
    try:
        turn = await _begun(means, account, every, full=full)
        account, pause = turn.account, means.manner.pause
        manner = replace(means.manner, full=turn.is_full, grace=grace)
        async with leases.hold(means.db, turn.lease) as hold:
            async with logins.minded(means.db, account, pause), turn.opening as mailbox:
                shop = means.workshop
                spent, lease = means.spent(account), turn.lease
                await sync_account(means.db, account, lease, mailbox, counts, shop, manner, tally, spent)
            soon = grace + A_MOMENT if counts.unplaced else None
            outdated = await _succeeded(hold, account, account.poll_every or every, soon, counts, spent)
    except (LeaseHeld, LeaseLost, JobLost) as other:
        return Outcome(account, "busy", counts, monotonic() - began, other)
    except (WrongKey, Unreachable, Refused, Busy) as ours:
        return Outcome(account, "failed", counts, monotonic() - began, ours)
    except (TryLater, NeedsOwner, NotFound, Broken) as failure:
        error = failure
        outdated = await _failed(means.db, account, account.poll_every or every, error, means.spent(account))
    seconds = monotonic() - began
    if outdated is not None:
        return Outcome(account, "busy", counts, seconds, outdated)
    status: Literal["success", "failed"] = "failed" if error else "success"
    logger.info(
        "sync.finished",
        account=account.id,
        status=status,
        code=error.code if error else None,
        added=counts.added,
        removed=counts.removed,
        seconds=round(seconds, 3),
    )
    return Outcome(account, status, counts, seconds, error)


@dataclass(frozen=True, slots=True)
class _Turn:
    """A sync that may begin."""

    account: Account  # as it is now
    is_full: bool  # everything is to be compared
    lease: Lease
    opening: AbstractAsyncContextManager[Mailbox]


async def _begun(means: Means, account: Account, every: timedelta, *, full: bool) -> _Turn:
    """Take the lease, count the login and read the account, all in one transaction, or none of it.

    Raises `LeaseHeld`, `TooSoon`, `WrongKey`, `NoSuchAccount`.
    """
    tenant, pause = account.tenant_id, means.manner.pause
    async with means.db.transaction(tenant, lasting_plans=True) as conn:
        lease = await leases.take(means.db, conn, tenant, key(account.id))
        found = await accounts.begin_sync(conn, tenant, account.id, pause=pause, full_every=FULL_EVERY)
        if isinstance(found, timedelta):
            raise logins.too_soon(found)
        now, sealed, is_due = found
        # What a server has believed for long is no proof.
        is_full, often = full or is_due, (now.poll_every or every) < IDLE
        return _Turn(now, is_full, lease, means.opening(now, sealed, often=often, anew=is_full))


async def _succeeded(
    hold: leases.Hold,
    account: Account,
    every: timedelta,
    soon: timedelta | None,
    counts: Counts,
    spent: Spent,
) -> PostroomError | None:
    """Write that it did, and give the lease back, in one transaction. An answer as that of `_failed`.

    `soon`: when there is more to be said of mail that lies nowhere, whatever the interval. What a poll costs
    that finds nothing waits to be written with more of it.
    """
    tenant, number, version = account.tenant_id, account.id, account.credentials_version
    wait = due.after_success(min(every, soon or every), random.random())
    if counts.throttle.wait is not None:
        wait = min(wait, counts.throttle.wait + A_MOMENT)
    cost = spent.pending()
    is_written = bool(counts.done or counts.removed or counts.flags_changed) or is_worth_writing(cost)
    with suppress(NoSuchAccount):  # removed meanwhile: that is its outcome, and not its neighbours'
        async with hold.last() as conn:
            if is_written:
                await budgets.spend(conn, tenant, number, cost)
            if not await accounts.mark_sync_succeeded(
                conn, tenant, number, wait=wait, version=version, throttled=counts.throttle
            ):
                await accounts.mark_sync_stopped(conn, tenant, number)
                return Outdated(OTHER_CREDENTIALS, wait=timedelta())
            if account.needs_owner or account.stale_at is not None:
                await change.tell(conn, account, "accounts.recovered")
        if is_written:
            spent.take(cost)
    return None


async def _failed(
    db: Database, account: Account, every: timedelta, error: PostroomError, spent: Spent
) -> PostroomError | None:
    """Write what came of it, unless that says nothing of the account any more: then why."""
    outdated, cost = None, spent.pending()
    with suppress(NoSuchAccount):
        async with db.transaction(account.tenant_id) as conn:
            today = await accounts.lock(conn, account.tenant_id, account.id)
            outdated = _outdated(account, today)
            if outdated is None:
                await _tell(conn, account, every, error)
            else:
                await accounts.mark_sync_stopped(conn, account.tenant_id, account.id)
            if cost:
                await budgets.spend(conn, account.tenant_id, account.id, cost)
        spent.take(cost)
    return outdated


def _outdated(began: Account, today: Account) -> PostroomError | None:
    """Why the failure of a sync says nothing of the account as it is today."""
    if began.credentials_version != today.credentials_version:
        return Outdated(OTHER_CREDENTIALS, wait=timedelta())
    if today.state is AccountState.PAUSED is not began.state:
        return IsPaused("It was paused while it was synced.")
    return None


async def _tell(conn: Connection, account: Account, every: timedelta, error: PostroomError) -> None:
    if isinstance(error, TooSoon):
        await accounts.put_off_sync(conn, account.tenant_id, account.id, error.wait)
        return
    said = verdict(account, error, every, random.random())
    is_waiting = said.state is AccountState.REAUTH_REQUIRED
    await accounts.mark_sync_failed(
        conn,
        account.tenant_id,
        account.id,
        wait=said.wait or every,
        error=described(error),
        state=said.state,
        needs_owner=is_waiting or account.needs_owner,
        refusals=said.refusals,
        retry=said.wait if is_waiting else None,
        throttled=_throttle(error),
    )
    if said.is_news:
        await change.tell(conn, account, "accounts.reauth_required", code=error.code)


def _throttle(error: PostroomError) -> Throttle:
    """A server that wants less of us says for how long; how sure it is of that is in `error`."""
    if not isinstance(error, SentAway):
        return NOT_THROTTLED
    return Throttle(error.wait, error.message)


def described(error: PostroomError) -> Mapping[str, Any]:
    return {"code": error.code, "message": error.message}
