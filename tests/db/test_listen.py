import asyncio
from contextlib import suppress
from itertools import count

import asyncpg
import pytest

from postroom.db.listen import BOUND, CHANNEL, Hearing, Hint, open_hints
from postroom.db.pool import Database

NUMBERS = count()


async def until(hearing: Hearing, wanted: Hint) -> list[Hint]:
    """Everything heard until that was, but what `ready` has told: a hint may come twice."""
    heard: list[Hint] = []
    async with asyncio.timeout(10):
        while wanted not in heard:
            heard.append(await anext(hearing))
    return [hint for hint in heard if hint is None or not hint.startswith(("begun ", "done "))]


async def ready(db: Database, hearing: Hearing, topic: str = "mail") -> None:
    """Return once what others tell is heard, and nothing waits to be heard."""
    begun, done = f"begun {next(NUMBERS)}", f"done {next(NUMBERS)}"
    heard: list[Hint] = []
    async with open_hints(db) as other:
        while begun not in heard:
            other.tell(topic, begun)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    heard.append(await anext(hearing))
        other.tell(topic, done)
        await until(hearing, done)


async def test_a_hint_reaches_every_hearing_of_its_topic(db: Database) -> None:
    async with open_hints(db) as hints:
        with hints.hear("mail") as one, hints.hear("jobs") as two, hints.hear("mail", "jobs") as three:
            await ready(db, one, "mail")
            await ready(db, two, "jobs")
            await ready(db, three, "jobs")
            hints.tell("mail", "7")
            hints.tell("jobs", "8")

            assert "8" not in await until(one, "7")
            assert "7" not in await until(two, "8")
            assert await until(three, "8") == ["7", "8"]


async def test_what_is_told_here_is_heard_here_at_once_and_once(db: Database) -> None:
    async with open_hints(db) as hints, open_hints(db) as elsewhere:
        with hints.hear("mail") as here, elsewhere.hear("mail") as there:
            await ready(db, here)
            await ready(db, there)
            hints.tell("mail", "7")
            await until(here, "7")
            await until(there, "7")
            hints.tell("mail", "last")

            assert "7" not in await until(here, "last")


async def test_many_hints_travel_together_and_arrive_one_by_one(db: Database) -> None:
    async with open_hints(db) as hints, open_hints(db) as elsewhere:
        with elsewhere.hear("mail") as hearing:
            await ready(db, hearing)
            wanted = [f"a subject of some length {n}" for n in range(BOUND - 1)]
            for subject in wanted:
                hints.tell("mail", subject)

            assert await until(hearing, wanted[-1]) == wanted


@pytest.mark.parametrize("number", ["9" * 20, str(1 << 63), "9" * 5000, "٩" * 25])
async def test_a_number_that_nothing_has_is_heard_by_nobody(db: Database, number: str) -> None:
    """Any login of the database may NOTIFY, and who hears reads numbers that go into the next statement."""
    async with open_hints(db) as hints:
        with hints.hear("mail") as hearing:
            await ready(db, hearing)
            conn = await asyncpg.connect(db.dsn)
            largest = str((1 << 63) - 1)
            for subject in (number, f"1 {number} ended", largest, "last"):
                await conn.execute("SELECT pg_notify('postroom', $1)", f"mail {subject}")
            await conn.close()

            assert await until(hearing, "last") == [largest, "last"]


async def test_whoever_begins_to_listen_begins_with_a_look(db: Database) -> None:
    async with open_hints(db) as hints:
        with hints.hear("mail") as hearing:
            assert await until(hearing, None) == [None]


async def test_what_is_told_last_is_still_sent(db: Database) -> None:
    async with open_hints(db) as here:
        with here.hear("mail") as hearing:
            await ready(db, hearing)
            async with open_hints(db) as there:
                there.tell("mail", "7")

            assert await until(hearing, "7") == ["7"]


async def test_a_thousand_equal_hints_become_one(db: Database) -> None:
    async with open_hints(db) as hints:
        with hints.hear("mail") as hearing:
            await ready(db, hearing)
            for _ in range(1000):
                hints.tell("mail", "7")
            hints.tell("mail", "last")

            assert await until(hearing, "last") == ["7", "last"]


async def test_after_a_lost_connection_everything_may_have_happened(db: Database) -> None:
    async with open_hints(db) as hints:
        with hints.hear("mail") as hearing:
            await ready(db, hearing)
            conn = await asyncpg.connect(db.dsn)
            await conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
            )
            await conn.close()

            await until(hearing, None)
            hints.tell("mail", "7")
            assert (await until(hearing, "7"))[-1] == "7"


async def test_hints_of_others_on_our_channel_do_no_harm(db: Database) -> None:
    async with open_hints(db) as hints:
        with hints.hear("mail") as hearing:
            await ready(db, hearing)
            async with db.unbound() as conn:
                for payload in ("", " ", "x", "mail"):
                    await conn.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)

            await until(hearing, None)


async def test_a_slow_listener_is_bounded() -> None:
    hearing = Hearing(frozenset({"mail"}))
    await anext(hearing)

    for n in range(BOUND + 1):
        hearing.put(str(n))

    assert await anext(hearing) is None
    hearing.put("next")
    assert await anext(hearing) == "next"


async def test_the_blocks_own_error_comes_through_as_it_is(db: Database) -> None:
    async def fail() -> None:
        async with open_hints(db):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
