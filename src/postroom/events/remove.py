"""Remove what is older than the log is kept, at a seal, so that what is left can be checked as before.

    1 ─▶ 2 ─▶ 3 ─▶ 4 ─▶ 5 ─▶ 6      the seal says: of this stream all up to 3 was removed, and 3's hash
    removed     │  └ the chain begins here, from that hash

It is a beginning of the log in the order of feeds, never a part from its middle. First it is marked, together
with the seal that vouches for it: from then on no reader is given it, and whose cursor stands within is told
so. A later round deletes it, when no transaction is left that had begun to read it.
"""

import asyncio
from collections.abc import Collection, Iterable
from datetime import datetime

from postroom.db.pool import Connection, Database
from postroom.ids import TenantId
from postroom.vault.sign import Signer

from . import chain, store
from .check import Sealing
from .feed import EVERYTHING
from .model import ChainBroken, Entry
from .seal import newest_of_ours, seal_within
from .store import removed

AT_ONCE = 100_000
"""Entries that one seal removes."""
STEP = 5_000
"""Entries that one transaction deletes, and that are compared at once."""


async def mark(
    db: Database, signer: Signer, tenant: TenantId, before: datetime, older: Collection[bytes] = ()
) -> bool:
    """Take away the oldest entries that were logged before; whether there were any. There may be more.

    `older` are public keys of seals made before. Raises `ChainBroken` where the log cannot be sealed, or what
    would go was altered: nothing is removed then that could tell why.
    """
    async with db.transaction(tenant) as conn:
        await store.lock_seals(conn, tenant)
        _, sealed = await newest_of_ours(conn, signer, tenant, older)
        above = max((end[1] for end in sealed.removed.values()), default=0) if sealed else 0
        horizon, _ = await store.horizon(conn, tenant)
        below = await removed.below(conn, tenant, above, horizon, before, AT_ONCE)
        ends = await removed.ends(conn, tenant, above, below)
        if ends:
            await _require_whole(conn, tenant, sealed, above, below)
            await seal_within(conn, signer, tenant, older, ends)
            await removed.put(conn, tenant, ends)
    return bool(ends)


async def _require_whole(
    conn: Connection, tenant: TenantId, sealed: Sealing | None, above: int, below: int
) -> None:
    """What goes follows from what went before it: a time that was altered makes nothing older than it is."""
    ends = {stream: (seq, digest) for stream, (seq, _, digest) in sealed.removed.items()} if sealed else {}
    heads = sealed.heads if sealed else {}
    place = above, EVERYTHING, EVERYTHING
    while entries := await store.feed(conn, tenant, place, below, STEP):
        await asyncio.to_thread(_follow, ends, heads, entries)
        place = entries[-1].position, entries[-1].stream, entries[-1].seq


def _follow(
    ends: dict[int, tuple[int, bytes]], heads: dict[int, tuple[int, bytes]], entries: Iterable[Entry]
) -> None:
    """Go on from the ends of streams, which are moved. Raises `ChainBroken`."""
    for entry in entries:
        stream = entry.stream
        after, previous = ends.get(stream, (0, None))
        ends[stream] = end = chain.verify([entry], previous, after)
        if heads.get(stream, end) != end and heads[stream][0] == entry.seq:
            raise ChainBroken(
                f"Entry {entry.seq} of stream {stream} is not the one that was sealed.",
                stream=stream,
                seq=entry.seq,
            )


async def sweep(db: Database, signer: Signer, tenant: TenantId, older: Collection[bytes] = ()) -> int:
    """Delete what earlier rounds have marked; how much that was.

    Raises `ChainBroken` where the newest seal does not say the same: a row alone removes nothing.
    """
    deleted, gone = 0, STEP
    while gone == STEP:
        async with db.transaction(tenant) as conn:
            await store.lock_seals(conn, tenant)
            _, sealed = await newest_of_ours(conn, signer, tenant, older)
            if await removed.every(conn, tenant) != (sealed.removed if sealed else {}):
                raise ChainBroken(
                    "What readers are told was removed is not what the newest seal says; see "
                    "`postroom events verify`."
                )
            gone = await removed.sweep(conn, tenant, STEP)
        deleted += gone
    return deleted
