"""Sync one account from its row to its row: credentials in, outcome out. Errors become states here.

success                  active
TryLater, Broken         error: polls go on, more slowly, never before the server's own wait is over
NeedsOwner               reauth_required: no polls until its owner has acted
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
from postroom.accounts.model import Account, AccountState, NoSuchAccount
from postroom.db.model import Busy, LeaseHeld, LeaseLost, Refused, Unreachable
from postroom.db.pool import Connection, Database
from postroom.errors import Broken, NeedsOwner, NotFound, PostroomError, TryLater
from postroom.jobs.model import JobLost
from postroom.providers.model import Login, Mailbox, Provider
from postroom.vault.model import WrongKey
from postroom.vault.seal import Vault

from .logins import TooSoon
from .model import Counts, IsPaused, Outdated
from .run import Manner, sync_account
from .workshop import Workshop
from .write import Tally, nobody

A_MOMENT = timedelta(seconds=10)
FULL_EVERY = timedelta(days=1)  # deltas are hints: this often everything is compared

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Means:
    """What it takes to sync: the database, the key to secrets, the providers, and where mail is read."""

    db: Database
    vault: Vault
    providers: Mapping[str, Provider]
    workshop: Workshop = field(default_factory=Workshop)
    manner: Manner = field(default_factory=Manner)

    async def mailbox(self, account: Account) -> AbstractAsyncContextManager[Mailbox]:
        """The account's mailbox, to be entered; its secret is opened for that. Raises `NeedsOwner`."""
        async with self.db.transaction(account.tenant_id) as conn:
            sealed = await accounts.secret(conn, account.tenant_id, account.id)
        secret = (
            credentials.unseal(self.vault, account.tenant_id, account.public_id, sealed) if sealed else ""
        )
        return self.providers[account.provider].open(Login(account.address, account.settings, secret))


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
    grace = means.manner.grace if grace is None else grace
    try:
        account, is_due = await _started(means.db, account)
        opening = await means.mailbox(account)
        manner = replace(means.manner, full=full or is_due, grace=grace)
        await sync_account(means.db, account, opening, counts, means.workshop, manner, tally)
    except (LeaseHeld, LeaseLost, JobLost) as other:
        return Outcome(account, "busy", counts, monotonic() - began, other)
    except WrongKey as ours:
        async with means.db.transaction(account.tenant_id) as conn:
            await accounts.mark_sync_stopped(conn, account.tenant_id, account.id)
        return Outcome(account, "failed", counts, monotonic() - began, ours)
    except (Unreachable, Refused, Busy) as ours:
        return Outcome(account, "failed", counts, monotonic() - began, ours)
    except (TryLater, NeedsOwner, NotFound, Broken) as failure:
        error = failure
    seconds = monotonic() - began
    with suppress(NoSuchAccount):  # removed meanwhile: that is its outcome, and not its neighbours'
        soon = grace + A_MOMENT if counts.unplaced else None
        outdated = await _finished(means.db, account, account.poll_every or every, error, soon)
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


async def _started(db: Database, account: Account) -> tuple[Account, bool]:
    """The account as it is now, and whether everything is to be compared."""
    async with db.transaction(account.tenant_id) as conn:
        is_due = await accounts.mark_sync_started(conn, account.tenant_id, account.id, FULL_EVERY)
        return await accounts.get_by_id(conn, account.tenant_id, account.id), is_due


async def _finished(
    db: Database,
    account: Account,
    every: timedelta,
    error: PostroomError | None,
    soon: timedelta | None,
) -> PostroomError | None:
    """Write what came of it, unless that says nothing of the account any more: then why.

    `soon`: when there is more to be said of mail that lies nowhere, whatever the interval.
    """
    async with db.transaction(account.tenant_id) as conn:
        today = await accounts.lock(conn, account.tenant_id, account.id)
        outdated = _outdated(account, today, error)
        if outdated is None:
            await _tell(conn, account, every, error, soon)
        else:
            await accounts.mark_sync_stopped(conn, account.tenant_id, account.id)
        return outdated


def _outdated(began: Account, today: Account, error: PostroomError | None) -> PostroomError | None:
    """Why what came of a sync says nothing of the account as it is today."""
    if began.credentials_version != today.credentials_version:
        return Outdated("It got other credentials while it was synced.", wait=timedelta())
    if error is not None and today.state is AccountState.PAUSED is not began.state:
        return IsPaused("It was paused while it was synced.")
    return None


async def _tell(
    conn: Connection,
    account: Account,
    every: timedelta,
    error: PostroomError | None,
    soon: timedelta | None,
) -> None:
    if error is None:
        await accounts.mark_sync_succeeded(
            conn,
            account.tenant_id,
            account.id,
            wait=due.after_success(min(every, soon or every), random.random()),
        )
        if account.needs_owner or account.stale_at is not None:
            await change.tell(conn, account, "accounts.recovered")
        return
    if isinstance(error, TooSoon):
        await accounts.put_off_sync(conn, account.tenant_id, account.id, error.wait)
        return
    needs_owner = isinstance(error, NeedsOwner)
    state = AccountState.REAUTH_REQUIRED if needs_owner else AccountState.ERROR
    wait = error.wait if isinstance(error, TryLater) else None
    await accounts.mark_sync_failed(
        conn,
        account.tenant_id,
        account.id,
        wait=due.after_failure(every, account.failures + 1, wait, random.random()),
        error=described(error),
        state=state,
        needs_owner=needs_owner or account.needs_owner,
    )
    if needs_owner and not account.needs_owner:
        await change.tell(conn, account, "accounts.reauth_required", code=error.code)


def described(error: PostroomError) -> Mapping[str, Any]:
    return {"code": error.code, "message": error.message}
