"""Sync one account: every folder, newest mail first, under the account's lease.

    folders -> renames -> look at each -> newest of all -> newest of each
            -> the rest, and the inbox now and then -> finish

The connection is one conversation, so folders take turns. Nothing here is kept between two syncs but rows.
"""

import asyncio
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic

import structlog

from postroom.accounts.model import Account, Throttle
from postroom.accounts.scope import wants
from postroom.db.model import Lease
from postroom.db.pool import Database
from postroom.errors import PostroomError
from postroom.ids import FolderId
from postroom.mail.model import Folder
from postroom.mail.store import folders, places
from postroom.providers.model import (
    FolderGone,
    FolderRole,
    Incomplete,
    Mailbox,
    RemoteFolder,
    SentAway,
    ServerRefused,
    Unreachable,
)
from postroom.providers.spent import Spent

from . import store
from .allowance import Allowance, HeldBack
from .failing import Failing
from .folder import copy_newest, copy_suspects, look_again, received
from .look import FolderCopy, Wish, look, unchanged
from .model import FOLDER_PARKED, TOO_LARGE, Counts, Cursor, Parked, Skipped
from .newest import newest
from .pipeline import Pipeline
from .plan import Way, way
from .renames import renames
from .workshop import Workshop
from .write import Tally, Writer

FIRST = 200  # messages of all folders, and then of each, that come before anything older
PATIENCE = timedelta(days=30)  # how long mail that lies nowhere is kept while some of the server's is parked
TURN = 1000  # messages of a folder before the inbox is looked at again
ORDER = (FolderRole.INBOX, FolderRole.SENT, FolderRole.DRAFTS, FolderRole.ARCHIVE)
UNSURE = Incomplete("It may be a folder that had another name; its messages could not be compared yet.")
MISSED = Incomplete("The server left this folder out of its list; nothing is concluded from that.")
EVERYTHING = range(-(1 << 63), 1 << 63)  # every uid, those that stand for an unknown one as well
EVER = datetime.max.replace(tzinfo=UTC)

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Manner:
    """How a sync is done."""

    full: bool = False  # compare everything, whatever the server's numbers say
    grace: timedelta = timedelta(seconds=60)  # how long mail that lies nowhere may have moved
    pause: timedelta = timedelta(seconds=30)  # between two logins, when one came to nothing


async def sync_account(
    db: Database,
    account: Account,
    lease: Lease,
    mailbox: Mailbox,
    counts: Counts,
    workshop: Workshop,
    manner: Manner,
    tally: Tally,
    spent: Spent,
) -> None:
    """Make the copy equal to the mailbox, while the lease is held. `counts` tells how far it is, as it goes,
    `spent` what the mailbox costs: mail that would cost too much today is left to another day.

    Raises whatever the provider raises; then what was stored stays stored, and the next sync goes on from
    there.
    """
    writer = Writer(db, lease, account.tenant_id, account.id, counts, workshop, tally, spent)
    await _Run(mailbox, writer, account, manner).run()


