"""A handler's writes and "handled" are one: each event once, in order, whatever fails."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from library.desk import Desk, added, arrive, given, room_of, write
from servers.tenants import ONE, TWO
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from postroom.db.pool import Database
from postroom.events import remove
from postroom.library import Event, HandlerKnown, Unusable
from postroom.vault.seal import Vault

WAYS = ["nothing", "pool", "sessions"]
# Whoever has written a ticket that is not committed.
CUT = """
    SELECT pg_terminate_backend(pid) FROM pg_locks
     WHERE relation = 'public.ticket'::regclass AND mode = 'RowExclusiveLock'
"""
STOPPED = "SELECT bool_or(stopped_at IS NOT NULL) FROM postroom.library_handler"
MANY = 130  # more than two transactions hold


@pytest.fixture(params=WAYS)
async def session(request: pytest.FixtureRequest, dsn: str) -> Any:
    async with given(dsn, request.param) as found:
        yield found


class Refused(Exception):
    """What an application's code raises."""


async def test_what_came_before_and_what_comes_now_is_handled_once_and_in_order(
    desk: Desk, db: Database, session: Any
) -> None:
    room = room_of(desk.dsn, session)
    room.on("mail.added")(desk.ticket)
    before = await arrive(db, *added(MANY))
    async with room:
        now = await arrive(db, *added(3))
        await desk.until_tickets(MANY + 3)

    assert await desk.messages() == before + now
    assert desk.handled == before + now


async def test_an_application_that_starts_again_goes_on_behind_what_is_handled(
    desk: Desk, db: Database, session: Any
) -> None:
    expected = []
    for _ in range(3):
        expected += await arrive(db, *added(2))
        room = room_of(desk.dsn, session)
        room.on("mail.added", name="tickets")(desk.ticket)
        async with room:
            await desk.until_tickets(len(expected))

    assert await desk.messages() == expected


async def test_an_event_that_fails_undoes_what_was_written_for_it_alone_and_nothing_passes_it(
    desk: Desk, db: Database, session: Any
) -> None:
    messages = await arrive(db, *added(10))
    refuses = True
    room = room_of(desk.dsn, session)

    @room.on("mail.added")
    async def ticket(event: Event, tx: Any) -> None:
        await write(event, tx)
        if refuses and event.message == messages[6]:
            desk.handled.append(event.message)
            raise Refused

    async def failed_twice() -> bool:
        return desk.handled.count(messages[6]) >= 3  # once among others

    async with room:
        await desk.until(failed_twice)
        assert await desk.messages() == messages[:6]
        [state] = await room.handlers(await name_of(db, ONE))
        assert state.failures >= 1
        assert state.stopped_at is None
        refuses = False
        await desk.until_tickets(10)

    assert await desk.messages() == messages


async def test_a_handler_that_waits_for_what_was_cancelled_fails_and_ends_nobody(
    desk: Desk, db: Database
) -> None:
    """More often than there are tasks that handle."""
    [message] = await arrive(db, *added(1))
    room = room_of(desk.dsn)

    @room.on("mail.added", attempts=3)
    async def ticket(event: Event, tx: Any) -> None:
        await write(event, tx)
        cancelled = asyncio.ensure_future(asyncio.Event().wait())
        cancelled.cancel()
        await cancelled

    for number in range(5):
        room.on("mail.added", name=f"other{number}", attempts=1)(ticket)
    room.on("mail.added", name="well")(desk.ticket)

    async def all_have_stopped() -> bool:
        found = await room.handlers(await name_of(db, ONE))
        return sum(each.stopped_at is not None for each in found) == 6

    async with room:
        await desk.until_tickets(1)
        await desk.until(all_have_stopped)

    assert await desk.messages() == [message]


async def test_a_handler_that_fails_too_often_stops_there_and_the_log_says_so(
    desk: Desk, db: Database
) -> None:
    messages = await arrive(db, *added(5), stream=1)
    refuses = True
    room = room_of(desk.dsn)

    @room.on("mail.added", attempts=2)
    async def ticket(event: Event, tx: Any) -> None:
        await write(event, tx)
        if refuses and event.message == messages[2]:
            raise Refused

    @room.on("library.handler_stopped")
    async def alert(event: Event, _tx: Any) -> None:
        desk.handled.append(event.tenant)
        assert event.data == {
            "v": 1,
            "handler": "library.ticket",
            "seq": 3,
            "account": event.data["account"],
        }

    async def alerted() -> bool:
        return bool(desk.handled)

    tenant = await name_of(db, ONE)
    async with room:
        await desk.until(alerted)
        assert await desk.messages() == messages[:2]
        [_, state] = await room.handlers(tenant)
        assert state.stopped_at is not None
        refuses = False
        assert await room.resume("ticket", tenant)
        await desk.until_tickets(5)
        assert not await room.resume("ticket", tenant)

    assert desk.handled == [tenant]
    assert await desk.messages() == messages


