"""The transactions of a sync. Each is short, checks the lease first and appends to the log last.

No transaction is open while we wait for a server.
"""

from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

import asyncpg
import structlog

from postroom.accounts import store as accounts
from postroom.blobs import store as blobs
from postroom.db import leases
from postroom.db.failures import told
from postroom.db.model import Lease
from postroom.db.pool import Connection, Database
from postroom.errors import PostroomError
from postroom.events import log
from postroom.events.model import Event, stream_of
from postroom.ids import AccountId, FolderId, TenantId
from postroom.mail.identity import Arrived, undecided
from postroom.mail.model import Came, Folder, Placed
from postroom.mail.store import folders, places, write
from postroom.providers import budget
from postroom.providers import store as budgets
from postroom.providers.model import RemoteFolder, RemoteItem
from postroom.providers.spent import Spent
from postroom.search import store as search

from . import news, store
from .model import NOT_STORABLE, TOO_LARGE, Counts, Cursor, Failure, Stored
from .plan import changed
from .prepare import Prepared, Raw
from .store import quarantine
from .workshop import Workshop

RETRY = timedelta(hours=1)
AT_ONCE = 1000  # messages that leave in one transaction
RETRY_FOLDER = timedelta(minutes=15)  # an hour when it is parked, for each failure doubles it
MEASURED = 2000  # messages stored by one sync, from which statistics are worth making and then reliable
REFUSED = (asyncpg.DataError, asyncpg.ProgramLimitExceededError, asyncpg.CharacterNotInRepertoireError)

logger = structlog.get_logger()


Tally: TypeAlias = Callable[[Connection, Stored], Awaitable[None]]
"""Counts what a transaction stores, in that transaction."""


async def nobody(_conn: Connection, _stored: Stored) -> None: ...


