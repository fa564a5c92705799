"""Write the log with its seals into a file that `check` can check without us, wherever it is carried."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, BinaryIO

import orjson

from postroom.db.pool import Connection, Database
from postroom.ids import TenantId

from . import store
from .check import VERSION, Row
from .model import ExportBusy
from .seal import line
from .store.removed import until
from .verify import BATCH, hashable

AT_ONCE = 2
"""Exports that one process sends; each has a connection of its own."""


@dataclass(slots=True)
class Exported:
    """How much was written."""

    streams: int = 0
    entries: int = 0
    seal: int = 0  # the number of the newest


class Exports:
    """Those that are being sent."""

    def __init__(self) -> None:
        self._sent: set[TenantId] = set()

    @contextmanager
    def one(self, tenant: TenantId) -> Iterator[None]:
        """Raises `ExportBusy`."""
        if tenant in self._sent or len(self._sent) >= AT_ONCE:
            raise ExportBusy("Another export is being sent.", wait=timedelta(minutes=1))
        self._sent.add(tenant)
        try:
            yield
        finally:
            self._sent.discard(tenant)


async def export(db: Database, tenant: TenantId, file: BinaryIO) -> Exported:
    """Write all streams of a tenant as they are at one moment; `check` says in which form."""
    done = Exported()
    async with aclosing(pieces(db, tenant, done)) as written:
        async for piece in written:
            await asyncio.to_thread(file.write, piece)
    return done


async def pieces(db: Database, tenant: TenantId, done: Exported) -> AsyncGenerator[bytes, None]:
    """The same, piece by piece, from one transaction: a reader that stops for a minute loses it."""
    async with db.transaction(tenant) as conn:
        await store.one_snapshot(conn)
        version = 1 if await until(conn, tenant) is None else VERSION  # which older programs do not take
        yield orjson.dumps({"log": "postroom", "version": version, "tenant": tenant}) + b"\n"
        async for seal in store.seals(conn, tenant):
            done.seal = seal.number
            yield line(seal)
        async with aclosing(_heads(conn, tenant, done)) as heads:
            async for piece in heads:
                yield piece
        rows = await store.rows(conn, tenant, None, stream=None, limit=BATCH)
        while rows:
            done.entries += len(rows)
            yield await asyncio.to_thread(_entries, hashable(rows))
            rows = await store.rows(conn, tenant, rows[-1], stream=None, limit=BATCH)
    yield _line("end", {"seal": done.seal, "heads": done.streams, "entries": done.entries})


async def _heads(conn: Connection, tenant: TenantId, done: Exported) -> AsyncGenerator[bytes, None]:
    piece = list[bytes]()
    async for head in store.heads(conn, tenant):
        piece.append(_line("head", [head.stream, head.seq, head.position, head.hash.hex()]))
        if len(piece) == BATCH:
            yield b"".join(piece)
            piece.clear()
        done.streams += 1
    yield b"".join(piece)


def _entries(rows: Iterator[Row]) -> bytes:
    return b"".join(_line("entry", [*row, digest.hex()]) for *row, digest in rows)


def _line(part: str, content: Any) -> bytes:
    return orjson.dumps({part: content}, option=orjson.OPT_APPEND_NEWLINE)