class Panic(BaseException):
    """What extensions in Rust raise."""


@pytest.mark.parametrize("error", [SystemExit, Panic])
async def test_what_would_end_the_program_is_a_failure_of_its_handler(
    desk: Desk, db: Database, error: type[BaseException]
) -> None:
    [message] = await arrive(db, *added(1))
    room = room_of(desk.dsn)
    room.on("mail.added", name="well")(desk.ticket)

    @room.on("mail.added", attempts=1)
    async def ticket(event: Event, tx: Any) -> None:
        await write(event, tx)
        raise error

    async def stopped() -> bool:
        return bool(await desk.conn.fetchval(STOPPED))

    async with room:
        await desk.until(stopped)
        await desk.until_tickets(1)

    assert await desk.messages() == [message]


async def test_a_handler_that_stopped_goes_on_when_the_application_starts_again(
    desk: Desk, db: Database
) -> None:
    messages = await arrive(db, *added(2))
    tenant = await name_of(db, ONE)
    room = room_of(desk.dsn)

    @room.on("mail.added", attempts=1, name="tickets")
    async def refuse(_event: Event, _tx: Any) -> None:
        raise Refused

    async def stopped() -> bool:
        return any(state.stopped_at for state in await room.handlers(tenant))

    async with room:
        await desk.until(stopped)
    mended = room_of(desk.dsn)
    mended.on("mail.added", name="tickets")(desk.ticket)
    async with mended:
        await desk.until_tickets(2)

    assert await desk.messages() == messages


async def test_a_handler_can_be_sent_back_or_ahead(desk: Desk, db: Database) -> None:
    messages = await arrive(db, *added(3))
    tenant, refuses = await name_of(db, ONE), True
    room = room_of(desk.dsn)

    @room.on("mail.added", attempts=1)
    async def ticket(event: Event, tx: Any) -> None:
        if refuses and event.seq == 4:
            raise Refused
        await write(event, tx)

    async def stopped() -> bool:
        return any(state.stopped_at for state in await room.handlers(tenant))

    async with room:
        await desk.until_tickets(3)
        assert not await room.resume("ticket", tenant, start="beginning")
        await desk.until_tickets(6)
        await arrive(db, *added(2))
        await desk.until(stopped)
        assert await room.resume("ticket", tenant, start="now")
        [last] = await arrive(db, *added(1))
        await desk.until_tickets(7)

    assert await desk.messages() == [*messages, *messages, last]


async def test_a_handler_stops_where_what_it_has_not_handled_was_removed(
    desk: Desk, db: Database, vault: Vault
) -> None:
    await arrive(db, *added(3))
    tenant = await name_of(db, ONE)
    refusing, mended = room_of(desk.dsn), room_of(desk.dsn)

    @refusing.on("mail.added", name="tickets", attempts=1)
    async def refuse(_event: Event, _tx: Any) -> None:
        raise Refused

    mended.on("mail.added", name="tickets")(desk.ticket)

    async def stopped() -> bool:
        return bool(await desk.conn.fetchval(STOPPED))

    async with refusing:
        await desk.until(stopped)
    assert await remove.mark(db, vault.signer, ONE, datetime.now(UTC))
    [message] = await arrive(db, *added(1))
    async with mended:
        await desk.until(stopped)
        assert await mended.resume("tickets", tenant, start="beginning")
        await desk.until_tickets(1)

    assert await desk.messages() == [message]


async def test_a_hint_of_a_tenant_that_is_not_there_disturbs_nobody(
    desk: Desk, db: Database, session: Any
) -> None:
    """Of one that was deleted, or by any login that says NOTIFY."""
    room = room_of(desk.dsn, session)
    room.on("mail.added")(desk.ticket)
    async with room:
        messages = await arrive(db, *added(1))
        await desk.until_tickets(1)
        for number in (2, 3):
            await desk.conn.execute("SELECT pg_notify('postroom', 'events 999999')")
            messages += await arrive(db, *added(1))
            await desk.until_tickets(number)

    assert await desk.messages() == messages


