"""Tell a folder that has another name now from one that is gone and one that is new.

    the server's own id of the folder is the same (MAILBOXID, RFC 8474)          it is the folder
    the validity is the same, sizes and some contents under the same uids agree  it is the folder
    the validity is the same, ours was empty, the name is none of ours           it is the folder
    anything else                                                                they are two

INBOX never is another folder: renaming it moves its mail and leaves an INBOX behind (RFC 9051, 6.3.6).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from postroom.ids import FolderId
from postroom.mail.model import Folder
from postroom.mail.store import folders
from postroom.providers.model import (
    FolderGone,
    FolderStatus,
    Incomplete,
    Mailbox,
    OpenFolder,
    RemoteFolder,
    RemoteItem,
    RemoteMessage,
    SentAway,
    ServerRefused,
)

from .model import Cursor
from .plan import compare
from .write import Writer

INBOX = b"INBOX"
MOST_SIZES = 1000  # messages whose sizes are compared
MOST_CONTENTS = 5
SMALL = 1 << 20  # bytes; larger contents are not fetched for this

T = TypeVar("T")


@dataclass(slots=True)
class Renames:
    """What became of folders whose names tell of a change."""

    pairs: list[tuple[Folder, RemoteFolder]] = field(default_factory=list)
    undecided: set[bytes] = field(default_factory=set)  # names of ours that nothing is concluded of
    unsure: set[bytes] = field(default_factory=set)  # names of the server's that may be theirs now


async def renames(
    mailbox: Mailbox,
    writer: Writer,
    known: Mapping[bytes, Folder],
    cursors: Mapping[FolderId, Cursor],
    listed: Sequence[RemoteFolder],
) -> Renames:
    """Find the folders of ours that the server lists under other names."""
    found = Renames()
    theirs = {remote.name: remote for remote in listed if remote.name != INBOX}
    lost = [folder for folder in known.values() if folder.name != INBOX and _is_lost(folder, cursors, theirs)]
    names = {folder.name for folder in lost}
    fresh = [remote for remote in theirs.values() if remote.name not in known or remote.name in names]
    # Those with mail first: an empty one may be given a name that another had, once that is found elsewhere.
    fresh.sort(key=lambda remote: not (remote.status and remote.status.messages))
    for remote in fresh if lost else ():
        is_free = remote.name not in known or any(old.name == remote.name for old, _ in found.pairs)
        for folder in sorted(lost, key=lambda one: _last(one.path) != _last(remote.path)):
            try:
                same = await _is_same(mailbox, writer, folder, cursors.get(folder.id), remote, is_free)
            except SentAway:
                raise
            except (FolderGone, Incomplete, ServerRefused):
                found.undecided.add(folder.name)
                found.unsure.add(remote.name)
                continue
            if same:
                found.pairs.append((folder, remote))
                lost.remove(folder)
                break
    found.unsure -= {remote.name for _, remote in found.pairs} | known.keys()
    return found


def _is_lost(
    folder: Folder, cursors: Mapping[FolderId, Cursor], theirs: Mapping[bytes, RemoteFolder]
) -> bool:
    """Whether what the server has under this name, if anything, is not this folder."""
    remote = theirs.get(folder.name)
    if remote is None or not remote.selectable:
        return True
    status, cursor = remote.status or FolderStatus(), cursors.get(folder.id)
    if folder.object_id and status.object_id:
        return folder.object_id != status.object_id
    return bool(cursor and status.validity and status.validity != cursor.validity)


async def _is_same(
    mailbox: Mailbox,
    writer: Writer,
    folder: Folder,
    cursor: Cursor | None,
    remote: RemoteFolder,
    is_free: bool,
) -> bool:
    """`is_free`: no other folder of ours has that name, so that no contents need to prove it."""
    status = remote.status or FolderStatus()
    if remote.name == folder.name:
        return False
    if folder.object_id and status.object_id:
        return folder.object_id == status.object_id
    if cursor is None or (status.validity and status.validity != cursor.validity):
        return False
    opened = await mailbox.open(remote)
    if opened.status.validity != cursor.validity:
        return False
    return await _agrees(opened, writer, folder, cursor, is_free)


async def _agrees(opened: OpenFolder, writer: Writer, folder: Folder, cursor: Cursor, is_free: bool) -> bool:
    """Whether the same messages lie here under the same uids, as far as some of them tell."""
    listed = await opened.uids()
    async with writer.db.transaction(writer.tenant) as conn:
        stored = await folders.uids(conn, writer.tenant, folder.id)
        uids = _spread(compare(stored, listed).both, MOST_SIZES)
        ours = await folders.sample(conn, writer.tenant, folder.id, uids)
    if not stored:
        return is_free and (not listed or listed[0] >= cursor.uid_next)
    items = await opened.scan(uids)
    if any(item.size is not None and item.size != ours[item.uid][0] for item in items):
        return False
    return await _same_contents(opened, items, {uid: digest for uid, (_, digest) in ours.items()})


async def _same_contents(
    opened: OpenFolder, items: Sequence[RemoteItem], digests: Mapping[int, bytes]
) -> bool:
    small = [item for item in items if item.size is not None and item.size <= SMALL]
    fetched = [one async for one in opened.fetch(_spread(small, MOST_CONTENTS))]
    same = [_digest(one) == digests[one.uid] for one in fetched if isinstance(one, RemoteMessage)]
    if fetched and not same:
        raise Incomplete("The server hands out none of the messages by which the folder could be known.")
    return bool(same) and all(same)


def _digest(message: RemoteMessage) -> bytes:
    if isinstance(message.content, bytes):
        return hashlib.sha256(message.content).digest()
    digest = hashlib.sha256()
    with message.content as file:
        while piece := file.read(SMALL):
            digest.update(piece)
    return digest.digest()


def _spread(many: Sequence[T], most: int) -> list[T]:
    """The first, the last and some between."""
    if len(many) <= most:
        return list(many)
    return [many[position * (len(many) - 1) // (most - 1)] for position in range(most)]


def _last(path: str) -> str:
    return path.replace(".", "/").rpartition("/")[2]
