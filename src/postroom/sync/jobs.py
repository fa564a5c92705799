"""The jobs of this room.

sync.account   bring one account up to date; asked for by its owner, or by the schedule. One that the schedule
               asked for leaves no row where it finds nothing: the account's own columns tell how it went
sync.remove    remove an account: where something was at work on it for long, or its removal was cut off
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Any

from postroom.accounts import store as accounts
from postroom.accounts.model import Account, NoSuchAccount
from postroom.db.beside import beside
from postroom.db.model import LeaseHeld
from postroom.db.pool import Connection
from postroom.jobs.attempt import SAY_EVERY, Attempt, Handler, Resumes
from postroom.jobs.model import Level, NotNow
from postroom.providers.model import NoConnection

from .ask import ACCOUNT, not_paused
from .logins import TooSoon
from .model import Counts, IsPaused, Outdated, Stored
from .perform import Means, Outcome, perform
from .remove import CUT_OFF, REMOVE, remove_account

BUSY = timedelta(seconds=0.5)


def handlers(
    means: Means, every: timedelta, told: Callable[[Outcome], None] = lambda _outcome: None
) -> Mapping[str, Handler]:
    """`every`: the poll interval of accounts without their own. `told` hears of each sync that ended."""
    return {ACCOUNT: Resumes(partial(_sync, means, every, told)), REMOVE: partial(_remove, means)}


async def _sync(
    means: Means, every: timedelta, told: Callable[[Outcome], None], attempt: Attempt
) -> Mapping[str, Any]:
    account, counts = await _account(means, attempt), Counts()
    not_paused(account)
    async with beside(_report(attempt, counts)):
        full = bool(attempt.job.args.get("full"))
        tally = partial(_count, attempt)
        outcome = await perform(means, account, every=every, counts=counts, full=full, tally=tally)
    _tell(attempt, counts, is_over=outcome.status == "success")
    if isinstance(outcome.error, Outdated | IsPaused):  # whoever saw to that has asked this job to stop
        raise NotNow(outcome.error.message, wait=timedelta())
    if isinstance(outcome.error, NoConnection):
        raise NotNow(outcome.error.message, wait=outcome.error.wait)
    if outcome.status == "busy":
        raise NotNow("Another process syncs this account.", wait=BUSY)
    if isinstance(outcome.error, TooSoon) and attempt.job.is_kept:
        raise NotNow(outcome.error.message, wait=outcome.error.wait)
    told(outcome)
    if attempt.job.is_kept or attempt.has_found:
        for folder in counts.skipped:
            await attempt.say(folder.message, level=Level.WARNING, folder=folder.path, code=folder.code)
    if outcome.error is not None:
        raise outcome.error
    return _result(attempt, counts)


async def _account(means: Means, attempt: Attempt) -> Account:
    tenant, number = attempt.job.tenant_id, attempt.job.account_id
    if number is None:
        raise NoSuchAccount("The job names no account.")
    async with means.db.transaction(tenant) as conn:
        return await accounts.get_by_id(conn, tenant, number)


async def _report(attempt: Attempt, counts: Counts) -> None:
    while True:
        _tell(attempt, counts)
        await asyncio.sleep(SAY_EVERY)


def _tell(attempt: Attempt, counts: Counts, *, is_over: bool = False) -> None:
    """What earlier tries did counts, too. Found is whatever is not as it was."""
    before = attempt.job.progress
    found = counts.added + counts.moved + counts.removed + counts.flags_changed + counts.parked
    processed, total = before.processed + counts.done, before.processed + counts.total
    if is_over:  # what a try did in its last moment, and could not tell any more
        processed = total = max(processed, total, before.total_estimate or 0)
    attempt.progress(processed=processed, total_estimate=total, items_found=before.items_found + found)


async def _count(attempt: Attempt, conn: Connection, stored: Stored) -> None:
    tally = {name: number for name, number in asdict(stored).items() if number}
    await attempt.count(conn, tally, processed=stored.done, items_found=stored.found)


def _result(attempt: Attempt, counts: Counts) -> Mapping[str, Any]:
    """What all tries together have stored."""
    stored = {**asdict(Stored()), **attempt.tally}
    del stored["done"]
    return {**stored, "skipped": [asdict(folder) for folder in counts.skipped]}


async def _remove(means: Means, attempt: Attempt) -> None:
    """An account that was resumed meanwhile stays."""
    try:
        account = await _account(means, attempt)
        if account.reason == CUT_OFF:
            await remove_account(means.db, account, means.tokens.revoke)
    except NoSuchAccount:
        return
    except LeaseHeld as other:
        raise NotNow("Another process is at it.", wait=BUSY) from other
