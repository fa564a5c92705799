"""How much of a mailbox may still be downloaded today.

Older mail waits first, and goes on when the day is over: it is not stored, so the next syncs find it missing.
New mail comes until its reserve is used up as well.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime

from postroom.accounts.model import Account
from postroom.db.pool import Database
from postroom.errors import TryLater
from postroom.providers import budget, store
from postroom.providers.model import RemoteItem
from postroom.providers.spent import Spent

from .model import HELD_BACK

UNKNOWN_SIZE = 50_000
ABOUT_IT = 300  # bytes that a server says of each message beside its content


class HeldBack(TryLater):
    """Mail of a folder waits for another day; what of it could be had is on its way."""

    code = HELD_BACK


class Allowance:
    """Of one account, during one sync. Nothing is read where there is no limit, nor before it is needed."""

    def __init__(self, db: Database, account: Account, spent: Spent) -> None:
        self._db, self._account, self._spent = db, account, spent
        self._limit = budget.limit(account.settings, account.address)
        self._day: date | None = None
        self._others = 0  # bytes of today that this process does not know of

    async def parted(
        self, items: Sequence[RemoteItem], known: int
    ) -> tuple[Sequence[RemoteItem], HeldBack | None]:
        """Those that may be fetched now: the newest, if not all may. Above the uid `known` is new mail."""
        if self._limit is None or not items:
            return items, None
        await self._learn()
        today, allowed = self._others + self._spent.bytes, set[int]()
        for item in sorted(items, key=lambda item: item.uid, reverse=True):
            size = ABOUT_IT + (UNKNOWN_SIZE if item.size is None else item.size)
            cap = self._limit if item.uid > known else budget.for_backfill(self._limit)
            if not budget.fits(size, today, cap):
                break
            today += size
            allowed.add(item.uid)
        if len(allowed) == len(items):
            return items, None
        return [item for item in items if item.uid in allowed], self._held_back()

    async def _learn(self) -> None:
        now = datetime.now(UTC).date()
        if self._day != now:
            tenant, account = self._account.tenant_id, self._account.id
            async with self._db.transaction(tenant) as conn:
                written = (await store.today(conn, tenant, account)).bytes
            self._day, self._others = now, written - self._spent.taken

    def _held_back(self) -> HeldBack:
        now = datetime.now(UTC)
        until = budget.resets_at(now)
        said = f"Mail waits until {until:%Y-%m-%d %H:%M} UTC: the {self._limit:,} bytes of a day are used up."
        return HeldBack(said, wait=until - now)