class _Run:
    """One sync of one account."""

    def __init__(self, mailbox: Mailbox, writer: Writer, account: Account, manner: Manner) -> None:
        self._mailbox, self._writer, self._account, self._manner = mailbox, writer, account, manner
        # Servers tell whole seconds.
        old = EVER if account.compared_at is None else account.created_at.replace(microsecond=0)
        self._wish = Wish(account.scope, old, manner.full)
        self._pipeline = Pipeline(writer, Allowance(writer.db, account, writer.spent))
        self._counts = writer.counts
        self._copies: list[FolderCopy] = []
        self._waits = self._is_unplaced = False
        self._failing = Failing(writer, {})

    async def run(self) -> None:
        began = monotonic()
        listing = asyncio.ensure_future(self._mailbox.folders())
        try:
            known, cursors, parked = await self._stored()
            listed = await listing
        finally:
            listing.cancel()
            await asyncio.gather(listing, return_exceptions=True)
        chosen = [
            remote for remote in listed if remote.selectable and wants(self._account.scope, remote.path)
        ]
        chosen.sort(key=_rank)
        self._counts.folders = len(chosen)
        known, gone, unsure = await self._folders(known, cursors, listed, chosen)
        chosen = [remote for remote in chosen if remote.name not in unsure]
        pairs = list(zip(chosen, await self._saved(chosen, known), strict=True))
        for some in self._failing.parted(pairs, cursors):
            for remote, folder in some:
                await self._look(folder, remote, cursors.get(folder.id), parked.get(folder.id, ()))
            await self._bring(gone)
            gone = []
        if all(folder.code == FOLDER_PARKED for folder in self._counts.skipped):
            await self._conclude(began)

    async def _bring(self, gone: Sequence[Folder]) -> None:
        """Copy what the folders that have been looked at need, and forget what has gone."""
        self._writer.leaving = {copy.folder.id: copy.removed for copy in self._copies}
        self._writer.leaving |= {folder.id: EVERYTHING for folder in gone}
        self._writer.doubtful = frozenset(copy.folder.id for copy in self._copies if copy.is_renumbered)
        async with self._pipeline.running():
            try:
                await self._copy()
            except PostroomError:
                await self._pipeline.drain()  # what has arrived need not be fetched again
                raise
            await self._pipeline.drain()
        for folder in gone:
            await self._writer.forget_folder(folder)
        for copy in self._copies:
            await self._finish(copy)

    async def _conclude(self, began: float) -> None:
        """Everything has been looked at. What is parked may be mail that we have and that moved.

        Nobody else changes this under our lease: who has written nothing finds it as it was.
        """
        has_written = self._writer.has_written
        is_waiting = await self._is_waiting() if has_written else self._waits
        if has_written or self._is_unplaced:
            await self._writer.purge(PATIENCE if is_waiting else self._manner.grace)
        if self._copies and all(copy.is_compared for copy in self._copies):
            # Without a validity equal numbers may be those of other mail.
            is_equal = not is_waiting and all(copy.validity for copy in self._copies)
            took, is_first = timedelta(seconds=monotonic() - began), self._account.compared_at is None
            await self._writer.compared(took, is_equal=is_equal, is_first=is_first)

    async def _folders(
        self,
        known: Mapping[bytes, Folder],
        cursors: Mapping[FolderId, Cursor],
        listed: Sequence[RemoteFolder],
        chosen: Sequence[RemoteFolder],
    ) -> tuple[Mapping[bytes, Folder], list[Folder], set[bytes]]:
        """Follow renames; return the folders by the names that they have now, those that are gone, and the
        names of which nobody knows yet whether they are new.

        A folder is gone that two listings lack, or one and the server when asked for it. An empty list is a
        server's mistake, not its mailbox. One that is deleted while others lie below it stays in the list as
        a name that holds no mail.
        """
        found = await renames(self._mailbox, self._writer, known, cursors, chosen)
        now = dict(known)
        if found.pairs:
            taken, moved = {remote.name for _, remote in found.pairs}, {old.name for old, _ in found.pairs}
            for name in sorted((taken & known.keys()) - moved):
                await self._writer.forget_folder(now.pop(name))
            for name in moved:
                del now[name]
            now |= {folder.name: folder for folder in await self._writer.rename(found.pairs)}
        gone = now.keys() - {remote.name for remote in listed if remote.selectable} - found.undecided
        missed = found.undecided - {remote.name for remote in listed}
        if gone and listed:
            again = await self._not_gone({name: now[name] for name in gone})
            gone -= again
            missed |= again
        for name in sorted(missed):  # nobody looks at these in this sync: that shall be known
            self._skip(known[name].path, MISSED)
        for remote in chosen:
            if remote.name in found.unsure:
                self._skip(remote.path, UNSURE)
        return now, [now[name] for name in sorted(gone)] if listed else [], found.unsure

    async def _not_gone(self, missed: Mapping[bytes, Folder]) -> set[bytes]:
        """Those that a second listing has; who refuses one is asked for each folder by its name."""
        try:
            return missed.keys() & {one.name for one in await self._mailbox.folders() if one.selectable}
        except SentAway:
            raise
        except (Incomplete, ServerRefused):
            return {name for name, folder in missed.items() if not await self._is_gone(folder)}

    async def _is_gone(self, folder: Folder) -> bool:
        try:
            await self._mailbox.open(RemoteFolder(folder.name, folder.path))
        except FolderGone:
            return True
        except (Incomplete, ServerRefused) as error:
            if isinstance(error, SentAway):
                raise
        return False

    async def _stored(
        self,
    ) -> tuple[Mapping[bytes, Folder], Mapping[FolderId, Cursor], Mapping[FolderId, Sequence[Parked]]]:
        writer = self._writer
        waiting: dict[FolderId, list[Parked]] = {}
        async with writer.db.transaction(writer.tenant, lasting_plans=True) as conn:
            known = await folders.listed(conn, writer.tenant, writer.account)
            cursors = await store.cursors(conn, writer.tenant, writer.account)
            parked = await store.parked(conn, writer.tenant, writer.account)
            self._is_unplaced = await places.unplaced(conn, writer.tenant, writer.account) > 0
        self._waits = _waits(parked)
        for entry in parked:
            if entry.uid:
                waiting.setdefault(entry.folder_id, []).append(entry)
        self._failing = Failing(writer, {entry.folder_id: entry for entry in parked if not entry.uid})
        return known, cursors, waiting

    async def _is_waiting(self) -> bool:
        """Whether some mail could not be had; what is too large was not wanted."""
        writer = self._writer
        async with writer.db.transaction(writer.tenant) as conn:
            return _waits(await store.parked(conn, writer.tenant, writer.account))

    async def _saved(
        self, remotes: Sequence[RemoteFolder], known: Mapping[bytes, Folder]
    ) -> Sequence[Folder]:
        """Each as it is stored, once what is new of them has been written, together."""
        differ = [remote for remote in remotes if not is_kept(remote, known.get(remote.name))]
        saved = await self._writer.folders(differ, known) if differ else []
        now = {**known, **{folder.name: folder for folder in saved}}
        return [now[remote.name] for remote in remotes]

    async def _look(
        self, folder: Folder, remote: RemoteFolder, cursor: Cursor | None, parked: Sequence[Parked]
    ) -> None:
        """See what a folder needs, by the list alone where that is enough."""
        is_waiting = any(entry.is_due for entry in parked)
        is_wanted = is_waiting or self._wish.full
        if cursor and remote.status and not is_wanted and way(cursor, remote.status) is Way.NOTHING:
            self._copies.append(unchanged(folder, remote, cursor, self._wish.scope))
            return
        if (left := self._failing.left_alone(folder)) is not None:
            self._counts.skipped.append(left)
            return
        async with self._skipping(folder):
            try:
                copy = await look(self._mailbox, self._writer, folder, remote, cursor, parked, self._wish)
            except Unreachable as error:
                await self._failing.broke_off(folder, error)
                raise
            self._failing.is_of_use = True
            self._copies.append(copy)
            self._counts.total += len(copy.todo) + len(copy.suspects)

    async def _copy(self) -> None:
        """The newest of all first, then of every folder; the rest, while new mail comes in; doubtful last."""
        await self._copy_newest_of_all()
        inbox = next((copy for copy in self._copies if copy.folder.role == FolderRole.INBOX), None)
        for copy in self._copies:
            if copy.todo:
                await self._turn(copy, partial(copy_newest, most=FIRST))
        for copy in self._copies:
            while copy.todo:
                await self._turn(copy, partial(copy_newest, most=TURN))
                if inbox is not None:
                    async with self._skipping(inbox.folder):
                        await look_again(self._mailbox, self._pipeline, inbox)
        for copy in self._copies:
            if copy.suspects:
                await self._turn(copy, copy_suspects)
        if self._writer.doubtful:
            await self._copy_later()

    async def _copy_newest_of_all(self) -> None:
        """Where one folder is copied, or few messages, its turn brings the newest anyway."""
        copies = [copy for copy in self._copies if copy.todo]
        if len(copies) < 2 or sum(len(copy.todo) for copy in copies) <= FIRST:
            return

        async def describe(copy: FolderCopy, uids: Sequence[int]) -> Sequence[datetime | None]:
            async with self._skipping(copy.folder):
                return await received(self._mailbox, copy, uids)
            self._put_off(copy)
            return ()

        for copy, most in await newest(copies, FIRST, describe):
            await self._turn(copy, partial(copy_newest, most=most, at_once=True))
        await self._pipeline.drain()  # what is older would compete with them

    async def _copy_later(self) -> None:
        """What may have left a folder that is numbered anew: now it is known what still lies there."""
        writer = self._writer
        await self._pipeline.drain()
        for copy in self._copies:
            if copy.is_renumbered:
                gone = await writer.not_found_again(copy.folder)
                writer.leaving[copy.folder.id] = sorted([*copy.removed, *gone])
        writer.doubtful = frozenset()
        for copy in self._copies:
            if later := writer.later.pop(copy.folder.id, None):
                copy.todo = array("I", sorted(later))
                await self._turn(copy, partial(copy_newest, most=len(later)))

    async def _turn(self, copy: FolderCopy, step: Callable[..., Awaitable[None]]) -> None:
        async with self._skipping(copy.folder):
            await step(self._mailbox, self._pipeline, copy)
            is_last = not self._writer.doubtful and not copy.is_renumbered
            if is_last and not copy.todo and not copy.suspects and not copy.removed:
                await self._pipeline.then(partial(self._finish, copy))
            return
        self._put_off(copy)

    def _put_off(self, copy: FolderCopy) -> None:
        copy.put_off()
        self._writer.leaving.pop(copy.folder.id, None)
        self._writer.later.pop(copy.folder.id, None)

    async def _finish(self, copy: FolderCopy) -> None:
        if copy.removed or copy.is_renumbered or copy.after != copy.before:
            await self._writer.finish(copy.folder, copy.removed, copy.after, is_renumbered=copy.is_renumbered)
            copy.removed, copy.before, copy.is_renumbered = (), copy.after, False
        await self._failing.worked(copy.folder)

    @asynccontextmanager
    async def _skipping(self, folder: Folder) -> AsyncIterator[None]:
        """One folder's trouble is not the others': it is named in the counts, and tried again next time."""
        try:
            yield
        except SentAway:
            raise
        except HeldBack as waits:
            self._counts.throttle = Throttle(waits.wait, waits.message)
            if not any(one.path == folder.path for one in self._counts.skipped):
                self._counts.skipped.append(Skipped(folder.path, waits.code, waits.message))
        except (FolderGone, Incomplete, ServerRefused) as error:
            self._skip(folder.path, error)
            await self._failing.failed(folder, error)

    def _skip(self, path: str, error: PostroomError) -> None:
        self._counts.skipped.append(Skipped(path, error.code, error.message))
        logger.warning("sync.folder_skipped", account=self._writer.account, code=error.code)


def _waits(parked: Sequence[Parked]) -> bool:
    return any(entry.code != TOO_LARGE for entry in parked)


def is_kept(remote: RemoteFolder, known: Folder | None) -> bool:
    """Whether all that the server says of a folder is stored."""
    if known is None:
        return False
    theirs = (remote.status.object_id if remote.status else None) or known.object_id
    now = (remote.path, remote.role, remote.selectable, theirs)
    return (known.path, known.role, known.selectable, known.object_id) == now


def _rank(remote: RemoteFolder) -> tuple[int, str]:
    """Inbox first, then what people look at."""
    rank = ORDER.index(remote.role) if remote.role in ORDER else len(ORDER)
    return rank, remote.path
