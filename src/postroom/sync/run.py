"""Sync one account: every folder, newest mail first, under the account's lease.

    folders -> look at each -> newest of each -> the rest, with a look at the inbox now and then -> finish

The connection is one conversation, so folders take turns. Nothing here is kept between two syncs but rows.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import timedelta
from functools import partial

import structlog

from postroom.accounts.model import Scope
from postroom.accounts.scope import wants
from postroom.db import leases
from postroom.db.pool import Database
from postroom.errors import PostroomError
from postroom.ids import AccountId, FolderId, TenantId
from postroom.mail.model import Folder
from postroom.mail.store import folders
from postroom.providers.model import (
    FolderGone,
    FolderRole,
    Incomplete,
    Mailbox,
    RemoteFolder,
    SentAway,
    ServerRefused,
)

from . import store
from .folder import FolderCopy, copy_newest, copy_suspects, look, look_again, unchanged
from .model import TOO_LARGE, Counts, Cursor, Parked, Skipped
from .pipeline import Pipeline
from .plan import Way, way
from .workshop import Workshop
from .write import Writer

FIRST = 200  # messages of each folder that come before anything older
PATIENCE = timedelta(days=30)  # how long mail that lies nowhere is kept while some of the server's is parked
TURN = 1000  # messages of a folder before the inbox is looked at again
ORDER = (FolderRole.INBOX, FolderRole.SENT, FolderRole.DRAFTS, FolderRole.ARCHIVE)

logger = structlog.get_logger()


async def sync_account(
    db: Database,
    tenant: TenantId,
    account: AccountId,
    scope: Scope,
    opening: AbstractAsyncContextManager[Mailbox],
    counts: Counts,
    workshop: Workshop,
) -> None:
    """Make the copy equal to the mailbox that `opening` opens. `counts` tells how far it is, as it goes.

    Raises `LeaseHeld` when this account is being synced already, and whatever the provider raises; then what
    was stored stays stored, and the next sync goes on from there.
    """
    async with leases.holding(db, tenant, f"sync.account:{account}") as lease, opening as mailbox:
        writer = Writer(db, lease, tenant, account, counts, workshop)
        await _Run(mailbox, writer, scope).run()


class _Run:
    """One sync of one account."""

    def __init__(self, mailbox: Mailbox, writer: Writer, scope: Scope) -> None:
        self._mailbox, self._writer, self._scope = mailbox, writer, scope
        self._pipeline = Pipeline(writer)
        self._counts = writer.counts
        self._copies: list[FolderCopy] = []

    async def run(self) -> None:
        listed = await self._mailbox.folders()
        known, cursors, parked = await self._stored()
        chosen = [remote for remote in listed if remote.selectable and wants(self._scope, remote.path)]
        chosen.sort(key=_rank)
        self._counts.folders = len(chosen)
        for remote in chosen:
            folder = await self._save(remote, known.get(remote.name))
            await self._look(folder, remote, cursors.get(folder.id), parked.get(folder.id, ()))
        async with self._pipeline.running():
            try:
                await self._copy()
            except PostroomError:
                await self._pipeline.drain()  # what has arrived need not be fetched again
                raise
            await self._pipeline.drain()
        await self._forget_folders(known, listed)
        for copy in self._copies:
            await self._finish(copy)
        if not self._counts.skipped:
            # What is parked may be mail that we have and that was moved or numbered anew.
            await self._writer.purge(PATIENCE if await self._is_waiting() else timedelta())

    async def _stored(
        self,
    ) -> tuple[Mapping[bytes, Folder], Mapping[FolderId, Cursor], Mapping[FolderId, Sequence[Parked]]]:
        writer = self._writer
        waiting: dict[FolderId, list[Parked]] = {}
        async with writer.db.transaction(writer.tenant) as conn:
            known = await folders.listed(conn, writer.tenant, writer.account)
            cursors = await store.cursors(conn, writer.tenant, writer.account)
            for entry in await store.parked(conn, writer.tenant, writer.account):
                waiting.setdefault(entry.folder_id, []).append(entry)
        return known, cursors, waiting

    async def _is_waiting(self) -> bool:
        """Whether some mail could not be had; what is too large was not wanted."""
        writer = self._writer
        async with writer.db.transaction(writer.tenant) as conn:
            entries = await store.parked(conn, writer.tenant, writer.account)
        return any(entry.code != TOO_LARGE for entry in entries)

    async def _save(self, remote: RemoteFolder, known: Folder | None) -> Folder:
        now = (remote.path, remote.role, remote.selectable)
        if known is not None and (known.path, known.role, known.selectable) == now:
            return known
        return await self._writer.folder(remote, is_new=known is None)

    async def _look(
        self, folder: Folder, remote: RemoteFolder, cursor: Cursor | None, parked: Sequence[Parked]
    ) -> None:
        """See what a folder needs, by the list alone where that is enough."""
        is_waiting = any(entry.is_due for entry in parked)
        if cursor and remote.status and not is_waiting and way(cursor, remote.status) is Way.NOTHING:
            self._copies.append(unchanged(folder, remote, cursor))
            return
        with self._skipping(remote):
            copy = await look(self._mailbox, self._writer, folder, remote, cursor, parked, self._scope)
            self._copies.append(copy)
            self._counts.total += len(copy.todo) + len(copy.suspects)

    async def _copy(self) -> None:
        """The newest of every folder first; then the rest, while new mail keeps coming in; doubtful last."""
        inbox = next((copy for copy in self._copies if copy.folder.role == FolderRole.INBOX), None)
        for copy in self._copies:
            if copy.todo:
                await self._turn(copy, partial(copy_newest, most=FIRST))
        for copy in self._copies:
            while copy.todo:
                await self._turn(copy, partial(copy_newest, most=TURN))
                if inbox is not None:
                    with self._skipping(inbox.remote):
                        await look_again(self._mailbox, self._pipeline, inbox)
        for copy in self._copies:
            if copy.suspects:
                await self._turn(copy, copy_suspects)

    async def _turn(self, copy: FolderCopy, step: Callable[..., Awaitable[None]]) -> None:
        with self._skipping(copy.remote):
            await step(self._mailbox, self._pipeline, copy)
            if not copy.todo and not copy.suspects and not copy.removed:
                await self._pipeline.then(partial(self._finish, copy))
            return
        copy.todo, copy.suspects, copy.after, copy.removed = [], [], copy.before, ()

    async def _finish(self, copy: FolderCopy) -> None:
        if copy.removed or copy.after != copy.before:
            await self._writer.finish(copy.folder, copy.removed, copy.after)
            copy.removed, copy.before = (), copy.after

    async def _forget_folders(self, known: Mapping[bytes, Folder], listed: Sequence[RemoteFolder]) -> None:
        """Folders that two listings lack are gone. An empty list is a server's mistake, not its mailbox.

        A folder that is deleted while others lie below it stays in the list as a name that holds no mail.
        """
        gone = known.keys() - {remote.name for remote in listed if remote.selectable}
        if gone and listed:
            gone -= {remote.name for remote in await self._mailbox.folders() if remote.selectable}
            for name in sorted(gone):
                await self._writer.forget_folder(known[name])

    @contextmanager
    def _skipping(self, remote: RemoteFolder) -> Iterator[None]:
        """One folder's trouble is not the others': it is named in the counts, and tried again next time."""
        try:
            yield
        except SentAway:
            raise
        except (FolderGone, Incomplete, ServerRefused) as error:
            self._counts.skipped.append(Skipped(remote.path, error.code, error.message))
            logger.warning("sync.folder_skipped", account=self._writer.account, code=error.code)


def _rank(remote: RemoteFolder) -> tuple[int, str]:
    """Inbox first, then what people look at."""
    rank = ORDER.index(remote.role) if remote.role in ORDER else len(ORDER)
    return rank, remote.path
