"""The assistant of the examples: it is killed with -9 after each of its steps, and its thoughts are whole."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest
from library.desk import SECRET, Desk
from servers.copies import Copy

from postroom.db.pool import Database
from postroom.ids import AccountId
from postroom.people import keys

EXAMPLE = Path(__file__).parents[2] / "examples" / "assistant" / "assistant.py"
STEPS = ["think search_mail", "tools", "think read_mail", "tools An order", "think It says: Two, please."]
LETTER = b"From: Zoe <zoe@zoe.example>\r\nSubject: An order\r\n\r\nTwo, please.\r\n"
ACCOUNT = """
    INSERT INTO accounts_account (tenant_id, public_id, address, provider, settings)
    VALUES ($1, gen_random_uuid(), 'us@example.org', 'imap', '{}') RETURNING id
"""
KEPT = "SELECT count(*) FROM public.checkpoints WHERE thread_id = $1"


async def steps(dsn: str, thread: str, kill_after: int | None = None) -> list[str]:
    """What the assistant prints, until it ends or is killed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {"POSTROOM_DATABASE_URL": dsn, "POSTROOM_SECRET_KEY": SECRET}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLE), thread, "What does Zoe want?"), stdout=PIPE, env=environment
    )
    said: list[str] = []
    assert process.stdout is not None
    async with asyncio.timeout(60):
        async for line in process.stdout:
            if line.startswith((b"think ", b"tools ")):
                said.append(line.decode().rstrip())
            if len(said) == kill_after:
                process.send_signal(signal.SIGKILL)
                break
        await process.wait()
    assert process.returncode == (0 if kill_after is None else -signal.SIGKILL)
    return said


@pytest.fixture
async def mailbox(db: Database) -> None:
    tenant = await keys.our_tenant(db)
    async with db.transaction(tenant) as conn:
        account = AccountId(await conn.fetchval(ACCOUNT, tenant))
    await Copy(db, tenant, account).deliver(LETTER)


@pytest.mark.slow
@pytest.mark.usefixtures("mailbox")
async def test_it_goes_on_where_it_was_killed_and_repeats_nothing_that_was_kept(desk: Desk) -> None:
    for killed_after in range(1, len(STEPS)):
        thread = f"thread {killed_after}"
        before = await steps(desk.dsn, thread, killed_after)
        kept = await desk.conn.fetchval(KEPT, thread)
        after = await steps(desk.dsn, thread)

        said = [*before, *after]
        assert are(before, STEPS[:killed_after])
        assert are(after, STEPS[len(STEPS) - len(after) :])
        assert len(after) <= len(STEPS) - killed_after + 1, said  # one step may have been told and not kept
        assert await desk.conn.fetchval(KEPT, thread) > kept
    assert are(await steps(desk.dsn, "a thread that nobody kills"), STEPS)


def are(said: list[str], expected: list[Any]) -> bool:
    return len(said) == len(expected) and all(
        one.startswith(other) for one, other in zip(said, expected, strict=True)
    )
