"""The one function that looks past row-level security shows nobody's mail to anybody else, and is fast."""

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from search.conftest import Mailbox
from search.test_query import NOW, QUERIES

from postroom.db.pool import Database, connect
from postroom.ids import AccountId, FolderId
from postroom.search import store
from postroom.search.compile import Compiled, Names, compile_query
from postroom.search.document import prepare
from postroom.search.model import BadQuery, Searchable
from postroom.search.query import parse

CALL = """
    SELECT message_id FROM search_matches($1, $2::text::tsquery, $2::text::tsquery, NULL, NULL, '{}', '{}',
                                          NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, now(),
                                          10, 10, 10)
     WHERE message_id IS NOT NULL
"""
TOLD = CALL.replace("message_id FROM", "* FROM").partition("WHERE")[0]
MANY = """
    INSERT INTO mail_message (tenant_id, account_id, public_id, thread_id, digest, size, subject, sender_name,
                              sender_address, recipients, received_at, preview, attachments, seen, flagged,
                              answered, draft, defects, parser)
    SELECT $1, $2, gen_random_uuid(), $3, '', 1, '', '', '', '{}', now(), '', 0,
           true, false, false, false, '{}', 1
      FROM generate_series(1, $4::int)
"""
SCANS = "SELECT pg_stat_get_xact_numscans('search_settled_vector'::regclass)"
TSQUERY = "SELECT $1::text::tsquery"
SEES = "SELECT message_id FROM search_document"
DEFINERS = """
    SELECT proname, proconfig, pg_get_userbyid(proowner) AS owner,
           has_function_privilege('public', oid, 'EXECUTE') AS public
      FROM pg_proc
     WHERE proname LIKE 'search\\_%' AND prosecdef
"""


async def test_a_search_never_shows_a_neighbour(mailbox: Mailbox, neighbour: Mailbox) -> None:
    mine = await mailbox.add("report")
    theirs = await neighbour.add("report")

    assert await mailbox.found("report") == {mine}
    assert await neighbour.found("report") == {theirs}
    assert await mailbox.found("report", accounts=[neighbour.account]) == set()


async def test_the_function_refuses_any_tenant_but_that_of_the_transaction(
    mailbox: Mailbox, neighbour: Mailbox
) -> None:
    await neighbour.add("report")

    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="does not belong"):
        async with mailbox.db.transaction(mailbox.tenant) as conn:
            await conn.fetch(CALL, neighbour.tenant, "'report'")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="does not belong"):
        async with mailbox.db.unbound() as conn:
            await conn.fetch(CALL, neighbour.tenant, "'report'")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="does not belong"):
        async with mailbox.db.transaction(mailbox.tenant) as conn:
            await conn.fetch(CALL, None, "'report'")


async def test_a_query_for_the_neighbours_own_lexemes_finds_nothing(
    mailbox: Mailbox, neighbour: Mailbox
) -> None:
    await neighbour.add("report")

    async with mailbox.db.transaction(mailbox.tenant) as conn:
        for query in ("'report'", f"'o:{neighbour.tenant}'", f"'a:{neighbour.account}'", "!'nothing'"):
            assert await conn.fetch(CALL, mailbox.tenant, query) == []


@pytest.mark.parametrize("settled", [False, True])
async def test_who_is_limited_to_some_accounts_finds_their_mail_only(
    mailbox: Mailbox, second_account: Mailbox, neighbour: Mailbox, settled: bool
) -> None:
    mine, other = await mailbox.add("report"), await second_account.add("report")
    await neighbour.add("report")
    if settled:
        await mailbox.settle()
    queries = "'report'", f"'o:{mailbox.tenant}'", "'report' | 'other'", "!'other'", f"'a:{other}' | 'report'"

    for accounts, wanted in (
        ([mailbox.account], {mine}),
        ([second_account.account], {other}),
        ([mailbox.account, second_account.account], {mine, other}),
        ([neighbour.account], set()),
        ([], set()),
    ):
        async with mailbox.db.limited_to(accounts).transaction(mailbox.tenant) as conn:
            for query in queries:
                rows = await conn.fetch(TOLD, mailbox.tenant, query)
                assert {row["message_id"] for row in rows} - {None} == wanted, (accounts, query)
                assert {row["matched"] for row in rows} == {len(wanted)}, (accounts, query)


async def test_the_tables_themselves_stay_behind_the_wall(mailbox: Mailbox, neighbour: Mailbox) -> None:
    mine = await mailbox.add("report")
    theirs = await neighbour.add("report")
    await neighbour.settle()

    async with mailbox.db.transaction(mailbox.tenant) as conn:
        assert [row["message_id"] for row in await conn.fetch(SEES)] == [mine]
        await store.remove(conn, mailbox.tenant, [theirs])
        await store.remove(conn, neighbour.tenant, [theirs])
    assert await neighbour.found("report") == {theirs}


