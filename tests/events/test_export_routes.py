"""GET /v1/events/export: the file that `check` checks, sent as it is read."""

import asyncio
import io
from datetime import timedelta

import pytest
from events.following import MAIL, append
from fastapi import FastAPI
from servers.api import Client, Connect, key_of
from servers.live import served
from servers.tenants import ANNS, ONE, TWO

from postroom.db.pool import Database
from postroom.events import export as exporting
from postroom.events.check import check
from postroom.events.model import Event
from postroom.events.seal import seal
from postroom.http import pieces
from postroom.http.caller import Scope
from postroom.vault.seal import Vault

pytestmark = pytest.mark.usefixtures("tenants")

PATH = "/v1/events/export"
GONE = Event("mail.removed", {"message": MAIL})
MANY = 60_000  # events: more than the buffers between two processes hold


async def test_it_is_the_file_that_the_command_line_writes(
    api: Client, db: Database, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "BATCH", 4)
    await append(db, ANNS, *[GONE] * 10)
    await append(db, 0, GONE)
    await seal(db, vault.signer, ONE)
    await append(db, 9, GONE)
    file = io.BytesIO()
    done = await exporting.export(db, ONE, file)
    answer = await api.get(PATH)
    found = check(answer.text.splitlines(), [vault.signer.public])

    assert (answer.status_code, answer.content) == (200, file.getvalue())
    assert answer.headers["content-type"] == "application/jsonl"
    assert (found.findings, found.entries, found.streams, found.seal) == ([], 12, 3, 1)
    assert (done.entries, done.streams, done.seal) == (12, 3, 1)


async def test_it_is_for_admins(db: Database, connect: Connect) -> None:
    client = connect(await key_of(db, ONE, Scope.READ, Scope.SYNC))
    answer = await client.get(PATH)

    assert (answer.status_code, answer.json()["code"]) == (403, "http.missing_scope")


async def test_one_who_reads_slowly_keeps_others_of_their_tenant_waiting_and_nobody_else(
    app: FastAPI, db: Database
) -> None:
    for _ in range(MANY // 5000):
        await append(db, ANNS, *[GONE] * 5000)
    key, other = await key_of(db, ONE), await key_of(db, TWO)
    async with served(app, key) as client:
        async with client.stream("GET", PATH, headers={"Accept-Encoding": "identity"}) as slow:
            reading = slow.aiter_raw(1000)  # which ends with its last reference
            await anext(reading)
            busy = await client.get(PATH)
            theirs = await client.get(PATH, headers={"Authorization": f"Bearer {other}"})
            page = await client.get("/v1/events", params={"limit": 1000})
        again = busy
        async with asyncio.timeout(20):
            while again.status_code == 503:  # until it is noticed that the reader has left
                again = await client.get(PATH)

    assert reading is not None
    assert (busy.status_code, busy.json()["code"]) == (503, "events.export_busy")
    assert int(busy.headers["retry-after"]) > 0
    assert theirs.status_code == 200
    assert len(page.json()["entries"]) == 1000
    assert len(again.text.splitlines()) == MANY + 3


async def test_who_takes_nothing_any_more_keeps_nobody_waiting_for_ever(
    app: FastAPI, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two such clients would be all the exports that a process sends."""
    monkeypatch.setattr(pieces, "PATIENCE", timedelta(seconds=0.2))
    for _ in range(MANY // 5000):
        await append(db, ANNS, *[GONE] * 5000)
    async with (
        served(app, await key_of(db, ONE)) as client,
        client.stream("GET", PATH, headers={"Accept-Encoding": "identity"}) as stalled,
    ):
        reading = stalled.aiter_raw(1000)
        await anext(reading)
        again = await client.get(PATH)
        async with asyncio.timeout(20):
            while again.status_code == 503:
                again = await client.get(PATH)

    assert reading is not None
    assert len(again.text.splitlines()) == MANY + 3
