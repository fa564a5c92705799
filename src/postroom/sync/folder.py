"""Bring one folder in line with the server, when `look` has found out what that takes.

look    what is to be fetched, and what has gone
copy    fetch, read and store the newest part of what is left, again and again, until nothing is
finish  take out what has gone and move the cursor, once every folder has been copied,
        so that a message that moved between folders was found again before it leaves
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from postroom.errors import PostroomError
from postroom.mail.store import folders
from postroom.providers.model import (
    Incomplete,
    Mailbox,
    OpenFolder,
    RemoteItem,
    RemoteMessage,
    Unfetched,
    Unreachable,
)

from .look import WINDOW, FolderCopy, complete_listing, in_scope
from .model import BREAKS, TOO_LARGE
from .pipeline import Pipeline
from .plan import compare, plan
from .workshop import MANY
from .write import Writer

BATCH_MESSAGES = 100  # stored by one transaction
BATCH_BYTES = 8 << 20

Pair = tuple[RemoteMessage, RemoteItem]


async def look_again(mailbox: Mailbox, pipeline: Pipeline, copy: FolderCopy) -> None:
    """Fetch, to be stored, what has arrived in a folder since it was last listed."""
    opened = await mailbox.open(copy.remote)
    if (opened.status.validity or 0) != copy.validity or (opened.status.uid_next or 0) <= copy.seen_next:
        return
    opened, fresh = await _fresh(mailbox, opened, pipeline.writer, copy)
    if fresh:
        pipeline.writer.counts.total += len(fresh)
        await _window(opened, pipeline, copy, fresh)


async def _fresh(
    mailbox: Mailbox, opened: OpenFolder, writer: Writer, copy: FolderCopy
) -> tuple[OpenFolder, Sequence[int]]:
    """What is new in a folder, once it is known what has left it: one may be the other, there and back."""
    async with writer.db.transaction(writer.tenant) as conn:
        stored = await folders.uids(conn, writer.tenant, copy.folder.id)
    opened, listed = await complete_listing(mailbox, opened, stored)
    if copy.validity:
        gone = compare(stored, listed).extra
        copy.removed = [uid for uid in gone if uid >= opened.shown_from]
        writer.leaving[copy.folder.id] = copy.removed
    fresh = [uid for uid in listed if uid >= copy.seen_next]
    if fresh:
        copy.seen_next = fresh[-1] + 1
    return opened, await in_scope(opened, copy.scope, fresh)


async def received(mailbox: Mailbox, copy: FolderCopy, uids: Sequence[int]) -> list[datetime | None]:
    """When the server took in each of these messages; None of those that are gone."""
    opened = await _opened(mailbox, copy)
    told = {item.uid: item.received_at for item in await opened.scan(uids)}
    return [told.get(uid) for uid in uids]


async def copy_newest(
    mailbox: Mailbox, pipeline: Pipeline, copy: FolderCopy, most: int, *, at_once: bool = False
) -> None:
    """Fetch, to be stored, the newest `most` messages of what is left to do in a folder.

    `at_once`: wait for no other process, and let none be started meanwhile, that reads many.
    """
    opened = await _opened(mailbox, copy)
    while copy.todo and most > 0:
        size = min(WINDOW, most)
        uids, copy.todo = copy.todo[-size:], copy.todo[:-size]
        most -= size
        try:
            await _window(opened, pipeline, copy, uids, at_once=at_once)
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
            await _window(opened, pipeline, copy, [uid])
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
    opened: OpenFolder, pipeline: Pipeline, copy: FolderCopy, uids: Sequence[int], *, at_once: bool = False
) -> None:
    counts = pipeline.writer.counts
    many = not at_once and counts.total - counts.done > MANY
    seen = await opened.scan(uids)
    wanted = plan({}, seen).fetch
    counts.done += len(uids) - len(wanted)  # gone since they were listed
    wanted = await _not_known(pipeline, copy, wanted)
    wanted, held_back = await pipeline.allowance.parted(wanted, copy.known)
    if copy.scope.largest is not None:
        wanted = await _park_large(pipeline.writer, copy, wanted, copy.scope.largest)
    async for batch in _batches(opened, pipeline.writer, copy, wanted):
        await pipeline.store(copy.folder, copy.validity, batch, many=many, old=copy.old)
    if held_back is not None:
        raise held_back


async def _not_known(
    pipeline: Pipeline, copy: FolderCopy, wanted: Sequence[RemoteItem]
) -> Sequence[RemoteItem]:
    """Without those whose content we have under the server's own id for it: they only lie here, too, now."""
    named = [item for item in wanted if item.object_id is not None and item.flags is not None]
    if not named:
        return wanted
    await pipeline.settled(copy.folder)
    known = await pipeline.writer.place_known(copy.folder, named)
    return [item for item in wanted if item.uid not in known]


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
                await _unfetched(writer, copy, answer, item.size)
                continue
            if answer.flags is None and item.flags is None:
                copy.doubt()
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
            await writer.park(copy.folder, copy.validity, item.uid, TOO_LARGE, reason, size=item.size)
    return [item for item in wanted if item.size is None or item.size <= largest]


async def _unfetched(writer: Writer, copy: FolderCopy, answer: Unfetched, size: int | None) -> None:
    if (error := answer.error) is None:
        writer.counts.done += 1
    else:
        await writer.park(copy.folder, copy.validity, answer.uid, error.code, error.message, size=size)
