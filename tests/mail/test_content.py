"""Raw mail on its way out."""

import asyncio
from random import Random
from uuid import UUID

from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from servers.api import key_of
from servers.copies import Copy
from servers.tenants import ANNS, BOBS, ONE, TWO

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


async def test_much_that_one_tenant_reads_keeps_no_other_from_theirs(
    app: FastAPI, db: Database, tenants: None
) -> None:
    """Strangers decide how long a mail takes to be made safe; threads are everybody's."""
    del tenants
    table = b"<table><tr><td style='color:red'>" * 30 + b"x" + b"</table>" * 30
    heavy = b"Subject: heavy\r\nContent-Type: text/html\r\n\r\n" + table * 40
    [anns] = await Copy(db, ONE, ANNS).deliver(heavy)
    [bobs] = await Copy(db, TWO, BOBS).deliver(b"Subject: light\r\n\r\n")
    done: list[str] = []
    first = asyncio.Event()

    async def ask(whose: str, key: str, id: UUID) -> None:
        transport, headers = ASGITransport(app), {"Authorization": f"Bearer {key}"}
        async with AsyncClient(transport=transport, base_url="http://x.test", headers=headers) as client:
            answer = await client.get(f"/v1/mail/messages/{id}")
        assert answer.status_code == 200, answer.text
        done.append(whose)
        first.set()

    ann, bob = await key_of(db, ONE), await key_of(db, TWO)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(30):
            group.create_task(ask("ann", ann, anns.public_id))
        await first.wait()
        group.create_task(ask("bob", bob, bobs.public_id))

    assert done.index("bob") < 15, done
