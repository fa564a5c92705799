"""Glance at mailboxes that are probably as they were: many at once, for a few statements in all.

    begun, in one transaction: not at work, no trouble, nothing parked ──┬─ not so: a sync has to see to it
                                                                         v
    each: log in, or the session that listens ─> folders, their numbers ─┬─ as stored: that was all
                                                                         └─ not so: a sync has to see to it

A glance changes nothing of a copy, so it takes no lease: whatever somebody else stores meanwhile makes the
two differ, and equal numbers prove an equal copy whoever made it. A session that was opened for it is kept,
or listens, so that the sync that follows need not log in again. What comes of a login that fails is written
as a sync would write it.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Protocol, TypeAlias

import structlog

from postroom.accounts import due
from postroom.accounts.model import Account, Scope
from postroom.accounts.scope import wants
from postroom.accounts.store import together
from postroom.accounts.store.together import Success
from postroom.db.model import DATABASE_AWAY
from postroom.errors import Broken, NeedsOwner, NotFound, PostroomError, TryLater
from postroom.ids import AccountId, TenantId
from postroom.mail.model import Folder
from postroom.providers import store as budgets
from postroom.providers.budget import is_worth_writing
from postroom.providers.kept import IDLE
from postroom.providers.model import NoConnection, RemoteFolder
from postroom.providers.target import Key
from postroom.vault.model import WrongKey

from . import live, logins
from .live import What
from .model import Counts, Cursor, target
from .perform import FULL_EVERY, Means, Outcome, failed
from .plan import Way, way
from .run import is_kept
from .store import glance as store

MARK_EVERY = 0.5  # seconds, while some of them take long
Stored: TypeAlias = Mapping[bytes, tuple[Folder, Cursor | None]]

logger = structlog.get_logger()


class Seen(Protocol):
    """Hears of each account, as soon as it is known, whether that was all; else a sync has to see to it."""

    def __call__(self, key: Key, *, is_settled: bool) -> None: ...


def is_as_it_was(scope: Scope, listed: Sequence[RemoteFolder], stored: Stored) -> bool:
    """Whether the server's numbers prove that the copy is equal. Neither I/O nor clock.

    An empty list is a server's mistake and proves nothing.
    """
    there = {remote.name for remote in listed if remote.selectable}
    chosen = [remote for remote in listed if remote.selectable and wants(scope, remote.path)]
    return bool(chosen) and stored.keys() <= there and all(_is_same(remote, stored) for remote in chosen)


def _is_same(remote: RemoteFolder, stored: Stored) -> bool:
    folder, cursor = stored.get(remote.name, (None, None))
    if cursor is None or remote.status is None or not is_kept(remote, folder):
        return False
    return way(cursor, remote.status) is Way.NOTHING


@dataclass(slots=True)
class _Glance:
    """At accounts of one tenant."""

    means: Means
    every: timedelta
    told: Callable[[Outcome], None]
    seen: Seen
    tenant: TenantId
    good: list[tuple[Account, float]] = field(default_factory=list)  # as they were; seconds
    stopped: list[AccountId] = field(default_factory=list)  # no connection was to be had

    async def at(self, ids: Sequence[AccountId]) -> None:
        async with self.means.db.transaction(self.tenant, lasting_plans=True) as conn:
            others = await store.busy(conn, self.tenant, ids)
            free = [one for one in ids if one not in others]
            begun = await together.begin_syncs(conn, self.tenant, free, full_every=FULL_EVERY)
            stored = await store.stored(conn, self.tenant, [account.id for account, _ in begun])
        for one in set(ids) - stored.keys():
            self.seen((self.tenant, one), is_settled=False)
        async with asyncio.TaskGroup() as group:
            pending = {
                group.create_task(self._look(account, sealed, stored[account.id]))
                for account, sealed in begun
            }
            while pending:
                _, pending = await asyncio.wait(pending, timeout=MARK_EVERY)
                with suppress(*DATABASE_AWAY):  # what cannot be written is due again as it was
                    await self._mark()

    async def _look(self, account: Account, sealed: str | None, stored: Stored) -> None:
        """Never raises for what is the account's, the server's or the network's trouble."""
        began, key = monotonic(), target(account).key
        is_settled = False
        try:
            if await self._is_as_it_was(account, sealed, stored):
                is_settled = True
                self.good.append((account, monotonic() - began))
        except NoConnection:
            self.stopped.append(account.id)
        except (WrongKey, *DATABASE_AWAY):
            pass
        except (TryLater, NeedsOwner, NotFound, Broken) as error:
            is_settled = await self._failed(account, error, monotonic() - began)
        self.seen(key, is_settled=is_settled)

    async def _is_as_it_was(self, account: Account, sealed: str | None, stored: Stored) -> bool:
        means, often = self.means, (account.poll_every or self.every) < IDLE
        means.pool.check(target(account))
        async with (
            logins.minded(means.db, account, means.manner.pause),
            means.opening(account, sealed, often=often, anew=False) as mailbox,
        ):
            return is_as_it_was(account.scope, await mailbox.folders(), stored)

    async def _failed(self, account: Account, error: PostroomError, seconds: float) -> bool:
        """Whether it could be written."""
        db, spent = self.means.db, self.means.spent(account)
        try:
            outdated = await failed(db, account, account.poll_every or self.every, error, spent)
        except DATABASE_AWAY:
            return False
        live.tell(db, account, What.STOPPED if outdated else What.ENDED, Counts())
        if outdated is None:
            self._ended(account, seconds, error)
        return True

    async def _mark(self) -> None:
        """Write what has been seen since the last time."""
        good, self.good = self.good, []
        stopped, self.stopped = self.stopped, []
        if not (good or stopped):
            return
        db, pool = self.means.db, self.means.pool
        costs = {account.id: self.means.spent(account).pending() for account, _ in good}
        worth = {number: cost for number, cost in costs.items() if is_worth_writing(cost)}
        async with db.transaction(self.tenant, lasting_plans=True) as conn:
            if stopped:
                await together.mark_syncs_stopped(conn, self.tenant, stopped)
            current = await together.mark_syncs_succeeded(conn, self.tenant, [self._due(a) for a, _ in good])
            for number in sorted(worth.keys() & current):
                await budgets.spend(conn, self.tenant, number, worth[number])
        for account, seconds in good:
            if account.id not in current:  # its owner has paused or changed it meanwhile
                pool.listening.drop(target(account).key)
                continue
            if account.id in worth:
                self.means.spent(account).take(worth[account.id])
            live.tell(db, account, What.ENDED, Counts())
            self._ended(account, seconds)

    def _due(self, account: Account) -> Success:
        every = self.means.pool.interval(target(account).key, account.poll_every or self.every)
        wait = due.after_success(every, random.random())
        return Success(account.id, account.credentials_version, wait)

    def _ended(self, account: Account, seconds: float, error: PostroomError | None = None) -> None:
        code = error.code if error else None
        logger.info("sync.glanced", account=account.id, code=code, seconds=round(seconds, 3))
        self.told(Outcome(account, "failed" if error else "success", Counts(), seconds, error))


async def glance(
    means: Means, every: timedelta, told: Callable[[Outcome], None], keys: Sequence[Key], seen: Seen
) -> None:
    """Look at these accounts at once. `every`: the poll interval of those without their own; `told` hears of
    those with which that is done. Raises what the database raises; whoever was not `seen` then is as before.
    """
    of: dict[TenantId, list[AccountId]] = defaultdict(list)
    for tenant, account in keys:
        of[tenant].append(account)
    looks = [_Glance(means, every, told, seen, tenant).at(ids) for tenant, ids in of.items()]
    for error in await asyncio.gather(*looks, return_exceptions=True):
        if isinstance(error, BaseException):
            raise error