async def test_a_handler_that_takes_too_long_has_failed(desk: Desk, db: Database, session: Any) -> None:
    [message] = await arrive(db, *added(1))
    room = room_of(desk.dsn, session)
    is_slow = True

    @room.on("mail.added", seconds=0.1)
    async def ticket(event: Event, tx: Any) -> None:
        nonlocal is_slow
        await write(event, tx)
        if is_slow:
            is_slow = False
            await asyncio.Event().wait()

    async with room:
        await desk.until_tickets(1)

    assert await desk.messages() == [message]


async def test_a_failed_statement_that_a_handler_hides_does_not_pass_for_success(
    desk: Desk, db: Database
) -> None:
    [message] = await arrive(db, *added(1))
    room = room_of(desk.dsn)

    @room.on("mail.added")
    async def ticket(event: Event, tx: Any) -> None:
        desk.handled.append(event.message)
        await write(event, tx)
        if len(desk.handled) == 1:
            with pytest.raises(asyncpg.UndefinedTableError):
                await tx.execute("SELECT FROM no_such_table")

    async with room:
        await desk.until_tickets(1)

    assert desk.handled == [message, message]


async def test_a_handler_that_commits_a_connection_itself_is_told_so_and_does_not_go_on(
    desk: Desk, db: Database
) -> None:
    await arrive(db, *added(1))
    room = room_of(desk.dsn)

    @room.on("mail.added", attempts=1)
    async def ticket(_event: Event, tx: Any) -> None:
        await tx.execute("COMMIT")

    tenant = await name_of(db, ONE)

    async def stopped() -> bool:
        return any(state.stopped_at for state in await room.handlers(tenant))

    async with room:
        await desk.until(stopped)


@pytest.mark.parametrize("ends", ["commit", "rollback", "now and then"])
async def test_a_session_that_a_handler_commits_or_rolls_back_loses_and_doubles_nothing(
    desk: Desk, db: Database, ends: str
) -> None:
    messages = await arrive(db, *added(7))
    async with given(desk.dsn, "sessions") as sessions:
        room = room_of(desk.dsn, sessions)

        @room.on("mail.added")
        async def ticket(event: Event, tx: AsyncSession) -> None:
            await write(event, tx)
            if ends == "commit":
                await tx.commit()
            elif ends == "rollback" or event.seq % 3 == 0:
                await tx.rollback()
            if event.seq == 7:
                await write(event, tx)

        async with room:
            await desk.until_tickets({"commit": 8, "rollback": 1, "now and then": 6}[ends])

    kept = {
        "commit": messages,
        "rollback": [],
        "now and then": [m for n, m in enumerate(messages, 1) if n % 3],
    }
    assert await desk.messages() == [*kept[ends], messages[6]]


async def test_two_processes_at_once_share_the_work_and_do_nothing_twice(
    desk: Desk, db: Database, session: Any
) -> None:
    expected = await arrive(db, *added(MANY))
    rooms = [room_of(desk.dsn, session) for _ in range(2)]
    for room in rooms:
        room.on("mail.added")(desk.ticket)
    async with rooms[0], rooms[1]:
        for _ in range(20):
            expected += await arrive(db, *added(5))
        await desk.until_tickets(len(expected))

    assert await desk.messages() == expected


async def test_the_order_of_each_account_is_kept_while_many_write(desk: Desk, db: Database) -> None:
    room = room_of(desk.dsn)
    room.on("mail.added")(desk.ticket)

    async def writes(stream: int) -> None:
        for _ in range(10):
            await arrive(db, *added(3), stream=stream)

    async with room, asyncio.TaskGroup() as group:
        for stream in range(1, 6):
            group.create_task(writes(stream))
        await desk.until_tickets(150)

    tickets = await desk.tickets()
    for stream in range(1, 6):
        assert [one["seq"] for one in tickets if one["stream"] == stream] == list(range(1, 31))


