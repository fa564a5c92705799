"""The receiver of the tutorial takes what is signed, and nothing else."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import orjson
import pytest
from servers.dovecot import free_port
from servers.tenants import ANNS
from webhooks.receiving import added, append, running, subscribe

from postroom.db.pool import Database
from postroom.vault.seal import Vault
from postroom.webhooks.sign import headers, new_secret

RECEIVER = Path(__file__).parents[2] / "examples" / "receiver.py"
BODY = b'{"type": "mail.added", "timestamp": "", "data": {}}'


@asynccontextmanager
async def started(secret: str, port: int) -> AsyncIterator[asyncio.StreamReader]:
    """Its output, once it listens."""
    process = await asyncio.create_subprocess_exec(sys.executable, RECEIVER, secret, str(port), stdout=PIPE)
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
        writer.close()
        assert process.stdout is not None
        yield process.stdout
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.usefixtures("tenants")
async def test_it_prints_what_happens(db: Database, vault: Vault) -> None:
    port = free_port()
    _, secret = await subscribe(db, vault, f"http://127.0.0.1:{port}/")
    async with asyncio.timeout(30), started(secret, port) as told, running(db, vault):
        await append(db, ANNS, added(), added())
        for seq in (1, 2):
            type_, _, data = (await told.readline()).partition(b" ")
            assert (type_, orjson.loads(data)["seq"]) == (b"mail.added", seq)


async def test_it_refuses_what_is_forged_changed_or_old() -> None:
    port, secret, now = free_port(), new_secret(), datetime.now(UTC)
    good = headers([new_secret(), secret], "msg_1", now, BODY)
    cases = [
        (good, BODY, 204),
        (good, BODY + b" ", 401),
        (good | {"webhook-id": "msg_2"}, BODY, 401),
        (headers([new_secret()], "msg_1", now, BODY), BODY, 401),
        (headers([secret], "msg_1", now - timedelta(minutes=6), BODY), BODY, 401),
        ({}, BODY, 401),
    ]
    async with asyncio.timeout(30), started(secret, port), httpx2.AsyncClient() as client:
        for given, body, status in cases:
            answer = await client.post(f"http://127.0.0.1:{port}/", headers=given, content=body)
            assert answer.status_code == status, given
