"""Sync one account from its row to its row: credentials in, outcome out. Errors become states here.

success                  active
a failure                what `verdict` says
LeaseHeld, LeaseLost     untouched: another process is at it
NoConnection             untouched: there are as many as may be, or its host is in trouble; soon again
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
from functools import partial
from time import monotonic
from typing import Any, Literal

import structlog

from postroom.accounts import change, credentials, due
from postroom.accounts import store as accounts
from postroom.accounts.grant import is_grant
from postroom.accounts.model import NOT_THROTTLED, Account, AccountState, NoSuchAccount, Scope, Throttle
from postroom.accounts.oauth import Oauth
from postroom.accounts.scope import wants
from postroom.accounts.tokens import Tokens
from postroom.db import leases
from postroom.db.model import Busy, Lease, LeaseHeld, LeaseLost, Refused, Unreachable
from postroom.db.pool import Connection, Database
from postroom.errors import Broken, NeedsOwner, NotFound, PostroomError, TryLater
from postroom.jobs.model import JobLost
from postroom.providers import store as budgets
from postroom.providers.budget import is_worth_writing
from postroom.providers.further import Chosen
from postroom.providers.kept import IDLE
from postroom.providers.model import Login, Mailbox, NoConnection, Provider, SentAway
from postroom.providers.pool import Pool
from postroom.providers.spent import Ledger, Spent
from postroom.providers.target import Purpose
from postroom.vault.model import WrongKey
from postroom.vault.seal import Vault

from . import live, logins
from .live import What
from .logins import TooSoon
from .model import Counts, IsPaused, Outdated, key, target
from .run import Manner, sync_account
from .verdict import verdict
from .workshop import Workshop
from .write import Tally, nobody

OTHER_CREDENTIALS = "It got other credentials while it was synced."
A_MOMENT = timedelta(seconds=10)
FULL_EVERY = timedelta(days=1)  # deltas are hints: this often everything is compared

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Means:
    """What it takes to sync: database, key to secrets, providers, where mail is read, open mailboxes, and
    who gives tokens for grants.
    """

    db: Database
    vault: Vault
    providers: Mapping[str, Provider]
    workshop: Workshop = field(default_factory=Workshop)
    manner: Manner = field(default_factory=Manner)
    pool: Pool = field(default_factory=Pool)  # which keeps none, unless there is another
    oauth: Oauth = field(default_factory=Oauth)
    ledger: Ledger = field(default_factory=Ledger)  # what accounts cost, until it is written down

    @property
    def tokens(self) -> Tokens:
        return Tokens(self.db, self.vault, self.oauth)

    def spent(self, account: Account) -> Spent:
        return self.ledger.of((account.tenant_id, account.id))

    async def mailbox(self, account: Account) -> AbstractAsyncContextManager[Mailbox]:
        """The account's mailbox, to be entered; its secret is opened for that. Raises `NeedsOwner`."""
        async with self.db.transaction(account.tenant_id) as conn:
            sealed = await accounts.secret(conn, account.tenant_id, account.id)
        return self.opening(account, sealed, often=False, anew=True, purpose=Purpose.COMMAND)

    def opening(
        self,
        account: Account,
        sealed: str | None,
        *,
        often: bool,
        anew: bool,
        purpose: Purpose = Purpose.SYNC,
    ) -> AbstractAsyncContextManager[Mailbox]:
        """The same, of a secret that was read; for the rest see `Pool.lend`. Raises `WrongKey`."""
        connection, chosen = partial(self._connection, account, sealed), None
        if pattern := account.settings.get("watch_folders"):
            chosen = Chosen(partial(wants, Scope(folders=pattern)), connection)
        copied = partial(wants, account.scope)
        return self.pool.lend(
            target(account), connection(), copied, chosen, often=often, anew=anew, purpose=purpose
        )

    def _connection(self, account: Account, sealed: str | None) -> AbstractAsyncContextManager[Mailbox]:
        tenant, provider, spent = account.tenant_id, self.providers[account.provider], self.spent(account)
        if is_grant(account.settings):
            grant = credentials.unseal_grant(self.vault, account, sealed)
            return self.tokens.opening(provider, account, grant, spent)
        secret = credentials.unseal(self.vault, tenant, account.public_id, sealed) if sealed else ""
        return provider.open(Login(account.address, account.settings, secret, spent))


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
    has_begun = False
    try:
        means.pool.check(target(account))
        turn = await _begun(means, account, every, full=full)
        account, has_begun = turn.account, True
        live.tell(means.db, account, What.BEGAN, counts)
        grace = means.manner.grace if grace is None else grace
        manner = replace(means.manner, full=turn.is_full, grace=grace)
        outdated = await _synced(means, turn, manner, every, counts, tally)
    except (LeaseHeld, LeaseLost, JobLost) as other:
        return Outcome(account, "busy", counts, monotonic() - began, other)
    except NoConnection as none:
        if has_begun:
            await _stopped(means.db, account)
        return Outcome(account, "busy", counts, monotonic() - began, none)
    except (WrongKey, Unreachable, Refused, Busy) as ours:
        live.tell(means.db, account, What.STOPPED, counts)
        return Outcome(account, "failed", counts, monotonic() - began, ours)
    except (TryLater, NeedsOwner, NotFound, Broken) as failure:
        error = failure
        outdated = await failed(means.db, account, account.poll_every or every, error, means.spent(account))
    seconds = monotonic() - began
    if not isinstance(error, TooSoon):  # which has not begun
        live.tell(means.db, account, What.STOPPED if outdated else What.ENDED, counts)
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


async def _synced(
    means: Means, turn: _Turn, manner: Manner, every: timedelta, counts: Counts, tally: Tally
) -> PostroomError | None:
    """What the turn is for, under its lease. An answer as that of `failed`."""
    account, lease, shop = turn.account, turn.lease, means.workshop
    spent = means.spent(account)
    async with leases.hold(means.db, lease) as hold:
        async with logins.minded(means.db, account, manner.pause), turn.opening as mailbox:
            await sync_account(means.db, account, lease, mailbox, counts, shop, manner, tally, spent)
        soon = manner.grace + A_MOMENT if counts.unplaced else None
        wait = means.pool.interval(target(account).key, account.poll_every or every)
        return await _succeeded(hold, account, wait, soon, counts, spent)


async def _succeeded(
    hold: leases.Hold,
    account: Account,
    every: timedelta,
    soon: timedelta | None,
    counts: Counts,
    spent: Spent,
) -> PostroomError | None:
    """Write that it did, and give the lease back, in one transaction. An answer as that of `failed`.

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
            is_current = await accounts.mark_sync_succeeded(
                conn, tenant, number, wait=wait, version=version, throttled=counts.throttle
            )
            if not is_current:
                await accounts.mark_sync_stopped(conn, tenant, number)
            elif account.needs_owner or account.stale_at is not None:
                await change.tell(conn, account, "accounts.recovered")
            if is_written:
                await budgets.spend(conn, tenant, number, cost)
        if is_written:
            spent.take(cost)
        return None if is_current else Outdated(OTHER_CREDENTIALS, wait=timedelta())
    return None


async def _stopped(db: Database, account: Account) -> None:
    """Nothing was opened for it."""
    with suppress(Unreachable, Refused, Busy):
        async with db.transaction(account.tenant_id) as conn:
            await accounts.mark_sync_stopped(conn, account.tenant_id, account.id)


async def failed(
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
