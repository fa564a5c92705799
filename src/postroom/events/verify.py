"""Compare the log with itself, with its seals, and with a seal that was kept elsewhere.

Rows are read in batches in one snapshot: PostgreSQL finds the next ones while these are hashed, and memory
stays the same however long the log is. `check` decides; an export is checked by the same code.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from postroom.db.beside import alone
from postroom.db.pool import Connection, Database
from postroom.ids import TenantId

from . import store
from .check import NONE, Findings, Heads, Row, Sealing, Seals, Streams
from .model import Stream
from .store import removed

BATCH = 5000


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found, and how much was looked at."""

    findings: Findings
    streams: int
    entries: int
    seal: int  # the number of the newest seal; 0: there is none


async def verify(
    db: Database,
    tenant: TenantId,
    keys: Collection[bytes],
    *,
    stream: Stream | None = None,
    kept: Sealing | None = None,
) -> Verified:
    """Check all streams of a tenant, or one. `keys` are the public keys that seals may be signed with."""
    findings = Findings()
    async with db.transaction(tenant) as conn:
        await store.one_snapshot(conn)
        seals = await _seals(conn, Seals(tenant, keys, findings, kept), tenant)
        heads: Heads = {
            head.stream: (head.seq, head.position, head.hash)
            async for head in store.heads(conn, tenant, stream=stream)
        }
        _compare(await removed.every(conn, tenant), seals, stream, findings)
        sealings = [_of(sealing, stream) for sealing in seals.finish()]
        streams = Streams(tenant, heads, sealings, findings)
        await each_batch(conn, tenant, stream, streams.walk)
    streams.finish()
    return Verified(findings, len(heads), streams.entries, seals.number)


async def _seals(conn: Connection, seals: Seals, tenant: TenantId) -> Seals:
    async for seal in store.seals(conn, tenant):
        seals.walk(seal.number, seal.body, seal.signature)
    return seals


def _compare(told: Heads, seals: Seals, stream: Stream | None, findings: Findings) -> None:
    """What readers are not given is what the newest seal says: a row of a table hides nothing by itself."""
    sealed = seals.newest.removed if seals.newest else {}
    for number in sorted(told.keys() | sealed.keys()):
        if stream in (None, number) and told.get(number) != sealed.get(number):
            findings.add("withheld", number, told.get(number, NONE)[0])


def _of(sealing: Sealing, stream: Stream | None) -> Sealing:
    if stream is None:
        return sealing
    return replace(
        sealing, heads={number: head for number, head in sealing.heads.items() if number == stream}
    )


async def each_batch(
    conn: Connection, tenant: TenantId, stream: Stream | None, use: Callable[[Iterator[Row]], object]
) -> None:
    """Give all rows to `use`, batch by batch in a thread, while PostgreSQL finds the next ones."""
    rows = await store.rows(conn, tenant, None, stream=stream, limit=BATCH)
    while rows:
        with alone():  # so that the transaction can tell what a failure means
            async with asyncio.TaskGroup() as group:
                following = group.create_task(store.rows(conn, tenant, rows[-1], stream=stream, limit=BATCH))
                group.create_task(asyncio.to_thread(use, hashable(rows)))
        rows = following.result()


def hashable(rows: Sequence[store.Row]) -> Iterator[Row]:
    """Rows with their times as they were hashed. Entries of one transaction share theirs."""
    known: datetime | None = None
    text = ""
    for stream, seq, position, at, kind, body, digest in rows:
        if at != known:
            known, text = at, at.isoformat(timespec="microseconds") if at else ""
        yield stream, seq, position, text, kind, body, digest
