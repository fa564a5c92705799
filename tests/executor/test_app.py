"""The documented Celery app, with all that belongs to an installation: a mailbox that is due is copied."""

import asyncio
from pathlib import Path

import pytest
from executor.runners import Runners
from servers.dovecot import Dovecot
from servers.mailbox import other_client
from servers.redis import Redis
from servers.tenants import ONE, TWO
from sync.mailboxes import connected, copied

from postroom.db.pool import Database
from postroom.jobs import store
from postroom.jobs.model import Job, State, Wish
from postroom.jobs.store import duties
from postroom.vault.check import check
from postroom.vault.seal import Key, Vault

pytestmark = pytest.mark.usefixtures("tenants")

SECRET = "a key that is only for tests"


async def jobs(db: Database) -> list[Job]:
    async with db.transaction(ONE) as conn:
        return await store.page(conn, ONE, limit=10)


async def duties_done(db: Database) -> set[str]:
    async with db.unbound() as conn:
        return {duty.name for duty in await duties.listed(conn) if duty.last_at and not duty.last_error}


@pytest.mark.slow
async def test_beat_and_a_worker_copy_a_mailbox_that_is_due_and_do_what_recurs(
    db: Database, dsn: str, dovecot: Dovecot, redis: Redis, tmp_path: Path
) -> None:
    user = dovecot.user("celery")
    with other_client(dovecot, user) as client:
        for number in range(12):
            client.append("INBOX", b"Subject: mail %d\r\n\r\nhello %d" % (number, number))
    for tenant in (ONE, TWO):  # their first accounts lead to no server
        async with db.transaction(tenant) as conn:
            await conn.execute("UPDATE accounts_account SET state = 'paused'")
    account = await connected(db, dovecot, user)
    redis.ask("FLUSHALL")
    settings = {"POSTROOM_SECRET_KEY": SECRET, "POSTROOM_DATA": str(tmp_path)}
    runners = Runners(dsn, tmp_path, redis, "postroom.executor.celery", settings)
    try:
        runners.start()
        runners.start_beat()
        async with asyncio.timeout(60):
            while not (await jobs(db) and await duties_done(db)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            while (await jobs(db))[0].state is not State.COMPLETED:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        await asyncio.to_thread(runners.stop)

    assert [job.progress.items_found for job in await jobs(db)] == [12]
    assert len(await copied(db, account)) == 12


@pytest.mark.slow
async def test_a_worker_with_another_key_ends_with_one_sentence_before_it_takes_a_job(
    db: Database, dsn: str, redis: Redis, tmp_path: Path
) -> None:
    async with db.unbound() as conn:
        await check(conn, Vault([Key.derived(SECRET.encode())]))
    async with db.transaction(ONE) as conn:
        await store.enqueue(conn, ONE, [Wish("sync.account")])
    redis.ask("FLUSHALL")
    settings = {"POSTROOM_SECRET_KEY": "another key than the others", "POSTROOM_DATA": str(tmp_path)}
    runners = Runners(dsn, tmp_path, redis, "postroom.executor.celery", settings)
    try:
        status = await asyncio.to_thread(runners.start().wait, 60)
    finally:
        await asyncio.to_thread(runners.stop)

    said = (tmp_path / "runner0.log").read_text()
    assert (status, said.count("[vault.wrong_key]\n"), "Traceback" in said) == (1, 1, False)
    assert [job.attempts for job in await jobs(db)] == [0]
