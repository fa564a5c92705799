"""Raw mail on its way out."""

from random import Random

from servers.copies import Copy
from servers.tenants import ANNS, ONE

from postroom.blobs.pack import CHUNK
from postroom.db.pool import Database
from postroom.mail import content
from postroom.mail.store import read


async def test_a_reader_who_stops_holds_up_little(db: Database, tenants: None) -> None:
    del tenants
    raw = b"Subject: large\r\n\r\n" + Random(1).randbytes(CHUNK + CHUNK // 2).replace(b"\n", b"")
    [mail] = await Copy(db, ONE, ANNS).deliver(raw)
    async with db.transaction(ONE) as conn:
        digest, size = await read.source(conn, ONE, mail.public_id)

    pieces = [piece async for piece in content.read(db, ONE, digest, 3, size - 3)]

    assert b"".join(pieces) == raw[3:-3]
    assert max(map(len, pieces)) <= content.SLICE
