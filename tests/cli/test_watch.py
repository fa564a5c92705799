"""`postroom watch`: mail as it arrives, from the log of whoever fetches it."""

import asyncio
import json
import signal
import subprocess
from email.message import EmailMessage
from typing import Any

import asyncpg
import pytest
from servers.copies import Copy

from postroom.db.listen import open_hints
from postroom.db.pool import open_pool
from postroom.events import log
from postroom.events.model import Event, stream_of
from postroom.ids import AccountId, TenantId

from .conftest import Cli

pytestmark = pytest.mark.slow

ONE = TenantId(1)
ADDRESS = "ann@example.org"
CONNECT = """
    INSERT INTO postroom.accounts_account (tenant_id, public_id, address, provider, settings)
    VALUES (1, gen_random_uuid(), $1, 'imap', '{}') RETURNING id
"""
DROP = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def mail(subject: str, sender: str = "Bob <bob@example.org>") -> bytes:
    made = EmailMessage()
    made["From"], made["Subject"], made["Message-ID"] = sender, subject, f"<{subject}@example.org>"
    made.set_content("hello")
    return made.as_bytes()


class House:
    """What an executor does beside the command, on the same database."""

    def __init__(self, cli: Cli) -> None:
        self.dsn = cli.options["POSTROOM_DATABASE_URL"]
        self._delivered = 0

    def connect(self, address: str) -> AccountId:
        async def run() -> AccountId:
            conn = await asyncpg.connect(self.dsn)
            made = AccountId(await conn.fetchval(CONNECT, address))
            await conn.close()
            return made

        return asyncio.run(run())

    def drop(self) -> None:
        async def run() -> None:
            conn = await asyncpg.connect(self.dsn)
            await conn.execute(DROP)
            await conn.close()

        asyncio.run(run())

    def deliver(self, account: AccountId, *mails: bytes, **data: Any) -> list[str]:
        """As a sync does; their ids."""

        async def run() -> list[str]:
            async with open_pool(self.dsn) as db, open_hints(db):
                copy = Copy(db, ONE, account, uid=self._delivered)
                folder = await copy.folder("INBOX")
                self._delivered += len(mails)
                ids = [str(one.public_id) for one in await copy.deliver(*mails)]
                async with db.transaction(ONE) as conn:
                    told = {"folder": str(folder.public_id), "flags": [], **data}
                    events = [Event("mail.added", {"message": message, **told}) for message in ids]
                    await log.append(conn, ONE, stream_of(account), events)
            return ids

        return asyncio.run(run())

    def tell(self, account: AccountId, kind: str, **data: Any) -> None:
        async def run() -> None:
            async with open_pool(self.dsn) as db, open_hints(db), db.transaction(ONE) as conn:
                await log.append(conn, ONE, stream_of(account), [Event(kind, data)])

        asyncio.run(run())


def begun(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    return process.stderr.readline()


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.fixture
def house(cli: Cli) -> House:
    assert cli("status").status == 0  # makes the tenant
    return House(cli)


def test_mail_is_shown_as_it_arrives_and_ctrl_c_ends_it_quietly(cli: Cli, house: House) -> None:
    account = house.connect(ADDRESS)
    house.deliver(account, mail("before"))
    with cli.running("watch") as process:
        first = begun(process)
        house.deliver(account, mail("old"), backfill=True)
        house.deliver(account, mail("Lunch? \x1b[31m"))
        shown = line(process)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)

    assert ADDRESS in first
    assert shown.startswith("new mail  Bob: Lunch? ")
    assert "(INBOX of ann@example.org, " in shown
    assert "\x1b" not in shown
    assert (process.returncode, rest, errors) == (0, "", "")


def test_without_a_mailbox_it_says_what_to_do_and_shows_what_is_connected_later(
    cli: Cli, house: House
) -> None:
    with cli.running("watch") as process:
        first = begun(process)
        house.deliver(house.connect(ADDRESS), mail("Hello"))
        shown = line(process)

    assert "postroom connect" in first
    assert f"INBOX of {ADDRESS}" in shown


def test_one_account_can_be_watched_and_programs_get_lines_of_json(cli: Cli, house: House) -> None:
    ours, theirs = house.connect(ADDRESS), house.connect("eve@example.org")
    with cli.running("watch", "--account", "eve@example.org") as other:
        begun(other)
        with cli.running("watch", "--account", ADDRESS, "--json") as process:
            begun(process)
            house.deliver(theirs, mail("not mine"))
            house.deliver(ours, mail("mine"))
            found = json.loads(line(process))
        shown = line(other)

    assert "not mine" in shown
    assert found["mail"] == {
        "subject": "mine",
        "from": {"name": "Bob", "address": "bob@example.org"},
        "received_at": found["mail"]["received_at"],
    }
    assert (found["address"], found["folder"], found["kind"]) == (ADDRESS, "INBOX", "mail.added")
    assert {"cursor", "account", "stream", "seq", "at", "data"} <= found.keys()


def test_all_shows_what_happens_to_mail_and_what_is_gone_is_no_error(cli: Cli, house: House) -> None:
    account = house.connect(ADDRESS)
    gone = "0197a3b0-0000-7000-8000-000000000000"
    with cli.running("watch", "--all") as process:
        begun(process)
        [message] = house.deliver(account, mail("Lunch?"))
        arrived = json.loads(cli("events", "--json").out.splitlines()[-1])["data"]
        flags = {"message": message, "folder": arrived["folder"], "flags": ["\\Seen"]}
        house.tell(account, "mail.flags_changed", **flags)
        house.tell(account, "mail.removed", message=message)
        house.tell(account, "mail.added", message=gone, folder=gone, flags=[])
        shown = [line(process) for _ in range(4)]

    assert [one.split("  (")[0] for one in shown] == [
        "new mail  Bob: Lunch?",
        "flags     Bob: Lunch?  [\\Seen]",
        "removed   Bob: Lunch?",
        "new mail",
    ]
    assert "(gone already)" in shown[3]


def test_a_database_that_drops_it_is_waited_for_and_nothing_is_missed(cli: Cli, house: House) -> None:
    account = house.connect(ADDRESS)
    with cli.running("watch") as process:
        begun(process)
        house.drop()
        house.deliver(account, mail("meanwhile"))
        shown = line(process)

    assert "meanwhile" in shown


def test_an_account_that_is_not_there_is_said_to_be_none(cli: Cli, house: House) -> None:
    del house
    done = cli("watch", "--account", "nobody@example.org")

    assert (done.status, "[accounts.not_found]" in done.err) == (1, True)