async def test_handlers_of_several_tenants_do_not_mix(desk: Desk, db: Database, session: Any) -> None:
    ones, twos = await arrive(db, *added(60), tenant=ONE), await arrive(db, *added(60), stream=2, tenant=TWO)
    room = room_of(desk.dsn, session)
    bound = set()

    @room.on("mail.added")
    async def ticket(event: Event, tx: Any) -> None:
        connection = tx if isinstance(tx, asyncpg.pool.PoolConnectionProxy) else None
        if connection is not None:
            bound.add((event.tenant, await connection.fetchval("SELECT current_setting('postroom.tenant')")))
        await desk.ticket(event, tx)

    async with room:
        await desk.until_tickets(120)

    tickets, called = await desk.tickets(), {ONE: await name_of(db, ONE), TWO: await name_of(db, TWO)}
    assert [one["message"] for one in tickets if one["tenant"] == called[ONE]] == ones
    assert [one["message"] for one in tickets if one["tenant"] == called[TWO]] == twos
    assert bound <= {(called[ONE], str(ONE)), (called[TWO], str(TWO))}


async def test_each_handler_has_a_cursor_of_its_own(desk: Desk, db: Database) -> None:
    messages = await arrive(db, *added(3))
    heard: list[Event] = []
    room = room_of(desk.dsn)
    room.on("mail.added")(desk.ticket)

    @room.on("mail.*", "accounts.*", start="now")
    async def late(event: Event, _tx: Any) -> None:
        heard.append(event)
        desk.told.set()

    async def begun() -> bool:
        return len(await room.handlers(await name_of(db, ONE))) == 2

    async def was_heard() -> bool:
        return bool(heard)

    async with room:
        await desk.until(begun)
        await desk.until_tickets(3)
        [last] = await arrive(db, *added(1))
        await desk.until(was_heard)
        await desk.until_tickets(4)

    assert [event.message for event in heard] == [last]
    assert await desk.messages() == [*messages, last]


async def test_what_an_older_transaction_holds_up_is_handled_when_that_ends(desk: Desk, db: Database) -> None:
    room = room_of(desk.dsn)
    room.on("mail.added")(desk.ticket)
    older = await asyncpg.connect(desk.dsn)
    transaction = older.transaction()
    await transaction.start()
    await older.fetchval("SELECT pg_current_xact_id()")
    messages = await arrive(db, *added(2))
    async with room:
        await transaction.commit()
        await desk.until_tickets(2)
    await older.close()

    assert await desk.messages() == messages


async def test_a_connection_that_is_lost_in_mid_transaction_loses_and_doubles_nothing(
    desk: Desk, db: Database, session: Any
) -> None:
    messages = await arrive(db, *added(3))
    room = room_of(desk.dsn, session)
    is_cut = False

    @room.on("mail.added")
    async def ticket(event: Event, tx: Any) -> None:
        nonlocal is_cut
        await write(event, tx)
        if event.message == messages[1] and not is_cut:
            is_cut = True
            other = await asyncpg.connect(desk.dsn)
            await other.fetch(CUT)
            await other.close()

    async with room:
        await desk.until_tickets(3)

    assert await desk.messages() == messages


async def test_what_cannot_be_a_handler_is_refused_at_once(desk: Desk) -> None:
    room = room_of(desk.dsn)
    room.on("mail.added", name="tickets")(desk.ticket)
    with pytest.raises(HandlerKnown):
        room.on("mail.removed", name="tickets")(desk.ticket)
    with pytest.raises(Unusable):
        room.on("mail.added", name="Tickets!")(desk.ticket)
    with pytest.raises(Unusable):
        async with room_of(desk.dsn, session=lambda: None):
            pass


async def test_sessions_that_share_a_transaction_are_refused_at_once(desk: Desk) -> None:
    """As an application's tests bind them to one connection, whose transaction is never committed."""
    async with given(desk.dsn, "sessions") as sessions, sessions.kw["bind"].connect() as conn:
        with pytest.raises(Unusable, match="of an engine"):
            async with room_of(desk.dsn, session=async_sessionmaker(conn)):
                pass


async def name_of(db: Database, tenant: Any) -> UUID:
    async with db.transaction(tenant) as conn:
        found: UUID = await conn.fetchval("SELECT public_id FROM people_tenant")
    return found


def test_the_package_imports_nothing_of_it_before_somebody_asks() -> None:
    asked = "import sys, postroom; assert 'fastapi' not in sys.modules; postroom.Postroom"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
