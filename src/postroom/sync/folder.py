"""Bring one folder in line with the server.

    look    open it, decide what it needs, remember what is to be fetched and what has gone
    copy    fetch, read and store the newest part of what is left, again and again, until nothing is
    finish  take out what has gone and move the cursor, once every folder has been copied,
            so that a message that moved between folders was found again before it leaves

Everything is decided from what is stored: a copy that was interrupted leaves a shorter list to the next.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from postroom.accounts.model import Scope
from postroom.errors import PostroomError
from postroom.mail.model import Folder
from postroom.mail.store import folders
from postroom.providers.model import (
    Incomplete,
    Mailbox,
    OpenFolder,
    RemoteFolder,
    RemoteItem,
    RemoteMessage,
    Unfetched,
    Unreachable,
)

from .model import BREAKS, SUSPECT, TOO_LARGE, Cursor, Parked
from .pipeline import Pipeline
from .plan import Way, changed, compare, is_doubtful, plan, way
from .workshop import MANY
from .write import Writer

WINDOW = 1000  # messages described by one scan
BATCH_MESSAGES = 100  # stored by one transaction
BATCH_BYTES = 8 << 20

Pair = tuple[RemoteMessage, RemoteItem]


@dataclass(slots=True)
class FolderCopy:
    """One folder during one sync."""

    folder: Folder
    remote: RemoteFolder
    before: Cursor | None  # where the cursor stands
    after: Cursor | None  # where it will stand when this sync has finished
    validity: int
    seen_next: int  # every uid below it has been listed
    todo: list[int] = field(default_factory=list)  # uids to be fetched, ascending: the newest leaves first
    suspects: list[int] = field(default_factory=list)  # one may break the connection: each alone, at the end
    removed: Sequence[int] = ()
    backfill: bool = False
    largest: int | None = None  # bytes; larger messages are parked


def unchanged(folder: Folder, remote: RemoteFolder, cursor: Cursor) -> FolderCopy:
    """A folder whose numbers prove that the copy is equal."""
    return FolderCopy(folder, remote, cursor, cursor, cursor.validity, cursor.uid_next)


async def look(
    mailbox: Mailbox,
    writer: Writer,
    folder: Folder,
    remote: RemoteFolder,
    cursor: Cursor | None,
    parked: Sequence[Parked],
    scope: Scope,
) -> FolderCopy:
    """Open a folder and find out what it needs. Changed flags are applied at once, in bounded pieces."""
    opened = await mailbox.open(remote)
    status = opened.status
    needs = way(cursor, status)
    if cursor is not None and needs is Way.NOTHING and not any(entry.is_due for entry in parked):
        return unchanged(folder, remote, cursor)
    backfill = cursor is None or cursor.is_begun or needs is Way.AFRESH
    if needs is Way.AFRESH and status.validity:
        cursor = await writer.begin(folder, status.validity)
    stored = await _stored(writer, folder)
    listed = await _listed(opened, stored)
    difference = compare(stored, listed)
    present = frozenset(listed)
    if gone := [entry.uid for entry in parked if entry.uid not in present]:
        await writer.unpark(folder, gone)
    known = [entry for entry in parked if entry.validity == status.validity]
    waiting = {entry.uid for entry in known if not entry.is_due}
    suspects = {entry.uid for entry in known if entry.is_due and entry.code in {SUSPECT, BREAKS}}
    missing = await in_scope(opened, scope, difference.missing)
    copy = FolderCopy(
        folder,
        remote,
        before=cursor,
        after=Cursor.of(status),
        validity=status.validity or 0,
        seen_next=listed[-1] + 1 if listed else 1,
        todo=[uid for uid in missing if uid not in waiting | suspects],
        suspects=[uid for uid in missing if uid in suspects],
        # A server that gives its folder no validity cannot prove a removal.
        removed=difference.extra if status.validity else (),
        backfill=backfill,
        largest=scope.largest,
    )
    if kept := sorted(set(stored) - set(difference.extra)):
        await _flags(opened, writer, copy, kept, cursor if needs is Way.CHANGES else None)
    return copy


async def in_scope(opened: OpenFolder, scope: Scope, uids: Sequence[int]) -> Sequence[int]:
    """Those of the uids whose mail is new enough to be copied."""
    if scope.since is None or not uids:
        return uids
    recent = await opened.received_since(scope.since)
    return [uid for uid in uids if uid in recent]


async def look_again(mailbox: Mailbox, pipeline: Pipeline, copy: FolderCopy) -> None:
    """Fetch, to be stored, what has arrived in a folder since it was last listed."""
    opened = await mailbox.open(copy.remote)
    if (opened.status.validity or 0) != copy.validity or (opened.status.uid_next or 0) <= copy.seen_next:
        return
    fresh = [uid for uid in await opened.uids() if uid >= copy.seen_next]
    if fresh:
        copy.seen_next = fresh[-1] + 1
        pipeline.writer.counts.total += len(fresh)
        await _window(opened, pipeline, copy, fresh, backfill=False)


async def _listed(opened: OpenFolder, stored: Sequence[int]) -> Sequence[int]:
    """A complete listing. Where it lacks much of what we have, only what a second one lacks too is gone."""
    listed = await opened.uids()
    gone = set(stored) - set(listed)
    if not is_doubtful(len(gone), len(stored)):
        return listed
    return sorted({*listed, *await opened.uids()})


async def copy_newest(mailbox: Mailbox, pipeline: Pipeline, copy: FolderCopy, most: int) -> None:
    """Fetch, to be stored, the newest `most` messages of what is left to do in a folder."""
    opened = await _opened(mailbox, copy)
    while copy.todo and most > 0:
        size = min(WINDOW, most)
        uids, copy.todo = copy.todo[-size:], copy.todo[:-size]
        most -= size
        try:
            await _window(opened, pipeline, copy, uids, backfill=copy.backfill)
        except (Unreachable, Incomplete) as error:
            if suspects := error.data.get("suspects"):
                await pipeline.writer.suspect(copy.folder, copy.validity, suspects, error.message)
            raise


async def copy_suspects(mailbox: Mailbox, pipeline: Pipeline, copy: FolderCopy) -> None:
    """Fetch, each by itself, what was asked for when the connection broke. What breaks it again is parked."""
    opened = await _opened(mailbox, copy)
    while copy.suspects:
        uid = copy.suspects.pop()
        try:
            await _window(opened, pipeline, copy, [uid], backfill=copy.backfill)
        except (Unreachable, Incomplete) as error:
            if uid in error.data.get("suspects", ()):
                reason = f"The server breaks off when it is asked for this message: {error.message}"
                await pipeline.writer.park(copy.folder, copy.validity, uid, BREAKS, reason)
            raise


async def _opened(mailbox: Mailbox, copy: FolderCopy) -> OpenFolder:
    """Raises `Incomplete` when the folder was numbered anew since we looked; the next sync begins afresh."""
    opened = await mailbox.open(copy.remote)
    if (opened.status.validity or 0) != copy.validity:
        raise Incomplete("The server has just given its messages new numbers; the next sync copies them.")
    return opened


async def _window(
    opened: OpenFolder, pipeline: Pipeline, copy: FolderCopy, uids: Sequence[int], *, backfill: bool
) -> None:
    counts = pipeline.writer.counts
    many = counts.total - counts.done > MANY
    seen = await opened.scan(uids)
    wanted = plan({}, seen).fetch
    counts.done += len(uids) - len(wanted)  # gone since they were listed
    if copy.largest is not None:
        wanted = await _park_large(pipeline.writer, copy, wanted, copy.largest)
    async for batch in _batches(opened, pipeline.writer, copy, wanted):
        await pipeline.store(copy.folder, copy.validity, batch, many=many, backfill=backfill)


async def _batches(
    opened: OpenFolder, writer: Writer, copy: FolderCopy, wanted: Sequence[RemoteItem]
) -> AsyncIterator[list[Pair]]:
    """What arrives, in pieces for one transaction each. What does not arrive is parked, or gone.

    When the server breaks off, what had arrived comes first, and then the error: a server that does so every
    few messages is copied nevertheless.
    """
    items = {item.uid: item for item in wanted}
    batch: list[Pair] = []
    size, broken = 0, None
    try:
        async for answer in opened.fetch(wanted):
            item = items.pop(answer.uid)
            if isinstance(answer, Unfetched):
                await _unfetched(writer, copy, answer)
                continue
            if answer.flags is None and item.flags is None:
                copy.after = copy.before  # unknown is not empty: the next sync asks again
            batch.append((answer, item))
            writer.counts.bytes += answer.size
            size += answer.size
            if len(batch) == BATCH_MESSAGES or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
    except PostroomError as error:
        broken = error
    if batch:
        yield batch
    if broken is not None:
        raise broken
    if items:
        raise Incomplete(f"The server answered for {len(wanted) - len(items)} of {len(wanted)} messages.")


async def _park_large(
    writer: Writer, copy: FolderCopy, wanted: Sequence[RemoteItem], largest: int
) -> Sequence[RemoteItem]:
    for item in wanted:
        if item.size is not None and item.size > largest:
            reason = f"It has {item.size:,} bytes, and no more than {largest:,} are to be copied."
            await writer.park(copy.folder, copy.validity, item.uid, TOO_LARGE, reason)
    return [item for item in wanted if item.size is None or item.size <= largest]


async def _unfetched(writer: Writer, copy: FolderCopy, answer: Unfetched) -> None:
    if answer.error is None:
        writer.counts.done += 1
    else:
        await writer.park(copy.folder, copy.validity, answer.uid, answer.error.code, answer.error.message)


async def _flags(
    opened: OpenFolder, writer: Writer, copy: FolderCopy, kept: Sequence[int], since: Cursor | None
) -> None:
    """Apply every changed flag of the messages that we have."""
    changes = await opened.changes(since.status()) if since else None
    if changes is not None:
        await _apply(writer, copy, changes.flags)
        return
    for start in range(0, len(kept), WINDOW):
        window = kept[start : start + WINDOW]
        told = {item.uid: item.flags for item in await opened.scan(window) if item.flags is not None}
        if len(told) < len(window):
            copy.after = copy.before  # unknown is not unchanged: the next sync asks again
        await _apply(writer, copy, told)


async def _apply(writer: Writer, copy: FolderCopy, now: Mapping[int, frozenset[str]]) -> None:
    if not now:
        return
    async with writer.db.transaction(writer.tenant) as conn:
        known = await folders.flags(conn, writer.tenant, copy.folder.id, min(now), max(now))
    if different := changed(known, now):
        await writer.flags(copy.folder, different)


async def _stored(writer: Writer, folder: Folder) -> Sequence[int]:
    async with writer.db.transaction(writer.tenant) as conn:
        return await folders.uids(conn, writer.tenant, folder.id)