@dataclass(slots=True)
class Writer:
    """Writes one account's copy while its lease is held."""

    db: Database
    lease: Lease
    tenant: TenantId
    account: AccountId
    counts: Counts
    workshop: Workshop
    tally: Tally = nobody
    spent: Spent = field(default_factory=Spent)  # what the mailbox costs; written down now and then
    has_statistics: bool = False
    has_written: bool = False  # or tried to, something else than flags
    leaving: dict[FolderId, Sequence[int]] = field(default_factory=dict)  # what the server has there no more
    doubtful: frozenset[FolderId] = frozenset()  # what these numbered anew hold is not known yet
    later: dict[FolderId, set[int]] = field(default_factory=dict)  # what may have left one of those, by uid

    def is_leaving(self, folder: FolderId, uid: int) -> bool:
        gone = self.leaving.get(folder, ())
        if isinstance(gone, range):
            return uid in gone
        at = bisect_left(gone, uid)
        return at < len(gone) and gone[at] == uid

    @asynccontextmanager
    async def _writing(
        self, *, of_flags: bool = False
    ) -> AsyncIterator[tuple[Connection, list[Event], Stored]]:
        """What is written, told and counted together."""
        events, stored = list[Event](), Stored()
        self.has_written |= not of_flags
        async with self.db.transaction(self.tenant, lasting_plans=self.has_statistics) as conn:
            await leases.fence(conn, self.lease)
            yield conn, events, stored
            if stored.found or stored.done:
                await self.tally(conn, stored)
            if is_worth := budget.is_worth_writing(cost := self.spent.pending()):
                await budgets.spend(conn, self.tenant, self.account, cost)
            await log.append(conn, self.tenant, stream_of(self.account), events)
        if is_worth:
            self.spent.take(cost)
        self.counts.add(stored)

    async def folders(self, remotes: Sequence[RemoteFolder], known: Container[bytes]) -> list[Folder]:
        """Keep what the server says of these. Those that are not `known` by their name are new."""
        async with self._writing() as (conn, events, _):
            saved = [await folders.save(conn, self.tenant, self.account, remote) for remote in remotes]
            events += [news.of_folder("added", folder) for folder in saved if folder.name not in known]
        return saved

    async def rename(self, renamed: Sequence[tuple[Folder, RemoteFolder]]) -> list[Folder]:
        """These folders have other names now, and are what they were."""
        async with self._writing() as (conn, events, _):
            now = await folders.rename(conn, self.tenant, renamed)
            events += [news.of_folder("renamed", folder) for folder in now]
        return now

    async def messages(
        self, folder: Folder, validity: int, batch: Sequence[Prepared], *, old: datetime | None
    ) -> None:
        """Store a batch. A message that PostgreSQL will not take is parked with its raw bytes."""
        try:
            await self._messages(folder, batch, old=old)
        except REFUSED as error:
            if len(batch) == 1:
                reason = f"PostgreSQL does not take what was read from it: {told(error)}"
                await self.park(
                    folder, validity, batch[0].incoming.uid, NOT_STORABLE, reason, raw=batch[0].raw
                )
                return
            middle = len(batch) // 2
            await self.messages(folder, validity, batch[:middle], old=old)
            await self.messages(folder, validity, batch[middle:], old=old)
        if not self.has_statistics and self.counts.added >= MEASURED:
            async with self.db.transaction(self.tenant) as conn:
                self.has_statistics = await write.analyze(conn)

    async def _messages(self, folder: Folder, batch: Sequence[Prepared], *, old: datetime | None) -> None:
        async with self._writing() as (conn, events, stored):
            batch = await self._decided(conn, folder, batch)
            incoming = [mail.incoming for mail in batch]
            placed = await write.add(conn, self.tenant, self.account, folder, incoming, self.is_leaving)
            new = [(one, mail) for one, mail in zip(placed, batch, strict=True) if one.came is Came.ADDED]
            await blobs.keep(conn, self.tenant, [mail.packed for _, mail in new if mail.file is None])
            for _, mail in new:
                if mail.file is not None:
                    await blobs.keep_file(conn, self.tenant, mail.packed, mail.file)
            await search.add(conn, self.tenant, [mail.words_of(one.id) for one, mail in new])
            events += await self._unpark(conn, folder, [mail.uid for mail in incoming])
            backfill = {mail.uid for mail in incoming if old is not None and mail.received_at < old}
            events += news.of_placed(placed, folder, backfill=backfill)
            _count(stored, placed)
            stored.bytes = sum(mail.packed.size for _, mail in new)

    async def _decided(
        self, conn: Connection, folder: Folder, batch: Sequence[Prepared]
    ) -> Sequence[Prepared]:
        """Without the mail that will be asked for again, when it is known whether it moved here."""
        if not self.doubtful:
            return batch
        digests = [mail.incoming.digest for mail in batch]
        known = await places.known_content(conn, self.tenant, self.account, digests)
        waiting = undecided(folder.id, known, self.doubtful)
        self._put_off(folder, [mail.incoming.uid for mail in batch if mail.incoming.digest in waiting])
        return [mail for mail in batch if mail.incoming.digest not in waiting]

    def _put_off(self, folder: Folder, uids: Iterable[int]) -> None:
        self.later.setdefault(folder.id, set()).update(uids)

    async def place_known(self, folder: Folder, items: Sequence[RemoteItem]) -> set[int]:
        """Let those lie in a folder whose content we have, by the server's own id for it; return their uids.

        One of another size than what we have is not believed.
        """
        async with self._writing() as (conn, events, stored):
            objects = {item.object_id: item.size for item in items if item.object_id is not None}
            known = await places.known_objects(conn, self.tenant, self.account, folder.id, list(objects))
            known = [one for one in known if objects[str(one.key)] in {None, one.size}]
            waiting = undecided(folder.id, known, self.doubtful)
            later = {item.uid for item in items if item.object_id in waiting}
            arrived = [
                (item.uid, Arrived(item.object_id or "", (item.flags or frozenset()) - {"\\Recent"}))
                for item in items
                if item.uid not in later
            ]
            settled = await places.settle(conn, self.tenant, folder, arrived, known, self.is_leaving)
            placed = [one for one in settled if one is not None]
            events += await self._unpark(conn, folder, [one.uid for one in placed])
            events += news.of_placed(placed, folder)
            _count(stored, placed)
        self._put_off(folder, later)
        return {one.uid for one in placed} | later

    async def park(
        self,
        folder: Folder,
        validity: int,
        uid: int,
        code: str,
        reason: str,
        *,
        size: int | None = None,
        raw: Raw | None = None,
    ) -> None:
        """Set one message aside, so that the rest goes on. Its bytes are kept where they came."""
        failure = Failure(validity, code, reason, size)
        async with self._writing() as (conn, events, stored):
            if raw is not None:
                await self._keep(conn, raw)
                packed = raw.packed
                failure = Failure(
                    validity, code, reason, packed.size, packed.digest, raw.flags, raw.received_at
                )
            is_new, replaced = await store.park(conn, self.tenant, folder.id, uid, failure, RETRY)
            await blobs.release(conn, self.tenant, replaced)
            if is_new:
                events.append(news.of_parked(folder, uid, code))
            stored.parked = stored.done = 1
        logger.warning("sync.parked", account=self.account, folder=folder.id, uid=uid, code=code)

    async def _keep(self, conn: Connection, raw: Raw) -> None:
        if raw.file is None:
            await blobs.keep(conn, self.tenant, [raw.packed])
        else:
            await blobs.keep_file(conn, self.tenant, raw.packed, raw.file)

    async def fail_folder(self, folder: Folder, error: PostroomError, *, times: int) -> None:
        """Count so many failures of a folder. None of them: it is merely suspected."""
        async with self._writing() as (conn, events, _):
            is_new = await quarantine.fail(
                conn,
                self.tenant,
                folder.id,
                code=error.code,
                reason=error.message,
                times=times,
                retry=RETRY_FOLDER,
            )
            if is_new:
                events.append(news.of_folder_parked(folder, error.code))

    async def mend_folder(self, folder: Folder) -> None:
        """Forget a folder's failures."""
        async with self._writing() as (conn, events, _):
            if await quarantine.mend(conn, self.tenant, folder.id):
                events.append(news.of_folder_released(folder))

    async def suspect(self, folder: Folder, validity: int, uids: Sequence[int], reason: str) -> None:
        """The server broke off when it was asked for these."""
        async with self._writing() as (conn, _, _):
            await store.suspect(conn, self.tenant, folder.id, uids, validity=validity, reason=reason)

    async def flags(self, folder: Folder, flags: Mapping[int, frozenset[str]]) -> None:
        async with self._writing(of_flags=True) as (conn, events, stored):
            found = await places.set_flags(conn, self.tenant, folder.id, flags)
            events += news.of_flags(found, flags, folder)
            stored.flags_changed = len(found)

    async def only_flags(self, folder: Folder, now: Mapping[int, frozenset[str]], cursor: Cursor) -> bool:
        """Apply what differs of these flags and move the cursor, if we have all of that mail; whether so."""
        async with self._writing(of_flags=True) as (conn, events, stored):
            known = await folders.flags(conn, self.tenant, folder.id, list(now))
            if len(known) < len(now):
                return False
            if different := changed(known, now):
                found = await places.set_flags(conn, self.tenant, folder.id, different)
                events += news.of_flags(found, different, folder)
                stored.flags_changed = len(found)
            await store.move(conn, self.tenant, folder.id, cursor)
        return True

    async def begin(self, folder: Folder, validity: int) -> Cursor:
        """Begin a folder's copy under this validity, known before the first message is stored under it.

        Numbers given under another are worthless: those messages lie there under unknown ones until they are
        found again.
        """
        async with self._writing() as (conn, events, _):
            had = await places.unnumber(conn, self.tenant, folder.id)
            events += await self._unpark(conn, folder, None)
            cursor = Cursor.begun(validity, had)
            await store.move(conn, self.tenant, folder.id, cursor)
            if had:
                events.append(news.of_folder("renumbered", folder))
        return cursor

    async def finish(
        self, folder: Folder, removed: Sequence[int], cursor: Cursor | None, *, is_renumbered: bool
    ) -> None:
        """Take what is gone out of a folder and move its cursor, together.

        What was not found again in a folder with new numbers is gone, unless some of its mail cannot be had.
        """
        if is_renumbered:
            removed = [*removed, *await self.not_found_again(folder)]
        last = max(len(removed) - 1, 0) // AT_ONCE * AT_ONCE
        for start in range(0, last + 1, AT_ONCE):
            async with self._writing() as (conn, events, stored):
                await self._displace(conn, events, stored, folder, removed[start : start + AT_ONCE])
                if cursor is not None and start == last:
                    await store.move(conn, self.tenant, folder.id, cursor)

    async def not_found_again(self, folder: Folder) -> Sequence[int]:
        """What stands for the numbers of mail that a folder with new numbers does not hold any more."""
        async with self.db.transaction(self.tenant) as conn:
            if await store.is_waiting(conn, self.tenant, folder.id, TOO_LARGE):
                return ()
            return await places.unnumbered(conn, self.tenant, folder.id)

    async def _displace(
        self, conn: Connection, events: list[Event], stored: Stored, folder: Folder, uids: Sequence[int]
    ) -> None:
        if uids:
            displaced = await places.displace(conn, self.tenant, folder, uids)
            events += news.of_displaced(displaced, folder)
            stored.removed += len(displaced)

    async def forget_folder(self, folder: Folder) -> None:
        """The server has this folder no more. Its messages may lie elsewhere."""
        async with self.db.transaction(self.tenant) as conn:
            uids = await folders.all_uids(conn, self.tenant, folder.id)
        for start in range(0, len(uids), AT_ONCE):
            async with self._writing() as (conn, events, stored):
                await self._displace(conn, events, stored, folder, uids[start : start + AT_ONCE])
        async with self._writing() as (conn, events, _):
            events += await self._unpark(conn, folder, None)
            if await quarantine.mend(conn, self.tenant, folder.id):
                events.append(news.of_folder_released(folder))
            await folders.remove(conn, self.tenant, folder.id)
            events.append(news.of_folder("removed", folder))

    async def unpark(self, folder: Folder, uids: Sequence[int]) -> None:
        """Forget that these wait: the server has them no more."""
        async with self._writing() as (conn, events, _):
            events += await self._unpark(conn, folder, uids)

    async def _unpark(self, conn: Connection, folder: Folder, uids: Sequence[int] | None) -> list[Event]:
        released = await store.release(conn, self.tenant, folder.id, uids)
        await blobs.release(conn, self.tenant, [mail.digest for mail in released if mail.digest is not None])
        return news.of_released(released, folder)

    async def purge(self, after: timedelta) -> None:
        """Delete the messages that have lain in no folder for so long, now that all have been looked at."""
        purged = AT_ONCE
        while purged == AT_ONCE:
            purged = await self._purge(after)

    async def _purge(self, after: timedelta) -> int:
        async with self._writing() as (conn, events, _):
            purged = await places.purge(conn, self.tenant, self.account, after, AT_ONCE)
            await search.remove(conn, self.tenant, [mail.id for mail in purged])
            await blobs.release(conn, self.tenant, [mail.digest for mail in purged])
            events += news.of_purged(purged)
            self.counts.unplaced = await places.unplaced(conn, self.tenant, self.account)
        return len(purged)

    async def compared(self, took: timedelta, *, is_equal: bool, is_first: bool) -> None:
        """Every message and every flag was compared, which `took` so long up to now."""
        async with self._writing() as (conn, events, _):
            await accounts.mark_compared(conn, self.tenant, self.account, took, is_equal=is_equal)
            if is_first:
                account = await accounts.get_by_id(conn, self.tenant, self.account)
                events.append(Event("sync.completed_first", {"account": str(account.public_id)}))


def _count(stored: Stored, placed: Sequence[Placed]) -> None:
    stored.added = sum(one.came is Came.ADDED for one in placed)
    stored.moved = sum(one.came is Came.MOVED for one in placed)
    stored.done = len(placed)
