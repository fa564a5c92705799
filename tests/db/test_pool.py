import asyncio
from contextlib import suppress

import asyncpg
import pytest

from postroom.db.model import NotPrepared, Unreachable
from postroom.db.pool import Database, open_pool, savepoint
from postroom.errors import PostroomError
from postroom.ids import AccountId, TenantId

ANN, BOB = TenantId(1), TenantId(2)


async def put(conn: asyncpg.Connection, tenant: TenantId, name: str) -> None:
    await conn.execute("INSERT INTO db_lease VALUES ($1, $2, 'me', 1, now())", tenant, name)


async def names(db: Database, tenant: TenantId) -> list[str]:
    async with db.transaction(tenant) as conn:
        return [row["name"] for row in await conn.fetch("SELECT name FROM db_lease ORDER BY name")]


async def test_a_tenant_sees_its_own_rows_only(db: Database) -> None:
    for tenant, name in ((ANN, "a"), (BOB, "b")):
        async with db.transaction(tenant) as conn:
            await put(conn, tenant, name)

    assert await names(db, ANN) == ["a"]
    assert await names(db, BOB) == ["b"]


async def test_a_row_for_another_tenant_cannot_be_written(db: Database) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with db.transaction(ANN) as conn:
            await put(conn, BOB, "b")


FIRST, SECOND = AccountId(1), AccountId(2)
JOB = (
    "INSERT INTO jobs_job (tenant_id, public_id, kind, account_id) VALUES ($1, gen_random_uuid(), 'a.b', $2)"
)
JOBS = "SELECT account_id FROM jobs_job ORDER BY account_id"


async def test_who_is_limited_sees_and_writes_what_is_of_their_accounts_only(db: Database) -> None:
    for tenant in (ANN, BOB):
        async with db.transaction(tenant) as conn:
            for account in (FIRST, SECOND, None):
                await conn.execute(JOB, tenant, account)

    async with db.limited_to([FIRST]).transaction(ANN) as conn:
        await conn.execute(JOB, ANN, FIRST)
        assert [row[0] for row in await conn.fetch(JOBS)] == [FIRST, FIRST]
        assert await conn.execute("DELETE FROM jobs_job") == "DELETE 2"
    async with db.limited_to([]).transaction(ANN) as conn:
        assert await conn.fetch(JOBS) == []
    async with db.limited_to(None).transaction(ANN) as conn:
        assert [row[0] for row in await conn.fetch(JOBS)] == [SECOND, None]


@pytest.mark.parametrize("account", [SECOND, None])
async def test_who_is_limited_writes_nothing_for_others(db: Database, account: AccountId | None) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with db.limited_to([FIRST]).transaction(ANN) as conn:
            await conn.execute(JOB, ANN, account)


