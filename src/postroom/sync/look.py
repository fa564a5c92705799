"""Open a folder and find out what its copy needs.

Everything is decided from what is stored: a copy that was interrupted leaves a shorter list to the next.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from postroom.accounts.model import Scope
from postroom.mail.model import Folder
from postroom.mail.store import folders, places
from postroom.providers.model import FolderStatus, Incomplete, Mailbox, OpenFolder, RemoteFolder

from .model import BREAKS, SUSPECT, Cursor, Parked
from .plan import Way, changed, compare, is_doubtful, is_same_mail, way
from .write import Writer

WINDOW = 1000  # messages described by one scan
SPAN = 50_000  # messages whose changes are asked for at once
LAST = (1 << 32) - 1  # no uid is higher


@dataclass(slots=True)
class FolderCopy:
    """One folder during one sync."""

    folder: Folder
    remote: RemoteFolder
    before: Cursor | None  # where the cursor stands
    after: Cursor | None  # where it will stand when this sync has finished
    validity: int
    seen_next: int  # every uid below it has been listed
    todo: Sequence[int] = ()  # uids to be fetched, ascending: the newest leaves first
    suspects: list[int] = field(default_factory=list)  # one may break the connection: each alone, at the end
    removed: Sequence[int] = ()
    is_renumbered: bool = False  # messages lie in it under numbers that are not known
    is_compared: bool = False  # every message and every flag was looked at
    known: int = 0  # the highest uid that is not news: that we have, or that was there before we came
    scope: Scope = Scope()  # noqa: RUF009  it is frozen
    old: datetime | None = None  # mail from before then is not news

    def put_off(self) -> None:
        """Leave the rest to the next sync."""
        self.todo, self.suspects, self.removed = (), [], ()
        self.after, self.is_renumbered, self.is_compared = self.before, False, False

    def doubt(self) -> None:
        """Something was left out of an answer, which is neither empty nor unchanged: ask again next time."""
        self.after, self.is_compared = self.before, False


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of every folder of an account."""

    scope: Scope
    old: datetime  # the first copy of a folder brings mail from before then
    full: bool  # compare everything, whatever the numbers say


def unchanged(folder: Folder, remote: RemoteFolder, cursor: Cursor, scope: Scope) -> FolderCopy:
    """A folder whose numbers say that the copy is equal."""
    return FolderCopy(folder, remote, cursor, cursor, cursor.validity, cursor.uid_next, scope=scope)


async def look(
    mailbox: Mailbox,
    writer: Writer,
    folder: Folder,
    remote: RemoteFolder,
    cursor: Cursor | None,
    parked: Sequence[Parked],
    wish: Wish,
) -> FolderCopy:
    """Open a folder and find out what it needs. Changed flags are applied at once, in bounded pieces."""
    opened = await mailbox.open(remote)
    status = opened.status
    needs = Way.COMPARE if wish.full and way(cursor, status) is not Way.AFRESH else way(cursor, status)
    if cursor is not None and needs is Way.NOTHING and not any(entry.is_due for entry in parked):
        return unchanged(folder, remote, cursor, wish.scope)
    if needs is Way.CHANGES and cursor is not None and is_same_mail(cursor, status) and not parked:
        copy = await _only_flags(opened, writer, folder, cursor, wish.scope)
        if copy is not None:
            return copy
    if needs is Way.AFRESH and status.validity:
        cursor = await writer.begin(folder, status.validity)
    stored, unnumbered = await _stored(writer, folder)
    is_first = cursor.is_first if cursor else not stored
    opened, listed = await complete_listing(mailbox, opened, stored, unnumbered)
    difference = compare(stored, listed)
    waiting, suspects = await _parked(writer, folder, status, listed, parked)
    missing = await in_scope(opened, wish.scope, difference.missing)
    copy = FolderCopy(
        folder,
        remote,
        before=cursor,
        after=Cursor.of(status, listed),
        validity=status.validity or 0,
        seen_next=listed[-1] + 1 if listed else 1,
        todo=array("I", [uid for uid in missing if uid not in waiting and uid not in suspects]),
        suspects=[uid for uid in missing if uid in suspects],
        # A server that gives its folder no validity cannot prove a removal, nor one that hides old mail.
        removed=[uid for uid in difference.extra if status.validity and uid >= opened.shown_from],
        is_renumbered=unnumbered > 0 and bool(status.validity) and opened.shown_from == 1,
        is_compared=needs is not Way.CHANGES,
        known=_known(cursor, stored, listed),
        scope=wish.scope,
        old=wish.old if is_first else None,
    )
    if difference.both:
        await _flags(opened, writer, copy, difference.both, cursor if needs is Way.CHANGES else None)
    if len(copy.removed) < len(difference.extra):
        copy.is_compared = False  # what it lacks is kept, which may be right and is no proof of equality
    return copy


