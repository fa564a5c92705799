"""Processes that share an account on a real server, counted at the server's door."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from providers.counting import Door, door
from servers.dovecot import Dovecot
from servers.tenants import ONE
from sync.mailboxes import connected

from postroom.accounts.model import Account
from postroom.db.pool import Database

pytestmark = pytest.mark.usefixtures("tenants")

FOR_EVER = 3600.0


@asynccontextmanager
async def lending(
    dsn: str, at: Door, dovecot: Dovecot, account: Account, *, tasks: int, seconds: float, ceiling: int = 2
) -> AsyncIterator[Process]:
    """Another process that is up."""
    user = str(account.settings["username"])
    words = [dsn, at.host, at.port, user, dovecot.password, ONE, account.id, ceiling, tasks, seconds]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "providers.lending", *map(str, words)),
        stdout=PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        await heard(process, "up")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def heard(process: Process, word: str, times: int = 1) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        for _ in range(times):
            assert (await process.stdout.readline()).decode().strip() == word


async def test_two_processes_never_have_more_than_the_ceiling_open(
    db: Database, dsn: str, dovecot: Dovecot
) -> None:
    account = await connected(db, dovecot, dovecot.known_user("many"))
    async with (
        door(dovecot.host, dovecot.port) as at,
        lending(dsn, at, dovecot, account, tasks=5, seconds=0.01) as one,
        lending(dsn, at, dovecot, account, tasks=5, seconds=0.01) as other,
    ):
        await asyncio.gather(heard(one, "lent", 60), heard(other, "lent", 60))
        assert at.came > 4  # it is not always the same who keep it
        assert at.most == 2


async def test_what_a_killed_process_has_is_free_for_others(db: Database, dsn: str, dovecot: Dovecot) -> None:
    account = await connected(db, dovecot, dovecot.known_user("killed"))
    async with (
        door(dovecot.host, dovecot.port) as at,
        lending(dsn, at, dovecot, account, tasks=2, seconds=FOR_EVER) as one,
        lending(dsn, at, dovecot, account, tasks=2, seconds=FOR_EVER) as other,
    ):
        await heard(one, "lent", 2)
        assert at.inside == 2
        one.kill()
        async with asyncio.timeout(15):
            await heard(other, "lent", 2)
        assert at.most == 2
