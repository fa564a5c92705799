from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from servers.tenants import ANNS, ONE

from postroom.db.pool import Connection, Database
from postroom.mail.keep import keep
from postroom.mail.model import Came, Folder, Incoming, Placed
from postroom.mail.store import folders, places, write
from postroom.mime.parse import parse
from postroom.providers.model import FolderRole, RemoteFolder

pytestmark = pytest.mark.usefixtures("tenants")
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def conn(db: Database) -> AsyncIterator[Connection]:
    async with db.transaction(ONE) as connection:
        yield connection


@pytest.fixture
async def inbox(conn: Connection) -> Folder:
    return await folders.save(conn, ONE, ANNS, RemoteFolder(b"INBOX", "INBOX", "/", FolderRole.INBOX))


@pytest.fixture
async def archive(conn: Connection) -> Folder:
    return await folders.save(conn, ONE, ANNS, RemoteFolder(b"&BBA-", "А", "/"))


def mail(folder: Folder, uid: int, raw: str, *flags: str) -> Incoming:
    content = raw.encode()
    return Incoming(
        folder.id,
        uid,
        frozenset(flags),
        START + timedelta(minutes=uid),
        sha256(content).digest(),
        len(content),
        keep(parse(content)),
    )


def text(number: int, *references: int) -> str:
    mentioned = " ".join(f"<mail-{n}@example.org>" for n in references)
    return (
        f"Message-ID: <mail-{number}@example.org>\r\nReferences: {mentioned}\r\nSubject: n{number}\r\n\r\nhi"
    )


async def add(conn: Connection, folder: Folder, *incoming: Incoming) -> list[Placed]:
    return await write.add(conn, ONE, ANNS, folder, incoming)


async def threads(conn: Connection) -> Sequence[tuple[str, int]]:
    rows = await conn.fetch(
        "SELECT string_agg(m.subject, ' ' ORDER BY m.subject) AS subjects, t.messages"
        "  FROM mail_message m JOIN mail_thread t ON t.id = m.thread_id GROUP BY t.id ORDER BY 1"
    )
    return [(row["subjects"], row["messages"]) for row in rows]


async def test_a_folder_saved_again_keeps_its_identity(conn: Connection, inbox: Folder) -> None:
    again = await folders.save(conn, ONE, ANNS, RemoteFolder(b"INBOX", "Posteingang", "/"))

    assert (again.id, again.public_id, again.path) == (inbox.id, inbox.public_id, "Posteingang")


async def test_one_content_in_two_folders_is_one_message(
    conn: Connection, inbox: Folder, archive: Folder
) -> None:
    [first] = await add(conn, inbox, mail(inbox, 1, text(1)))
    [second] = await add(conn, archive, mail(archive, 7, text(1), "\\Seen"))

    assert (first.came, second.came) == (Came.ADDED, Came.COPIED)
    assert first.public_id == second.public_id
    assert await conn.fetchval("SELECT count(*) FROM mail_placement") == 2
    assert await conn.fetchval("SELECT seen FROM mail_message")


async def test_threads_are_the_same_whatever_arrives_first(conn: Connection, inbox: Folder) -> None:
    await add(conn, inbox, mail(inbox, 9, text(3, 1, 2)), mail(inbox, 8, text(5, 4)))
    await add(conn, inbox, mail(inbox, 7, text(2, 1)))
    await add(conn, inbox, mail(inbox, 6, text(1)), mail(inbox, 5, text(4)))

    assert await threads(conn) == [("n1 n2 n3", 3), ("n4 n5", 2)]


async def test_a_late_mail_joins_two_threads_into_one(conn: Connection, inbox: Folder) -> None:
    await add(conn, inbox, mail(inbox, 1, text(1)))
    await add(conn, inbox, mail(inbox, 2, text(2)))
    await add(conn, inbox, mail(inbox, 3, text(3, 1, 2)))
    await add(conn, inbox, mail(inbox, 4, text(4, 2)))

    assert await threads(conn) == [("n1 n2 n3 n4", 4)]
    assert await conn.fetchval("SELECT count(*) FROM mail_thread WHERE merged_into IS NOT NULL") == 1


async def test_flags_follow_the_server(conn: Connection, inbox: Folder) -> None:
    await add(conn, inbox, mail(inbox, 1, text(1)), mail(inbox, 2, text(2), "\\Flagged"))

    changed = await places.set_flags(
        conn, ONE, inbox.id, {1: frozenset({"\\Seen", "$Work"}), 2: frozenset(), 99: frozenset({"\\Seen"})}
    )

    assert set(changed) == {1, 2}
    rows = await conn.fetch("SELECT subject, seen, flagged FROM mail_message ORDER BY subject")
    assert [tuple(row) for row in rows] == [("n1", True, False), ("n2", False, False)]
    assert await folders.flags(conn, ONE, inbox.id, [1, 2]) == {
        1: frozenset({"\\Seen", "$Work"}),
        2: frozenset(),
    }


async def test_a_move_keeps_the_message(conn: Connection, inbox: Folder, archive: Folder) -> None:
    [before] = await add(conn, inbox, mail(inbox, 1, text(1)))
    await places.displace(conn, ONE, inbox, [1])
    [after] = await add(conn, archive, mail(archive, 1, text(1)))

    assert (after.public_id, after.came) == (before.public_id, Came.MOVED)
    assert after.before is not None
    assert after.before.folder == inbox.public_id
    assert await places.purge(conn, ONE, ANNS) == []


async def test_what_lies_nowhere_is_purged_and_its_thread_counts_it_no_more(
    conn: Connection, inbox: Folder
) -> None:
    first, second = await add(conn, inbox, mail(inbox, 1, text(1)), mail(inbox, 2, text(2, 1)))
    [displaced] = await places.displace(conn, ONE, inbox, [1, 55])

    assert displaced.public_id == first.public_id
    assert await places.purge(conn, ONE, ANNS, timedelta(hours=1)) == []
    [purged] = await places.purge(conn, ONE, ANNS)
    assert purged.public_id == first.public_id
    assert await threads(conn) == [("n2", 1)]
    assert second.came is Came.ADDED


async def test_every_text_that_mail_can_hold_is_storable(conn: Connection, inbox: Folder) -> None:
    raw = "Subject: =?utf-8?b?8J+SqQ==?= \x00\ud7ff\r\nFrom: \x00 <a@b>\r\nTo: \x01\x02\r\n\r\nnul: \x00 end"

    [added] = await add(conn, inbox, mail(inbox, 1, raw, "$Label'\"\\odd"))

    assert added.came is Came.ADDED


async def test_statistics_that_still_hold_are_not_made_again(db: Database) -> None:
    async def made() -> int:
        async with db.transaction(ONE) as conn:
            await conn.execute("SELECT pg_stat_force_next_flush()")
        async with db.transaction(ONE) as conn:
            await write.analyze(conn)
        async with db.transaction(ONE) as conn:
            return int(await conn.fetchval("SELECT pg_stat_get_analyze_count('mail_folder'::regclass)"))

    async with db.transaction(ONE) as conn:
        await folders.save(conn, ONE, ANNS, RemoteFolder(b"INBOX", "INBOX", "/", FolderRole.INBOX))
    once = await made()

    assert await made() == once