async def test_what_runs_with_more_rights_pins_its_search_path_and_is_not_for_everybody(dsn: str) -> None:
    conn = await connect(dsn)
    try:
        definers = await conn.fetch(DEFINERS)
    finally:
        await conn.close()

    assert {(row["proname"], row["owner"]) for row in definers} == {
        ("search_matches", "postroom_system"),
        ("search_unsettled", "postroom_system"),
    }
    for row in definers:
        assert "search_path=postroom, pg_temp" in row["proconfig"]
        assert not row["public"]


async def test_the_running_role_reads_through_the_index(mailbox: Mailbox, dsn: str) -> None:
    owner = await connect(dsn)
    try:
        await owner.execute(MANY, mailbox.tenant, mailbox.account, mailbox.thread, 3_000)
        messages = [row["id"] for row in await owner.fetch("SELECT id FROM mail_message ORDER BY id")]
        mails = [
            Searchable(message, mailbox.account, NOW, "", "", "", "", f"number{number} common")
            for number, message in enumerate(messages)
        ]
        async with mailbox.db.transaction(mailbox.tenant) as conn:
            await store.index(conn, mailbox.tenant, [prepare(mailbox.tenant, mail) for mail in mails])
        await mailbox.settle()
        await owner.execute("VACUUM ANALYZE search_settled")
    finally:
        await owner.close()

    async with mailbox.db.transaction(mailbox.tenant) as conn:
        before = await conn.fetchval(SCANS)
        found = await conn.fetch(CALL, mailbox.tenant, "'number7'")
        after = await conn.fetchval(SCANS)

    assert [row["message_id"] for row in found] == [messages[7]]
    assert after > before


async def test_removing_a_message_removes_its_words(mailbox: Mailbox) -> None:
    message = await mailbox.add("report")
    await mailbox.settle()

    async with mailbox.db.transaction(mailbox.tenant) as conn:
        await conn.execute("DELETE FROM mail_message WHERE id = $1", message)

    assert await mailbox.found("report") == set()


@pytest.mark.parametrize("query", ["report", "report is:read", "is:read", "report -label:x"])
async def test_mail_that_lies_in_no_folder_any_more_is_not_found(mailbox: Mailbox, query: str) -> None:
    message, other = await mailbox.add("report"), await mailbox.add("report")

    async with mailbox.db.transaction(mailbox.tenant) as conn:
        await conn.execute("UPDATE mail_message SET unplaced_at = now() WHERE id = $1", message)

    assert await mailbox.found(query) == {other}


async def test_indexing_again_replaces_the_words(mailbox: Mailbox) -> None:
    message = await mailbox.add("before")
    await mailbox.settle()
    mail = Searchable(message, mailbox.account, NOW, "", "", "", "", "afterwards")

    async with mailbox.db.transaction(mailbox.tenant) as conn:
        await store.index(conn, mailbox.tenant, [prepare(mailbox.tenant, mail)])

    assert await mailbox.found("before") == set()
    assert await mailbox.found("afterwards") == {message}
    assert await mailbox.settle() == 1
    assert await mailbox.found("afterwards") == {message}


async def test_settling_is_asked_for_exactly_where_mail_waits(mailbox: Mailbox, neighbour: Mailbox) -> None:
    for _ in range(3):
        await mailbox.add("report")
    await neighbour.add("report")
    await neighbour.settle()

    async with mailbox.db.unbound() as conn:
        assert await store.unsettled(conn, 10) == [mailbox.tenant]
    assert await mailbox.settle() == 3
    async with mailbox.db.unbound() as conn:
        assert await store.unsettled(conn, 10) == []


async def test_postgresql_accepts_every_query_that_is_compiled(db: Database, mailbox: Mailbox) -> None:
    compiled: list[Compiled] = []
    names = Names(folders={"x": [FolderId(1)]}, accounts={"me": [AccountId(1)]})

    @given(QUERIES)
    @settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], database=None)
    def collect(query: str) -> None:
        try:
            tree = parse(query, NOW)
        except BadQuery:
            return
        compiled.append(compile_query(tree, mailbox.tenant, None, names))

    collect()
    async with db.transaction(mailbox.tenant) as conn:
        for query in compiled:
            for text in (query.narrow, query.exact, query.words):
                await conn.fetchval(TSQUERY, text)
            await store.matches(conn, mailbox.tenant, query, store.Window(NOW), 1)


async def test_strange_mail_is_stored_and_found(mailbox: Mailbox) -> None:
    strange = "\0 \ud800 '\\' \u202e &<>| é" * 10 + " " + "x" * 5000 + " ".join(map(str, range(50_000)))

    message = await mailbox.add(strange, subject=strange, attachments=(strange,), message_id=strange)

    assert await mailbox.found("49 é") == {message}
