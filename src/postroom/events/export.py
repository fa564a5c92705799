"""Write the log with its seals into a file that `check` can check without us, wherever it is carried."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson

from postroom.db.pool import Database
from postroom.ids import TenantId

from . import store
from .check import VERSION, Row
from .seal import line
from .verify import each_batch


@dataclass(slots=True)
class Exported:
    """How much was written."""

    streams: int = 0
    entries: int = 0
    seal: int = 0  # the number of the newest


async def export(db: Database, tenant: TenantId, file: BinaryIO) -> Exported:
    """Write all streams of a tenant as they are at one moment; `check` says in which form."""
    done = Exported()

    def write(rows: Iterator[Row]) -> None:
        for *row, digest in rows:
            file.write(_line("entry", [*row, digest.hex()]))
            done.entries += 1

    async with db.transaction(tenant) as conn:
        await store.one_snapshot(conn)
        file.write(orjson.dumps({"log": "postroom", "version": VERSION, "tenant": tenant}) + b"\n")
        async for seal in store.seals(conn, tenant):
            file.write(line(seal))
            done.seal = seal.number
        async for head in store.heads(conn, tenant):
            file.write(_line("head", [head.stream, head.seq, head.position, head.hash.hex()]))
            done.streams += 1
        await each_batch(conn, tenant, None, write)
    file.write(_line("end", {"seal": done.seal, "heads": done.streams, "entries": done.entries}))
    return done


def _line(part: str, content: Any) -> bytes:
    return orjson.dumps({part: content}, option=orjson.OPT_APPEND_NEWLINE)
