"""That the trials find out syncs that are wrong in ways in which syncs have been."""

import asyncio
from typing import Any

import pytest
from crash.bench import Bench, Mode
from crash.comparing import Wrong
from crash.interrupts import Kind, Life, Point
from crash.language import Scenario
from crash.trial import try_out

from postroom.mail.model import Folder
from postroom.sync import store
from postroom.sync.model import Cursor
from postroom.sync.write import Writer

DELIVER = Scenario("deliver", "INBOX a b c | Work d", "deliver INBOX e f")
MESSAGES = Writer.messages

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("mode", list(Mode))
async def test_each_server_offers_what_its_mode_says(bench: Bench, mode: Mode) -> None:
    server = bench.servers[mode]
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(f'a LOGIN {server.address} "{server.password}"\r\n'.encode())
    said = await reader.readuntil(b"a OK") + await reader.readline()
    writer.close()

    assert (b"QRESYNC" in said, b"CONDSTORE" in said) == (mode is Mode.QRESYNC, mode is not Mode.PLAIN)


async def test_mail_that_is_not_stored_is_lost(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any, **__: Any) -> None: ...

    monkeypatch.setattr(Writer, "messages", nothing)

    with pytest.raises(Wrong, match="lost"):
        await try_out(bench, DELIVER, Mode.QRESYNC)


async def test_a_cursor_that_is_saved_before_its_rows_loses_mail_when_the_process_is_killed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cursor_first(writer: Writer, folder: Folder, *batch: Any, **how: Any) -> None:
        seen = list(bench.servers[Mode.QRESYNC].accounts.values())[-1].folder(folder.path)
        cursor = Cursor(seen.validity, seen.next_uid, seen.modseq, len(seen.messages))
        async with writer.db.transaction(writer.tenant) as conn:
            await store.move(conn, writer.tenant, folder.id, cursor)
        await MESSAGES(writer, folder, *batch, **how)

    monkeypatch.setattr(Writer, "messages", cursor_first)
    lives = await try_out(bench, DELIVER, Mode.QRESYNC)  # alone it does no harm

    with pytest.raises(Wrong, match="lost"):
        await killed_after_each_commit(bench, lives.then[0])


async def killed_after_each_commit(bench: Bench, life: Life) -> None:
    for number in range(life.commits):
        await try_out(bench, DELIVER, Mode.QRESYNC, then=[Point(Kind.KILL_AFTER, number + 1)])
