"""Read the log a page at a time, and wait for what comes.

    read ─▶ what fits ─▶ a page full, or all that is there, or so much looked at: that is the page
                         nothing, and somebody waits: a follower hears what comes, without a connection

`next` stands behind all that was read, wanted or not: who wants little does not read the rest again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from postroom.http.streams import Stopping, Waits
from postroom.ids import AccountId, TenantId

from . import feed
from .follow import Following, Heard
from .model import Entry, Place
from .wanted import Wanted

LOOKED_AT = 10_000
"""Entries that are looked at for one page: who wants few of many comes again for the rest."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for. `accounts`: those that may be seen, None: all; `place` is that of `after`."""

    tenant: TenantId
    accounts: frozenset[AccountId] | None
    wanted: Wanted
    after: str
    place: Place
    limit: int


@dataclass(frozen=True, slots=True)
class Page:
    """`top`: up to here nothing more is wanted of what is there."""

    entries: Sequence[Heard]
    next: str
    has_more: bool
    top: Place


async def read(following: Following, asked: Question) -> Page:
    """What is there. Where `has_more`, there may be more of it."""
    wanted, place = asked.wanted, asked.place
    size = asked.limit + 1 if wanted.types is None and wanted.folder is None else None
    found, last, looked_at = list[Heard](), None, 0
    while True:
        seen, passed = await following.read(asked.tenant, asked.accounts, place, wanted.stream, size)
        found += [one for one in passed if wanted.fits(one.entry.stream, one.entry.kind, one)]
        if passed:
            last = passed[-1].entry
        place, looked_at = seen.top, looked_at + len(passed)
        if seen.is_all or len(found) > asked.limit or looked_at >= LOOKED_AT:
            return _page(asked, found, last, place, is_all=seen.is_all)


async def wait(following: Following, asked: Question, waits: Waits, seconds: float) -> Page:
    """What comes first, but no longer than so: then nothing, though `next` may have moved on."""
    follower = following.follower(asked.tenant, asked.accounts, asked.wanted, asked.place)
    until = asyncio.get_running_loop().time() + seconds
    found = list[Heard]()
    try:
        async with waits.until(until):
            while not follower.is_over and not found:
                follower.wake.clear()
                found = await follower.take()
                if not found:
                    await follower.wake.wait()
    except Stopping:
        pass
    except TimeoutError:
        if asyncio.get_running_loop().time() < until:
            raise
    finally:
        follower.close()
    return _page(asked, found, follower.last, follower.after, is_all=True)


def _page(asked: Question, found: Sequence[Heard], last: Entry | None, top: Place, *, is_all: bool) -> Page:
    if len(found) > asked.limit:
        found = found[: asked.limit]
        return Page(found, feed.cursor_of(found[-1].entry), has_more=True, top=top)
    return Page(found, feed.cursor_of(last) if last else asked.after, has_more=not is_all, top=top)
