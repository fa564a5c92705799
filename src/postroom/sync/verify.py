"""Compare the copy with the server, folder by folder: the truth that deltas only hint at."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

from postroom.accounts import store as accounts
from postroom.accounts.model import Account
from postroom.accounts.scope import wants
from postroom.db.pool import Database
from postroom.ids import FolderId
from postroom.mail.model import Folder
from postroom.mail.store import folders, places
from postroom.providers.model import Mailbox, OpenFolder, RemoteFolder

from . import logins, store
from .look import WINDOW, in_scope
from .model import TOO_LARGE, Cursor
from .perform import Means
from .plan import changed, compare


@dataclass(frozen=True, slots=True)
class FolderDifference:
    """One folder, counted on both sides, as far as the account's owner wants it copied.

    Parked messages are missing: the copy has them not. What is too large was not wanted.
    """

    path: str
    server: int
    stored: int
    missing: int
    extra: int
    flags_differ: int  # or are not told by the server
    hidden: int = 0  # messages of the copy of which the server shows nothing any more
    is_numbered: bool = True  # the server tells a validity, without which equal numbers prove nothing

    @property
    def is_equal(self) -> bool:
        return not (self.missing or self.extra or self.flags_differ)


async def verify(means: Means, account: Account) -> list[FolderDifference]:
    """Every folder of the mailbox or of the copy, in order of its path.

    Raises `TooSoon`, and what the provider raises.

    When all are equal, the account's `verified_fresh_at` says so.
    """
    began = monotonic()
    pause = means.manner.pause
    async with logins.admitted(means.db, account, pause), await means.mailbox(account) as mailbox:
        remote = [f for f in await mailbox.folders() if f.selectable and wants(account.scope, f.path)]
        ours = await _ours(means.db, account)
        found = [
            await _folder(means.db, mailbox, account, folder, ours.get(folder.name)) for folder in remote
        ]
    gone = await _gone(means.db, account, {folder.name for folder in remote})
    if all(folder.is_equal and not folder.hidden and folder.is_numbered for folder in (*found, *gone)):
        took = timedelta(seconds=monotonic() - began)
        async with means.db.transaction(account.tenant_id) as conn:
            await accounts.mark_compared(conn, account.tenant_id, account.id, took, is_equal=True)
    return sorted([*found, *gone], key=lambda folder: folder.path)


@dataclass(frozen=True, slots=True)
class _Ours:
    """What the copy knows of a folder."""

    folder: Folder
    cursor: Cursor | None
    unwanted: Collection[int]  # uids of what is larger than its owner wants


async def _ours(db: Database, account: Account) -> Mapping[bytes, _Ours]:
    async with db.transaction(account.tenant_id) as conn:
        known = await folders.listed(conn, account.tenant_id, account.id)
        cursors = await store.cursors(conn, account.tenant_id, account.id)
        parked = await store.parked(conn, account.tenant_id, account.id)
    unwanted: dict[FolderId, set[int]] = {}
    for entry in parked:
        if entry.code == TOO_LARGE:
            unwanted.setdefault(entry.folder_id, set()).add(entry.uid)
    return {
        name: _Ours(folder, cursors.get(folder.id), unwanted.get(folder.id, ()))
        for name, folder in known.items()
    }


async def _folder(
    db: Database, mailbox: Mailbox, account: Account, remote: RemoteFolder, ours: _Ours | None
) -> FolderDifference:
    opened = await mailbox.open(remote)
    listed = await opened.uids()
    stored, unnumbered = await _stored(db, account, ours.folder.id) if ours else ((), 0)
    if ours and ours.cursor and ours.cursor.validity != opened.status.validity:
        return FolderDifference(remote.path, len(listed), len(stored), len(listed), len(stored), 0)
    difference = compare(stored, listed)
    missing = await in_scope(opened, account.scope, difference.missing)
    if ours:
        missing = [uid for uid in missing if uid not in ours.unwanted]
    both = difference.both
    differ = await _flags_differ(db, opened, account, ours.folder.id, both) if ours else 0
    hidden = sum(uid < opened.shown_from for uid in difference.extra)
    extra = len(difference.extra) - hidden + unnumbered
    return FolderDifference(
        remote.path,
        server=len(both) + len(missing),
        stored=len(stored) + unnumbered,
        missing=len(missing),
        extra=extra,
        flags_differ=differ,
        hidden=hidden,
        is_numbered=bool(opened.status.validity),
    )


async def _stored(db: Database, account: Account, folder: FolderId) -> tuple[Sequence[int], int]:
    async with db.transaction(account.tenant_id) as conn:
        stored = await folders.uids(conn, account.tenant_id, folder)
        return stored, len(await places.unnumbered(conn, account.tenant_id, folder))


async def _flags_differ(
    db: Database, opened: OpenFolder, account: Account, folder: FolderId, uids: Sequence[int]
) -> int:
    total = 0
    for start in range(0, len(uids), WINDOW):
        window = uids[start : start + WINDOW]
        seen = await opened.scan(window)
        async with db.transaction(account.tenant_id) as conn:
            known = await folders.flags(conn, account.tenant_id, folder, window)
        told = {item.uid: item.flags for item in seen if item.flags is not None}
        total += len(changed(known, told)) + len(window) - len(told)  # unknown is not equal
    return total


async def _gone(db: Database, account: Account, remote: set[bytes]) -> list[FolderDifference]:
    """Folders of the copy that the server has no more."""
    found = []
    async with db.transaction(account.tenant_id) as conn:
        for name, folder in (await folders.listed(conn, account.tenant_id, account.id)).items():
            if name not in remote and wants(account.scope, folder.path):
                stored = len(await folders.all_uids(conn, account.tenant_id, folder.id))
                found.append(FolderDifference(folder.path, 0, stored, 0, stored, 0))
    return found