@pytest.mark.parametrize("table", ["people_key", "accounts_token", "sync_folder", "events_seal"])
async def test_what_no_route_reads_is_not_there_for_who_is_limited(db: Database, table: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with db.limited_to([FIRST]).transaction(ANN) as conn:
            await conn.fetch(f'TABLE "{table}"')


async def test_limits_end_with_the_transaction_however_that_ends(dsn: str) -> None:
    async with open_pool(dsn, size=1) as db:
        async with db.transaction(ANN) as conn:
            for account in (FIRST, SECOND):
                await conn.execute(JOB, ANN, account)
        limited = db.limited_to([FIRST])
        for _ in range(3):
            async with limited.transaction(ANN, lasting_plans=True) as conn:
                assert len(await conn.fetch(JOBS)) == 1
            async with db.transaction(ANN, lasting_plans=True) as conn:
                assert len(await conn.fetch(JOBS)) == 2
            with suppress(asyncpg.DivisionByZeroError):
                async with limited.transaction(ANN) as conn:
                    await conn.execute("SELECT 1 / 0")
            with suppress(TimeoutError):
                async with limited.transaction(ANN) as conn, asyncio.timeout(0.01):
                    await conn.execute("SELECT pg_sleep(60)")
            async with db.single() as conn:
                assert await conn.fetchval("SELECT current_user") == "postroom_app"
                assert not await conn.fetchval("SELECT current_setting('postroom.accounts', true)")


async def test_without_a_tenant_there_are_no_rows(db: Database) -> None:
    async with db.transaction(ANN) as conn:
        await put(conn, ANN, "a")

    async with db.unbound() as conn:
        assert await conn.fetch("SELECT * FROM db_lease") == []


async def test_a_single_statement_is_committed_and_sees_nothing_of_the_tenant_before_it(dsn: str) -> None:
    async with open_pool(dsn, size=1) as db:
        async with db.transaction(ANN) as conn:
            await put(conn, ANN, "a")
        async with db.single() as conn:
            seen = await conn.fetch("SELECT * FROM db_lease")
        async with db.single() as conn:
            await conn.execute("SELECT set_config('application_name', 'changed', false)")
            lasting = conn
        async with db.single() as conn:
            assert conn is lasting
            name = await conn.fetchval("SELECT current_setting('application_name')")

    assert seen == []
    assert name == "changed"


async def test_a_single_statement_that_fails_costs_no_connection_and_one_cut_off_does(dsn: str) -> None:
    async with open_pool(dsn, size=1) as db:
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with db.single() as conn:
                await conn.execute("SELECT 1 / 0")
        async with db.single() as after_error:
            assert after_error is conn
        with pytest.raises(TimeoutError):
            async with db.single() as conn, asyncio.timeout(0.01):
                await conn.execute("SELECT pg_sleep(60)")

        assert conn.is_closed()
        assert await names(db, ANN) == []


async def test_an_error_undoes_everything(db: Database) -> None:
    async def fail() -> None:
        async with db.transaction(ANN) as conn:
            await put(conn, ANN, "a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert await names(db, ANN) == []


async def test_a_swallowed_error_never_looks_like_a_commit(db: Database) -> None:
    async def swallow() -> None:
        async with db.transaction(ANN) as conn:
            await put(conn, ANN, "a")
            with suppress(asyncpg.DivisionByZeroError):
                await conn.execute("SELECT 1 / 0")

    with pytest.raises(RuntimeError, match="nothing of it is stored"):
        await swallow()


async def test_a_savepoint_fails_alone(db: Database) -> None:
    async with db.transaction(ANN) as conn:
        await put(conn, ANN, "kept")
        with suppress(asyncpg.DivisionByZeroError):
            async with savepoint(conn):
                await put(conn, ANN, "lost")
                await conn.execute("SELECT 1 / 0")

    assert await names(db, ANN) == ["kept"]


async def test_a_cancelled_statement_leaves_no_lock_and_no_dirty_connection(dsn: str) -> None:
    async with open_pool(dsn, size=1) as db:
        async with db.transaction(ANN) as conn:
            await put(conn, ANN, "a")
            first = await conn.fetchval("SELECT pg_backend_pid()")

        async def hang() -> None:
            async with db.transaction(ANN) as conn:
                await conn.execute("UPDATE db_lease SET holder = 'dirty'")
                await conn.execute("SELECT pg_sleep(60)")

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await hang()

        async with asyncio.timeout(20), db.transaction(ANN) as conn:
            assert await conn.fetchval("SELECT holder FROM db_lease FOR UPDATE") == "me"
            assert await conn.fetchval("SELECT pg_backend_pid()") != first


async def test_a_timeout_inside_a_transaction_ends_it_cleanly(dsn: str) -> None:
    async with open_pool(dsn, size=1) as db:

        async def hang() -> None:
            async with db.transaction(ANN) as conn:
                await put(conn, ANN, "a")
                async with asyncio.timeout(0.05):
                    await conn.execute("SELECT pg_sleep(60)")

        with pytest.raises(TimeoutError):
            await hang()

        assert await names(db, ANN) == []


async def test_a_cancelled_wait_between_statements_stores_nothing(dsn: str) -> None:
    async with open_pool(dsn, size=1) as db:
        started = asyncio.Event()

        async def wait() -> None:
            async with db.transaction(ANN) as conn:
                await put(conn, ANN, "a")
                started.set()
                await asyncio.Event().wait()

        task = asyncio.ensure_future(wait())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await names(db, ANN) == []


async def test_an_ordinary_error_does_not_cost_the_connection(dsn: str) -> None:
    async with open_pool(dsn, size=1) as db:
        pids = set()
        for _ in range(3):
            with suppress(asyncpg.UniqueViolationError):
                async with db.transaction(ANN) as conn:
                    pids.add(await conn.fetchval("SELECT pg_backend_pid()"))
                    await put(conn, ANN, "a")

    assert len(pids) == 1


async def test_no_more_connections_than_places(dsn: str) -> None:
    async with open_pool(dsn, size=3) as db:

        async def ask() -> int:
            async with db.transaction(ANN) as conn:
                pid: int = await conn.fetchval("SELECT pg_backend_pid()")
                return pid

        pids = await asyncio.gather(*(ask() for _ in range(50)))

    assert len(set(pids)) <= 3


async def fail_with(db: Database, sqlstate: str) -> None:
    async with db.transaction(ANN) as conn:
        await conn.execute(
            "DO $$ BEGIN RAISE EXCEPTION 'told so' "
            f"USING ERRCODE = '{sqlstate}', DETAIL = 'More lines.', HINT = 'And more.'; END $$"
        )


@pytest.mark.parametrize(
    ("sqlstate", "code"),
    [
        ("53100", "db.disk_full"),
        ("57P01", "db.unreachable"),
        ("40P01", "db.busy"),
        ("53300", "db.busy"),
        ("53200", "db.busy"),  # out of memory
        ("57014", "db.busy"),  # cancelled by an administrator
        ("25006", "db.busy"),  # a standby that is not in charge yet
    ],
)
async def test_trouble_of_the_server_is_one_sentence(db: Database, sqlstate: str, code: str) -> None:
    with pytest.raises(PostroomError) as error:
        await fail_with(db, sqlstate)

    assert error.value.code == code
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


async def test_a_connection_lost_in_the_middle_is_one_sentence_and_the_next_works(db: Database) -> None:
    async def lose() -> None:
        async with db.transaction(ANN) as conn:
            await put(conn, ANN, "a")
            killer = await asyncpg.connect(db.dsn)
            await killer.execute(
                "SELECT pg_terminate_backend($1)", await conn.fetchval("SELECT pg_backend_pid()")
            )
            await killer.close()
            await conn.execute("SELECT 1")

    with pytest.raises(Unreachable):
        await lose()

    assert await names(db, ANN) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("host=", "host=/nowhere"), "db.unreachable"),
        (("/test_", "/missing_"), "db.refused"),
        (("//postroom@", "//nobody-we-know@"), "db.refused"),
    ],
)
async def test_a_door_that_stays_shut_is_one_sentence(dsn: str, change: tuple[str, str], code: str) -> None:
    with pytest.raises(PostroomError) as error:
        async with open_pool(dsn.replace(*change)):
            pass

    assert error.value.code == code


async def test_a_role_that_is_missing_says_that_the_database_is_not_prepared(dsn: str) -> None:
    with pytest.raises(NotPrepared):
        async with open_pool(dsn, role="postroom_of_tomorrow"):
            pass
