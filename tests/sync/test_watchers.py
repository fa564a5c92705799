"""Executors in processes of their own, which share what they watch: one is killed, or they are replaced."""

import asyncio
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import count, cycle
from pathlib import Path

import pytest
from cli.conftest import Cli
from servers.dovecot import Dovecot
from servers.mailbox import other_client
from servers.tenants import ONE
from sync.mailboxes import KEY, connected

from postroom.accounts.model import Account
from postroom.db.pool import Database
from postroom.ids import AccountId

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tenants", "alone")]

ROOT = Path(__file__).parents[2]
PROMISED = 15  # seconds
PAUSE = 0.03  # seconds between two mails
HERE, ELSEWHERE = "postroom.cli", "sync.elsewhere"
WATCHED = "SELECT account_id, process, since FROM sync_watch WHERE means IS NOT NULL"
ANNOUNCED = """
    SELECT e.stream, m.message_id, e.at
      FROM events_event e JOIN mail_message m ON m.public_id = (e.body::jsonb ->> 'message')::uuid
     WHERE e.kind = 'mail.added' ORDER BY e.stream, e.seq
"""

Process = subprocess.Popen[bytes]


class Executors:
    """Those of one installation, none of which polls an account in its turn."""

    def __init__(self, cli: Cli, log: Path) -> None:
        self._environment = cli.environment(
            POSTROOM_SECRET_KEY=KEY,
            POSTROOM_EMAIL_SYNC_INTERVAL_MINUTES="1440",
            PYTHONPATH=os.pathsep.join(str(ROOT / name) for name in ("src", "tests")),
        )
        self._log, self._started = log, list[Process]()

    def start(self, program: str = HERE) -> Process:
        command = [sys.executable, "-m", program, "executor"]
        with self._log.open("ab") as log:
            self._started.append(subprocess.Popen(command, stdout=log, stderr=log, env=self._environment))
        return self._started[-1]

    def stop(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()


@pytest.fixture
def executors(dsn: str, tmp_path: Path) -> Iterator[Executors]:
    cli = Cli(tmp_path / "data", {"POSTROOM_DATABASE_URL": dsn})
    found = Executors(cli, tmp_path / "executors.log")
    yield found
    found.stop()


async def watchers(db: Database) -> Mapping[AccountId, tuple[int, datetime]]:
    """Of each account that is watched: by the process of which number, and since when."""
    async with db.transaction(ONE) as conn:
        rows = await conn.fetch(WATCHED)
    return {row["account_id"]: (int(row["process"].split(" ")[1]), row["since"]) for row in rows}


async def shares(db: Database) -> Counter[int]:
    return Counter(pid for pid, _ in (await watchers(db)).values())


async def until_watched(db: Database, accounts: int, by: set[Process]) -> None:
    """All of them, by these processes alone, as many by each."""
    numbers, each = {process.pid for process in by}, accounts // len(by)
    async with asyncio.timeout(120):
        while await shares(db) != dict.fromkeys(numbers, each):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


class Deliveries:
    """What came into the inboxes of accounts."""

    def __init__(self, dovecot: Dovecot, users: Mapping[AccountId, str]) -> None:
        self._dovecot, self._users, self._numbers = dovecot, users, count()
        self.ids: defaultdict[AccountId, list[str]] = defaultdict(list)

    def put(self, account: AccountId) -> None:
        message_id = f"{next(self._numbers)}@arrived.example"
        with other_client(self._dovecot, self._users[account]) as client:
            client.append("INBOX", f"Message-ID: <{message_id}>\r\nSubject: hello\r\n\r\n".encode())
        self.ids[account].append(message_id)

    async def come_until(self, is_over: Callable[[], bool]) -> None:
        for account in cycle(self._users):
            if is_over():
                return
            await asyncio.to_thread(self.put, account)
            await asyncio.sleep(PAUSE)

    async def announced(self, db: Database) -> Mapping[AccountId, list[tuple[str, datetime]]]:
        """Each `mail.added`, once there are as many as were delivered."""
        async with asyncio.timeout(120):
            while True:
                async with db.transaction(ONE) as conn:
                    rows = await conn.fetch(ANNOUNCED)
                if len(rows) >= sum(map(len, self.ids.values())):
                    break
                await asyncio.sleep(0.05)
        found: defaultdict[AccountId, list[tuple[str, datetime]]] = defaultdict(list)
        for row in rows:
            found[row["stream"]].append((row["message_id"], row["at"]))
        return found


@pytest.fixture
async def users(db: Database, dovecot: Dovecot) -> Mapping[AccountId, str]:
    """Of six accounts."""

    async def made() -> tuple[Account, str]:
        user = dovecot.known_user("shared")
        return await connected(db, dovecot, user), user

    return {account.id: user for account, user in [await made() for _ in range(6)]}


@pytest.mark.parametrize("program", [HERE, ELSEWHERE])
async def test_what_a_killed_process_watched_is_watched_and_told_of_by_another_within_15_seconds(
    db: Database, dovecot: Dovecot, executors: Executors, users: Mapping[AccountId, str], program: str
) -> None:
    victim, other = executors.start(program), executors.start()
    await until_watched(db, len(users), {victim, other})
    lost = {account for account, (pid, _) in (await watchers(db)).items() if pid == victim.pid}
    deliveries, killed_at = Deliveries(dovecot, users), datetime.now(UTC)
    victim.kill()
    victim.wait()
    for account in lost:
        await asyncio.to_thread(deliveries.put, account)
    announced = await deliveries.announced(db)
    await until_watched(db, len(users), {other})

    taken = await watchers(db)
    moments = [taken[account][1] for account in lost] + [announced[account][0][1] for account in lost]
    assert max((moment - killed_at).total_seconds() for moment in moments) <= PROMISED


async def test_a_rolling_restart_loses_no_mail_and_announces_none_twice(
    db: Database, dovecot: Dovecot, executors: Executors, users: Mapping[AccountId, str]
) -> None:
    old, new = [executors.start(), executors.start()], list[Process]()
    await until_watched(db, len(users), set(old))
    deliveries, is_over = Deliveries(dovecot, users), False

    async def restart() -> None:
        nonlocal is_over
        for process in old:
            process.terminate()
            assert await asyncio.to_thread(process.wait, 60) == 0
            new.append(executors.start())
            running = {*old, *new} - {one for one in old if one.returncode is not None}
            await until_watched(db, len(users), running)
        is_over = True

    await asyncio.gather(restart(), deliveries.come_until(lambda: is_over))
    announced = await deliveries.announced(db)

    assert {account: [each for each, _ in found] for account, found in announced.items()} == deliveries.ids
