"""A job is named by as much of its id as no other one's begins with."""

import pytest
from servers.tenants import ONE, TWO

from postroom.db.pool import Database
from postroom.ids import TenantId
from postroom.jobs import store
from postroom.jobs.model import Ambiguous, Enqueued, NoSuchJob, Wish
from postroom.jobs.store import names

pytestmark = pytest.mark.usefixtures("tenants")

MANY = 300


async def made(db: Database, count: int, tenant: TenantId = ONE) -> list[Enqueued]:
    async with db.transaction(tenant) as conn:
        return await store.enqueue(conn, tenant, [Wish("test.a") for _ in range(count)])


async def test_each_short_name_finds_its_job_and_no_shorter_one_would(db: Database) -> None:
    jobs = await made(db, MANY)
    async with db.transaction(ONE) as conn:
        short = await names.short(conn, ONE, [job.public_id for job in jobs])
        for job in jobs:
            name = short[job.public_id]
            assert str(job.public_id).startswith(name)
            assert (await names.find(conn, ONE, name)).id == job.id
            if len(name) > len("00000000-0000"):
                with pytest.raises(Ambiguous):
                    await names.find(conn, ONE, name[:-1].rstrip("-"))

    assert max(map(len, short.values())) > len("00000000-0000")


async def test_a_job_alone_in_its_millisecond_has_the_shortest_name(db: Database) -> None:
    [job] = await made(db, 1)
    async with db.transaction(ONE) as conn:
        assert await names.short(conn, ONE, [job.public_id]) == {job.public_id: str(job.public_id)[:13]}


@pytest.mark.parametrize("write", [str.upper, lambda name: name.replace("-", ""), lambda name: name[:4]])
async def test_a_name_is_read_however_it_is_written(db: Database, write: object) -> None:
    [job] = await made(db, 1)
    assert callable(write)
    async with db.transaction(ONE) as conn:
        assert (await names.find(conn, ONE, write(str(job.public_id)))).id == job.id


@pytest.mark.parametrize("name", ["", "019", "nonsense", "%", "0" * 33, "00000000-0000-7"])
async def test_what_names_no_job_is_said_to_be_so(db: Database, name: str) -> None:
    await made(db, 1)
    async with db.transaction(ONE) as conn:
        with pytest.raises(NoSuchJob):
            await names.find(conn, ONE, name)


async def test_jobs_of_others_neither_are_found_nor_lengthen_a_name(db: Database) -> None:
    [mine] = await made(db, 1)
    [other] = await made(db, 1, TWO)
    async with db.transaction(ONE) as conn:
        with pytest.raises(NoSuchJob):
            await names.find(conn, ONE, str(other.public_id))
        assert (await names.find(conn, ONE, str(mine.public_id)[:4])).id == mine.id
