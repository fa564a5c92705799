"""How much of a mailbox may still be downloaded today.

Older mail waits first, and goes on when the day is over: it is not stored, so the next syncs find it missing.
New mail comes until its reserve is used up as well.
"""

from collections.abc import Sequence
from datetime import timedelta
from time import monotonic

from postroom.accounts.model import Account
from postroom.db.pool import Database
from postroom.errors import TryLater
from postroom.providers import budget, store
from postroom.providers.model import RemoteItem
from postroom.providers.spent import Spent
from postroom.providers.store import Today

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
        self._today: Today | None = None
        self._asked = 0.0  # when, in seconds
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
        if self._today is None or self._left() <= timedelta():
            tenant, account = self._account.tenant_id, self._account.id
            async with self._db.transaction(tenant) as conn:
                self._today = await store.today(conn, tenant, account)
            self._asked = monotonic()
            self._others = self._today.bytes - self._spent.taken

    def _left(self) -> timedelta:
        """Until the day is over."""
        assert self._today is not None
        return self._today.ends_in - timedelta(seconds=monotonic() - self._asked)

    def _held_back(self) -> HeldBack:
        assert self._today is not None
        until = f"{self._today.ends_at:%Y-%m-%d %H:%M} UTC"
        said = f"Mail waits until {until}: the {self._limit:,} bytes of a day are used up."
        return HeldBack(said, wait=self._left())
