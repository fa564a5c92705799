"""Read stored mail again after a change of the parser, from its raw bytes and without the server.

    newest message of an older parser -> bytes -> read (workshop) -> what differs is stored, and told
    parked messages whose bytes are kept -> read -> stored as a sync stores them, or parked once more

A message that was read is marked with the parser's version in the transaction that stores it, so that
whatever ends this, the next call goes on there. Where all mail is read again the place is remembered instead.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from tempfile import TemporaryFile
from typing import BinaryIO

import structlog

from postroom.accounts.model import Account
from postroom.blobs import store as blobs
from postroom.blobs.store import NoSuchBlob
from postroom.db import leases
from postroom.db.failures import told
from postroom.db.model import Lease
from postroom.db.pool import Database
from postroom.events import log
from postroom.events.model import stream_of
from postroom.ids import FolderId, MessageId, TenantId
from postroom.mail import content
from postroom.mail.model import PARSER, Folder
from postroom.mail.store import folders
from postroom.mail.store import reread as mail
from postroom.mail.store.reread import Again, Source
from postroom.providers.model import RemoteItem, RemoteMessage
from postroom.search import store as search

from . import news
from .model import NOT_READABLE, Counts, key
from .pipeline import REASON
from .prepare import Prepared
from .store import reread as store
from .store.reread import KeptMail
from .workshop import MANY, Workshop
from .write import REFUSED, Writer

BATCH_MESSAGES = 100
BATCH_BYTES = 8 << 20
LARGE = 4 << 20  # bytes; larger messages pass through a temporary file
ALL = PARSER + 1
NEWEST = (datetime.max.replace(tzinfo=UTC), MessageId((1 << 63) - 1))

logger = structlog.get_logger()


@dataclass(slots=True)
class Tally:
    """What reading an account's mail again has come to; all of it only grows."""

    counts: Counts = field(default_factory=Counts)
    changed: int = 0  # messages of which something stored differed
    released: int = 0  # parked messages that are ordinary ones now
    unreadable: int = 0  # left as they were: they cannot be read, or their bytes are damaged

    @property
    def read(self) -> int:
        """Stored messages that were read."""
        return self.counts.done - self.released - self.counts.parked - self.unreadable


async def reread(
    db: Database, account: Account, workshop: Workshop, tally: Tally, *, everything: bool = False
) -> None:
    """Read what an older parser has read, or `everything`; `tally` tells how far it is.

    No sync of the account runs meanwhile. Raises `LeaseHeld` while one does.
    """
    async with leases.holding(db, account.tenant_id, key(account.id)) as lease:
        run = _Reread(db, lease, account, workshop, tally)
        await run.messages(everything=everything)
        await run.parked()


