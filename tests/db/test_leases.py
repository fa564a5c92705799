import asyncio
import os
import sys
from datetime import timedelta

import pytest

from postroom.db import leases, process
from postroom.db.leases import acquire, fence, hold, holding, release, renew
from postroom.db.model import Lease, LeaseHeld, LeaseLost, Unreachable
from postroom.db.pool import Database
from postroom.ids import TenantId

ANN, BOB = TenantId(1), TenantId(2)
CUT_OFF = "idle_in_transaction_session_timeout"
OVER = timedelta(0)  # a time to live that has already ended


async def got(db: Database, holder: str, ttl: timedelta = leases.TTL) -> Lease:
    lease = await acquire(db, ANN, "account 1", holder, ttl)
    assert lease is not None
    return lease


async def test_one_holder_at_a_time(db: Database) -> None:
    await got(db, "one")

    assert await acquire(db, ANN, "account 1", "two") is None
    assert await acquire(db, ANN, "account 2", "two") is not None
    assert await acquire(db, BOB, "account 1", "two") is not None


async def test_many_who_ask_at_once_get_it_once(db: Database) -> None:
    for account in range(20):  # after the first, connections are there and all ask in the same moment
        name = f"account {account}"
        found = await asyncio.gather(*(acquire(db, ANN, name, str(n)) for n in range(20)))

        assert len([lease for lease in found if lease is not None]) == 1


async def test_the_token_grows_with_each_holder(db: Database) -> None:
    first = await got(db, "one", OVER)
    second = await got(db, "two")
    await release(db, second)
    third = await got(db, "one")

    assert first.token < second.token < third.token


async def test_a_holder_that_wakes_up_late_can_neither_write_nor_renew_nor_release(db: Database) -> None:
    late = await got(db, "late", OVER)
    current = await got(db, "current")

    with pytest.raises(LeaseLost):
        async with db.transaction(ANN) as conn:
            await fence(conn, late)
    with pytest.raises(LeaseLost):
        await renew(db, late)
    await release(db, late)

    async with db.transaction(ANN) as conn:
        await fence(conn, current)


async def test_a_lease_past_its_time_still_writes_until_somebody_takes_over(db: Database) -> None:
    slow = await got(db, "slow", OVER)

    async with db.transaction(ANN) as conn:
        await fence(conn, slow)
    await renew(db, slow)

    assert await acquire(db, ANN, "account 1", "other") is None


async def test_a_takeover_waits_for_the_commit_of_a_writer(db: Database) -> None:
    writer = await got(db, "writer", OVER)
    order = []

    async def take_over() -> None:
        await got(db, "other")
        order.append("taken over")

    async with asyncio.TaskGroup() as group, db.transaction(ANN) as conn:
        await fence(conn, writer)
        group.create_task(take_over())
        await waiting_for_a_lock(db)
        order.append("written")
    assert order == ["written", "taken over"]


async def test_who_stands_still_in_mid_write_holds_up_a_takeover_no_longer_than_a_lease(db: Database) -> None:
    lease = await got(db, "writer")

    async with db.transaction(ANN) as conn:
        await fence(conn, lease)
        seconds = await conn.fetchval("SELECT extract(epoch FROM current_setting($1)::interval)", CUT_OFF)

    assert timedelta(seconds=int(seconds)) <= leases.TTL


async def test_a_renewal_does_not_wait_for_a_writer(db: Database) -> None:
    lease = await got(db, "writer")

    async with asyncio.timeout(10), db.transaction(ANN) as conn:
        await fence(conn, lease)
        await renew(db, lease)


async def test_a_renewal_beats_a_takeover_that_was_waiting(db: Database) -> None:
    lease = await got(db, "writer", OVER)

    async with asyncio.TaskGroup() as group, db.transaction(ANN) as conn:
        await fence(conn, lease)
        takeover = group.create_task(acquire(db, ANN, "account 1", "other"))
        await waiting_for_a_lock(db)
        await conn.execute(leases.RENEW, ANN, "account 1", lease.token, leases.TTL)

    assert takeover.result() is None


async def test_a_fence_waits_for_a_takeover_under_way_and_then_refuses(db: Database) -> None:
    late = await got(db, "late", OVER)

    async def write() -> None:
        async with db.transaction(ANN) as conn:
            await fence(conn, late)

    async with db.transaction(ANN) as conn:
        await conn.execute(leases.TAKE, ANN, "account 1", "other", leases.TTL, None)
        writing = asyncio.ensure_future(write())
        await waiting_for_a_lock(db)
    with pytest.raises(LeaseLost):
        await writing


