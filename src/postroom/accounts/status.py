"""How an account is doing, as status answers it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from postroom.accounts.model import Account, AccountState

SyncStatus = Literal["success", "failed", "in_progress"]


@dataclass(frozen=True, slots=True)
class AccountStatus:
    state: AccountState
    reason: str | None
    is_syncing: bool
    last_sync_at: datetime | None
    last_sync_status: SyncStatus | None  # None: never synced
    last_sync_error: Mapping[str, Any] | None  # of the last finished sync, if that failed
    sync_count: int
    verified_fresh_at: datetime | None  # when the copy was last proven equal to the server
    next_sync_at: datetime | None  # None: not by itself
    throttled_until: datetime | None  # less is downloaded than there is; None: all is
    throttled_by: str | None


def status(account: Account, *, leased: bool = True) -> AccountStatus:
    """`leased`: whether somebody holds the account's lease. A process that was killed leaves its mark that
    a sync runs, but not its lease.
    """
    syncing = account.sync_started_at is not None and leased
    polled = account.state in {AccountState.ACTIVE, AccountState.ERROR}
    return AccountStatus(
        state=account.state,
        reason=account.reason,
        is_syncing=syncing,
        last_sync_at=account.last_sync_at,
        last_sync_status="in_progress" if syncing else account.last_sync_status,
        last_sync_error=account.last_sync_error,
        sync_count=account.sync_count,
        verified_fresh_at=account.verified_fresh_at,
        next_sync_at=account.next_sync_at if polled else account.retry_at,
        throttled_until=account.throttled_until,
        throttled_by=account.throttled_by,
    )