class _Reread:
    """One account, read again."""

    def __init__(
        self, db: Database, lease: Lease, account: Account, workshop: Workshop, tally: Tally
    ) -> None:
        self._db, self._lease, self._account = db, lease, account
        self._workshop, self._tally = workshop, tally
        self._tenant, self._id = account.tenant_id, account.id
        # Reading asks a folder only for its account.
        self._folder = Folder(FolderId(0), account.public_id, account.id, b"", "", None, selectable=False)

    async def messages(self, *, everything: bool) -> None:
        async with self._db.transaction(self._tenant) as conn:
            below = ALL if everything else PARSER
            place = await store.reached(conn, self._tenant, self._id) if everything else None
            counts = self._tally.counts
            counts.total = await mail.count(conn, self._tenant, self._id, below=below)
        place = place or NEWEST
        while sources := await self._next(below, place):
            async with self._contents(sources) as batch:
                await self._batch(batch)
            place = (sources[-1].received_at, sources[-1].id)
            counts.done += len(sources)
            counts.bytes += sum(source.size for source in sources)
            if everything:
                async with self._db.transaction(self._tenant) as conn:
                    await leases.fence(conn, self._lease)
                    await store.reach(conn, self._tenant, self._id, place)
        if everything:
            async with self._db.transaction(self._tenant) as conn:
                await leases.fence(conn, self._lease)
                await store.done(conn, self._tenant, self._id)

    async def _next(self, below: int, place: store.Place) -> list[Source]:
        """As many as memory can hold, at least one if there is one."""
        async with self._db.transaction(self._tenant) as conn:
            found = await mail.outdated(
                conn, self._tenant, self._id, below=below, before=place, limit=BATCH_MESSAGES
            )
        chosen: list[Source] = []
        room = BATCH_BYTES
        for source in found:
            if chosen and min(source.size, LARGE) > room:
                break
            chosen.append(source)
            room -= min(source.size, LARGE)
        return chosen

    @asynccontextmanager
    async def _contents(self, sources: Sequence[Source]) -> AsyncIterator[list[tuple[Source, RemoteMessage]]]:
        """The raw bytes of each, as they would come from a server, numbered as the messages are."""
        batch: list[tuple[Source, RemoteMessage]] = []
        try:
            for source in sources:
                try:
                    raw = await _content(self._db, self._tenant, source.digest, source.size)
                except NoSuchBlob:
                    self._left(source, "its bytes are gone")
                    continue
                batch.append((source, RemoteMessage(source.id, raw, source.size)))
            yield batch
        finally:
            for _, message in batch:
                if not isinstance(message.content, bytes):
                    message.content.close()

    async def _batch(self, batch: Sequence[tuple[Source, RemoteMessage]]) -> None:
        if not batch:
            return
        pairs = [
            (message, RemoteItem(message.uid, frozenset(), message.size, source.received_at))
            for source, message in batch
        ]
        is_many = self._tally.counts.total - self._tally.counts.done > MANY
        work = self._workshop.prepare(self._tenant, self._folder, pairs, many=is_many)
        try:
            try:
                read = await work.done()
            except BrokenProcessPool:
                read, _ = await self._workshop.prepare_singly(self._tenant, self._folder, pairs)
            found = {prepared.incoming.uid: prepared for prepared in read}
            whole = []
            for source, _ in batch:
                prepared = found.get(source.id)
                if prepared is None:
                    self._left(source, "reading it ends the process that reads")
                elif prepared.incoming.digest != source.digest:
                    self._left(source, "its bytes are not those that were stored")
                else:
                    whole.append((source, prepared))
            await self._store(whole)
        finally:
            work.close()

    async def _store(self, read: Sequence[tuple[Source, Prepared]]) -> None:
        """Those that PostgreSQL will not take stay as they were."""
        if not read:
            return
        try:
            await self._write(read)
        except REFUSED as error:
            if len(read) == 1:
                self._left(read[0][0], told(error))
                return
            middle = len(read) // 2
            await self._store(read[:middle])
            await self._store(read[middle:])

    async def _write(self, read: Sequence[tuple[Source, Prepared]]) -> None:
        again = [Again(source.id, source.received_at, prepared.incoming.kept) for source, prepared in read]
        async with self._db.transaction(self._tenant) as conn:
            await leases.fence(conn, self._lease)
            changed = await mail.rewrite(conn, self._tenant, self._id, again)
            words = [prepared.words_of(source.id) for source, prepared in read]
            await search.reindex(conn, self._tenant, words)
            await log.append(conn, self._tenant, stream_of(self._id), news.of_reread(changed))
        self._tally.changed += len(changed)

    def _left(self, source: Source, why: str) -> None:
        self._tally.unreadable += 1
        logger.warning("sync.not_reread", account=self._id, message=source.id, why=why)

    async def parked(self) -> None:
        """Try parked messages whose bytes are kept."""
        writer = Writer(self._db, self._lease, self._tenant, self._id, self._tally.counts, self._workshop)
        async with self._db.transaction(self._tenant) as conn:
            known = await folders.listed(conn, self._tenant, self._id)
        by_id = {folder.id: folder for folder in known.values()}
        after = 0
        while True:
            async with self._db.transaction(self._tenant) as conn:
                entries = await store.kept(conn, self._tenant, self._id, after, BATCH_MESSAGES)
            if not entries:
                return
            for entry in entries:
                after = entry.number
                self._tally.counts.total += 1
                await self._parked(writer, by_id[entry.folder], entry)

    async def _parked(self, writer: Writer, folder: Folder, entry: KeptMail) -> None:
        raw = await _content(self._db, self._tenant, entry.digest, entry.size)
        message = RemoteMessage(entry.uid, raw, entry.size, frozenset(entry.flags), entry.received_at)
        item = RemoteItem(entry.uid, None)
        try:
            prepared = await self._read_alone(folder, message, item)
            if prepared is None:
                await writer.park(folder, entry.validity, entry.uid, NOT_READABLE, REASON)
                return
            async with self._db.transaction(self._tenant) as conn:
                await leases.fence(conn, self._lease)
                await store.doubt(conn, self._tenant, folder.id)
            parked = writer.counts.parked
            old = self._account.created_at if entry.is_backfill else None
            await writer.messages(folder, entry.validity, [prepared], old=old)
            self._tally.released += writer.counts.parked == parked
        finally:
            if not isinstance(raw, bytes):
                raw.close()

    async def _read_alone(self, folder: Folder, message: RemoteMessage, item: RemoteItem) -> Prepared | None:
        """In a process that it may end; None if it did. What is in a file stays in this one, as in a sync."""
        if isinstance(message.content, bytes):
            read, _ = await self._workshop.prepare_singly(self._tenant, folder, [(message, item)])
        else:
            read = await self._workshop.prepare(self._tenant, folder, [(message, item)], many=False).done()
        return read[0] if read else None


async def _content(db: Database, tenant: TenantId, digest: bytes, size: int) -> bytes | BinaryIO:
    """Raises `NoSuchBlob`. Whoever gets a file closes it."""
    if size <= LARGE:
        async with db.transaction(tenant) as conn:
            return await blobs.read_all(conn, tenant, digest)
    with ExitStack() as stack:
        file = stack.enter_context(TemporaryFile())
        async for piece in content.read(db, tenant, digest, 0, size):
            await asyncio.to_thread(file.write, piece)
        stack.pop_all()
    return file