def _known(cursor: Cursor | None, stored: Sequence[int], listed: Sequence[int]) -> int:
    """Where new mail begins: above what we have; above all where a copy is to be made and nothing is here."""
    if stored:
        return stored[-1]
    return listed[-1] if listed and (cursor is None or cursor.is_begun) else 0


async def _only_flags(
    opened: OpenFolder, writer: Writer, folder: Folder, cursor: Cursor, scope: Scope
) -> FolderCopy | None:
    """Apply the changed flags of a folder in which no message came or went, so that it need not be listed.

    None where there may be too many, and where what the server tells is not of the mail that we have: that
    contradicts its numbers, and the listing decides.
    """
    if cursor.messages > SPAN:
        return None
    changes = await opened.changes(cursor.status(), 1, LAST)
    after = Cursor.of(opened.status, ())
    if changes is None or changes.removed or after is None or len(changes.flags) > WINDOW:
        return None
    if not await writer.only_flags(folder, changes.flags, after):
        return None
    return unchanged(folder, opened.folder, after, scope)


async def in_scope(opened: OpenFolder, scope: Scope, uids: Sequence[int]) -> Sequence[int]:
    """Those of the uids whose mail is new enough to be copied."""
    if scope.since is None or not uids:
        return uids
    recent = await opened.received_since(scope.since)
    return [uid for uid in uids if uid in recent]


async def _stored(writer: Writer, folder: Folder) -> tuple[Sequence[int], int]:
    """The uids that we have, and how many messages lie there under numbers that are not known."""
    async with writer.db.transaction(writer.tenant) as conn:
        stored = await folders.uids(conn, writer.tenant, folder.id)
        return stored, len(await places.unnumbered(conn, writer.tenant, folder.id))


async def complete_listing(
    mailbox: Mailbox, opened: OpenFolder, stored: Sequence[int], unnumbered: int = 0
) -> tuple[OpenFolder, Sequence[int]]:
    """A complete listing. Where it lacks much of what we have, only what a second one lacks too is gone.

    The second one is of the folder opened anew: what a server believes of an open folder, it keeps saying.
    """
    listed = await opened.uids()
    gone = max(len(compare(stored, listed).extra), unnumbered - len(listed))
    if not is_doubtful(gone, len(stored) + unnumbered):
        return opened, listed
    again = await mailbox.open(opened.folder)
    if again.status.validity != opened.status.validity:
        raise Incomplete("The server has just given its messages new numbers; the next sync copies them.")
    second = await again.uids()
    if difference := compare(listed, second).missing:
        return again, array("I", sorted({*listed, *difference}))
    return again, listed


async def _parked(
    writer: Writer, folder: Folder, status: FolderStatus, listed: Sequence[int], parked: Sequence[Parked]
) -> tuple[frozenset[int], frozenset[int]]:
    """Those that still have to wait, and those that may break the connection. What is gone waits no more."""
    if not parked:
        return frozenset(), frozenset()
    present = frozenset(compare([entry.uid for entry in parked], listed).both)
    if gone := [entry.uid for entry in parked if entry.uid not in present]:
        await writer.unpark(folder, gone)
    known = [entry for entry in parked if entry.validity == (status.validity or 0)]
    waiting = frozenset(entry.uid for entry in known if not entry.is_due)
    suspects = frozenset(entry.uid for entry in known if entry.is_due and entry.code in {SUSPECT, BREAKS})
    return waiting, suspects


async def _flags(
    opened: OpenFolder, writer: Writer, copy: FolderCopy, kept: Sequence[int], since: Cursor | None
) -> None:
    """Apply every changed flag of the messages that we have."""
    if since is not None and await _told(opened, writer, copy, kept, since):
        return
    copy.is_compared = True
    for start in range(0, len(kept), WINDOW):
        window = kept[start : start + WINDOW]
        told = {item.uid: item.flags for item in await opened.scan(window) if item.flags is not None}
        if len(told) < len(window):
            copy.doubt()
        await _apply(writer, copy, told)


async def _told(
    opened: OpenFolder, writer: Writer, copy: FolderCopy, kept: Sequence[int], since: Cursor
) -> bool:
    """Whether the server could tell what has changed."""
    for start in range(0, len(kept), SPAN):
        last = kept[min(start + SPAN, len(kept)) - 1]
        changes = await opened.changes(since.status(), kept[start], last)
        if changes is None:
            return False
        await _apply(writer, copy, changes.flags)
    return True


async def _apply(writer: Writer, copy: FolderCopy, now: Mapping[int, frozenset[str]]) -> None:
    uids = sorted(now)
    for start in range(0, len(uids), WINDOW):
        piece = {uid: now[uid] for uid in uids[start : start + WINDOW]}
        async with writer.db.transaction(writer.tenant) as conn:
            known = await folders.flags(conn, writer.tenant, copy.folder.id, list(piece))
        if different := changed(known, piece):
            await writer.flags(copy.folder, different)