async def test_a_block_holds_the_lease_and_gives_it_back(db: Database) -> None:
    async with holding(db, ANN, "account 1"):
        with pytest.raises(LeaseHeld):
            async with holding(db, ANN, "account 1"):
                pass

    assert await acquire(db, ANN, "account 1", "next") is not None


async def test_a_block_is_renewed_for_as_long_as_it_runs(db: Database) -> None:
    ttl = timedelta(seconds=0.3)
    renewals = 0
    async with holding(db, ANN, "account 1", ttl=ttl) as lease:
        ends = None
        while renewals < 3:
            async with asyncio.timeout(10), db.transaction(ANN) as conn:
                now = await conn.fetchval("SELECT expires_at FROM db_lease WHERE token = $1", lease.token)
            renewals += now != ends
            ends = now


async def test_a_lost_lease_cancels_the_block(db: Database) -> None:
    cancelled = False

    async def lose() -> None:
        nonlocal cancelled
        async with holding(db, ANN, "account 1", ttl=timedelta(seconds=0.1)):
            async with db.transaction(ANN) as conn:
                await conn.execute("UPDATE db_lease SET token = token + 1, holder = 'other'")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled = True
                raise

    with pytest.raises(LeaseLost):
        async with asyncio.timeout(10):
            await lose()
    assert cancelled


async def test_the_blocks_own_error_comes_through_as_it_is(db: Database) -> None:
    async def fail() -> None:
        async with holding(db, ANN, "account 1"):
            raise ZeroDivisionError from KeyError("cause")

    with pytest.raises(ZeroDivisionError) as failed:
        await fail()
    assert isinstance(failed.value.__cause__, KeyError)
    assert await acquire(db, ANN, "account 1", "next") is not None


async def test_what_could_not_be_given_back_is_ours_to_take_again_once(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_db: Database, _lease: Lease) -> None:
        raise Unreachable("The database is away.")

    with monkeypatch.context() as patch:
        patch.setattr(leases, "release", away)
        async with holding(db, ANN, "account 1"):
            assert await acquire(db, ANN, "account 1", process.identity()) is None

    asking = (acquire(db, ANN, "account 1", process.identity()) for _ in range(5))
    got = [lease for lease in await asyncio.gather(*asking) if lease is not None]

    assert len(got) == 1


async def test_the_lease_of_a_process_killed_here_is_free_at_once(db: Database) -> None:
    code = "from postroom.db import process; print(process.identity(), flush=True); input()"
    other = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", code),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert other.stdout is not None
    first = await got(db, (await other.stdout.readline()).decode().strip())

    assert await acquire(db, ANN, "account 1", process.identity()) is None
    other.kill()
    await other.wait()
    second = await got(db, process.identity())

    assert second.token > first.token


@pytest.mark.parametrize("holder", ["", "a b", "a b c", "elsewhere 1 5", "me"])
def test_a_process_that_cannot_be_seen_counts_as_alive(holder: str) -> None:
    assert not process.is_dead(process.identity() if holder == "me" else holder)


async def waiting_for_a_lock(db: Database) -> None:
    """Return as soon as some statement in this database waits for a row."""
    query = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
    async with asyncio.timeout(10):
        found = False
        while not found:
            async with db.unbound() as conn:
                found = await conn.fetchval(query)


async def test_the_last_transaction_under_a_lease_gives_it_back_or_does_nothing(db: Database) -> None:
    async with hold(db, await got(db, "one")) as held:
        with pytest.raises(ZeroDivisionError):
            async with held.last():
                raise ZeroDivisionError
        assert await acquire(db, ANN, "account 1", "other") is None
    assert await acquire(db, ANN, "account 1", "other", OVER) is not None  # the end of the block has

    async with hold(db, await got(db, "one")) as held:
        async with held.last():
            pass
        assert await acquire(db, ANN, "account 1", "other") is not None


async def test_a_lease_that_was_given_back_is_not_renewed(db: Database) -> None:
    ttl = timedelta(milliseconds=30)  # it would be renewed every 10 ms
    async with hold(db, await got(db, "one"), ttl=ttl) as held:
        async with held.last():
            pass
        after = await got(db, "other")
        await acquire(db, ANN, "account 2", "other")  # some round trips pass
        async with db.transaction(ANN) as conn:
            await fence(conn, after)


async def test_who_has_lost_a_lease_writes_nothing_in_its_last_transaction(db: Database) -> None:
    late = await got(db, "late", OVER)
    await got(db, "current")

    with pytest.raises(LeaseLost):
        async with hold(db, late) as held, held.last():
            pytest.fail("it may not write")
