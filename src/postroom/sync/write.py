"""The transactions of a sync. Each is short, checks the lease first and appends to the log last.

No transaction is open while we wait for a server.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import structlog

from postroom.blobs import store as blobs
from postroom.db import leases
from postroom.db.model import Lease
from postroom.db.pool import Connection, Database
from postroom.events import log
from postroom.events.model import Event, stream_of
from postroom.ids import AccountId, TenantId
from postroom.mail.model import Folder
from postroom.mail.store import folders, write
from postroom.providers.model import RemoteFolder
from postroom.search import store as search

from . import news, store
from .model import Counts, Cursor
from .prepare import Prepared
from .workshop import Workshop

RETRY = timedelta(hours=1)
MEASURED = 2000  # messages stored by one sync, from which statistics are worth making and then reliable
REFUSED = (asyncpg.DataError, asyncpg.ProgramLimitExceededError, asyncpg.CharacterNotInRepertoireError)

logger = structlog.get_logger()


@dataclass(slots=True)
class Writer:
    """Writes one account's copy while its lease is held."""

    db: Database
    lease: Lease
    tenant: TenantId
    account: AccountId
    counts: Counts
    workshop: Workshop
    has_statistics: bool = False

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[tuple[Connection, list[Event]]]:
        events: list[Event] = []
        async with self.db.transaction(self.tenant, lasting_plans=self.has_statistics) as conn:
            await leases.fence(conn, self.lease)
            yield conn, events
            await log.append(conn, self.tenant, stream_of(self.account), events)

    async def folder(self, remote: RemoteFolder, *, is_new: bool) -> Folder:
        async with self._writing() as (conn, events):
            folder = await folders.save(conn, self.tenant, self.account, remote)
            if is_new:
                events.append(news.of_folder("added", folder))
        return folder

    async def messages(
        self, folder: Folder, validity: int, batch: Sequence[Prepared], *, backfill: bool
    ) -> None:
        """Store a batch. A message that PostgreSQL will not take is parked with its raw bytes."""
        try:
            await self._messages(folder, batch, backfill=backfill)
        except REFUSED as error:
            if len(batch) == 1:
                await self.park(
                    folder, validity, batch[0].incoming.uid, "sync.not_storable", str(error), batch[0]
                )
                return
            middle = len(batch) // 2
            await self.messages(folder, validity, batch[:middle], backfill=backfill)
            await self.messages(folder, validity, batch[middle:], backfill=backfill)
        if not self.has_statistics and self.counts.added >= MEASURED:
            async with self.db.transaction(self.tenant) as conn:
                self.has_statistics = await write.analyze(conn)

    async def _messages(self, folder: Folder, batch: Sequence[Prepared], *, backfill: bool) -> None:
        async with self._writing() as (conn, events):
            added = await write.add(conn, self.tenant, self.account, [mail.incoming for mail in batch])
            new = [(row, mail) for row, mail in zip(added, batch, strict=True) if row.is_new]
            await blobs.keep(conn, self.tenant, [mail.packed for _, mail in new if mail.file is None])
            for _, mail in new:
                if mail.file is not None:
                    await blobs.keep_file(conn, self.tenant, mail.packed, mail.file)
            await search.add(conn, self.tenant, [mail.words_of(row.id) for row, mail in new])
            await self._unpark(conn, folder, [mail.incoming.uid for mail in batch])
            events += news.of_added(added, folder, backfill=backfill)
        self.counts.added += len(new)
        self.counts.done += len(batch)

    async def park(
        self, folder: Folder, validity: int, uid: int, code: str, reason: str, mail: Prepared | None = None
    ) -> None:
        """Set one message aside, so that the rest goes on."""
        async with self._writing() as (conn, events):
            if mail is not None and mail.file is None:
                await blobs.keep(conn, self.tenant, [mail.packed])
            attempts, replaced = await store.park(
                conn,
                self.tenant,
                folder.id,
                uid,
                validity=validity,
                code=code,
                reason=reason,
                digest=mail.packed.digest if mail is not None and mail.file is None else None,
                retry=RETRY,
            )
            await blobs.release(conn, self.tenant, replaced)
            if attempts == 1:
                parked = {"folder": str(folder.public_id), "uid": uid, "code": code}
                events.append(Event("sync.parked", parked))
        self.counts.parked += 1
        self.counts.done += 1
        logger.warning("sync.parked", account=self.account, folder=folder.id, uid=uid, code=code)

    async def suspect(self, folder: Folder, validity: int, uids: Sequence[int], reason: str) -> None:
        """The server broke off when it was asked for these."""
        async with self._writing() as (conn, _):
            await store.suspect(conn, self.tenant, folder.id, uids, validity=validity, reason=reason)

    async def flags(self, folder: Folder, flags: Mapping[int, frozenset[str]]) -> None:
        async with self._writing() as (conn, events):
            changed = await write.set_flags(conn, self.tenant, folder.id, flags)
            events += news.of_flags(changed, flags, folder)
        self.counts.flags_changed += len(changed)

    async def begin(self, folder: Folder, validity: int) -> Cursor:
        """Begin a folder's copy under this validity, known before the first message is stored under it.

        Numbers given under another are worthless: those messages lie nowhere until they are found again.
        """
        cursor = Cursor.begun(validity)
        async with self._writing() as (conn, events):
            uids = await folders.uids(conn, self.tenant, folder.id)
            await write.displace(conn, self.tenant, folder.id, uids)
            await self._unpark(conn, folder, None)
            await store.move(conn, self.tenant, folder.id, cursor)
            if uids:
                events.append(news.of_folder("renumbered", folder))
        return cursor

    async def finish(self, folder: Folder, removed: Sequence[int], cursor: Cursor | None) -> None:
        """Take what is gone out of a folder and move its cursor, together."""
        async with self._writing() as (conn, events):
            if removed:
                displaced = await write.displace(conn, self.tenant, folder.id, removed)
                events += news.of_displaced(displaced, folder)
                self.counts.removed += len(displaced)
            if cursor is not None:
                await store.move(conn, self.tenant, folder.id, cursor)

    async def forget_folder(self, folder: Folder) -> None:
        """The server has this folder no more. Its messages may lie elsewhere."""
        async with self._writing() as (conn, events):
            uids = await folders.uids(conn, self.tenant, folder.id)
            displaced = await write.displace(conn, self.tenant, folder.id, uids)
            await self._unpark(conn, folder, None)
            await folders.remove(conn, self.tenant, folder.id)
            events += news.of_displaced(displaced, folder)
            events.append(news.of_folder("removed", folder))
        self.counts.removed += len(displaced)

    async def unpark(self, folder: Folder, uids: Sequence[int]) -> None:
        """Forget that these wait: the server has them no more."""
        async with self._writing() as (conn, _):
            await self._unpark(conn, folder, uids)

    async def _unpark(self, conn: Connection, folder: Folder, uids: Sequence[int] | None) -> None:
        released = await store.release(conn, self.tenant, folder.id, uids)
        await blobs.release(conn, self.tenant, released)

    async def purge(self, after: timedelta = timedelta()) -> None:
        """Delete the messages that have lain in no folder for so long, now that all have been looked at."""
        async with self._writing() as (conn, events):
            purged = await write.purge(conn, self.tenant, self.account, after)
            await search.remove(conn, self.tenant, [mail.id for mail in purged])
            await blobs.release(conn, self.tenant, [mail.digest for mail in purged])
            events += news.of_purged(purged)
