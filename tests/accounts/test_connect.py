"""Connecting: tested against the server first, stored sealed, nothing half done."""

from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from servers.dovecot import Dovecot
from servers.tenants import ONE, TWO

from postroom.accounts import credentials, store
from postroom.accounts.connect import Connected, NoServerFound, NothingToCopy, Wish, connect, examine
from postroom.accounts.model import AccountState, AlreadyConnected, Scope
from postroom.accounts.scope import BadPattern
from postroom.db.pool import Database
from postroom.errors import PostroomError
from postroom.events import log
from postroom.events.model import stream_of
from postroom.lab.server import LabServer, serve
from postroom.net.egress import Egress
from postroom.providers.model import NotTrusted, UnknownHost, WrongPassword
from postroom.providers.registry import Registry
from postroom.sync.halt import begin_anew
from postroom.sync.model import target
from postroom.vault.model import Damaged
from postroom.vault.seal import Key, Vault

PROVIDERS = Registry(Egress(private_allowed=True))
VAULT = Vault([Key.derived(b"a key that only tests know")])
pytestmark = pytest.mark.usefixtures("tenants")


def wish(server: LabServer) -> Wish:
    settings = {"host": server.host, "port": server.port, "security": "plain"}
    return Wish(server.address, server.password, settings=settings)


async def connected(db: Database, wanted: Wish) -> Connected:
    return await connect(db, VAULT, PROVIDERS, ONE, wanted, begin_anew)


async def test_a_mailbox_is_connected_with_an_estimate_and_an_event(db: Database) -> None:
    async with serve(messages=30, folder_count=2) as server:
        made = await connected(db, wish(server))

    assert made.estimate.messages >= 30
    assert (made.estimate.bytes or 0) > 1000
    assert made.account.state is AccountState.ACTIVE
    async with db.transaction(ONE) as conn:
        sealed = await store.secret(conn, ONE, made.account.id)
        (entry,) = await log.read(conn, ONE, stream_of(made.account.id))
    assert credentials.unseal(VAULT, ONE, made.account.public_id, sealed) == server.password
    assert entry.kind == "accounts.connected"
    assert str(made.account.public_id) in entry.body


async def test_how_many_connections_it_may_have_is_remembered(db: Database) -> None:
    async with serve(messages=1, folder_count=1) as server:
        made = await connected(db, replace(wish(server), connections=5))

    assert target(made.account).connections == 5


ACCOUNT = "SELECT a::text FROM postroom.accounts_account a WHERE id = $1"
EVENTS = "SELECT string_agg(e::text, ' ') FROM postroom.events_event e"
SECRET = "SELECT secret FROM postroom.accounts_account WHERE id = $1"


async def test_the_password_is_nowhere_in_the_database_and_opens_nowhere_else(db: Database, dsn: str) -> None:
    async with serve(messages=5) as server:
        made = await connected(db, wish(server))
    conn = await asyncpg.connect(dsn)
    account = await conn.fetchval(ACCOUNT, made.account.id)
    events = await conn.fetchval(EVENTS)
    sealed = await conn.fetchval(SECRET, made.account.id)
    await conn.close()

    assert server.password not in account + events + repr(wish(server))
    with pytest.raises(Damaged):
        credentials.unseal(VAULT, TWO, made.account.public_id, sealed)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"secret": "wrong"}, WrongPassword),
        ({"settings": {"host": "no-such-host.invalid", "port": 993, "security": "tls"}}, UnknownHost),
        ({"scope": Scope(folders="no such folder")}, NothingToCopy),
    ],
)
async def test_what_does_not_work_is_not_stored(
    db: Database, changes: dict[str, Any], kind: type[PostroomError]
) -> None:
    async with serve(messages=5) as server:
        with pytest.raises(kind):
            await connected(db, replace(wish(server), **changes))

    async with db.transaction(ONE) as conn:
        assert await store.find(conn, ONE, server.address) is None


async def test_a_connected_mailbox_is_connected_already_until_its_login_fails(db: Database) -> None:
    async with serve(messages=5) as server:
        first = await connected(db, wish(server))
        with pytest.raises(AlreadyConnected):
            await connected(db, wish(server))
        async with db.transaction(ONE) as conn:
            await store.set_state(conn, ONE, first.account.id, AccountState.REAUTH_REQUIRED, "changed")
        with pytest.raises(WrongPassword):
            await connected(db, replace(wish(server), secret="wrong"))

        again = await connected(db, wish(server))

    assert again.account.public_id == first.account.public_id
    assert again.account.state is AccountState.ACTIVE
    async with db.transaction(ONE) as conn:
        told = await log.read(conn, ONE, stream_of(first.account.id))
    assert [entry.kind for entry in told] == ["accounts.connected", "accounts.changed", "accounts.recovered"]


async def test_what_was_chosen_stays_when_a_mailbox_is_connected_again(db: Database) -> None:
    async with serve(messages=5) as server:
        first = await connected(db, replace(wish(server), daily_bytes=5 << 20, watch_folders="Sent"))
        async with db.transaction(ONE) as conn:
            await store.set_state(conn, ONE, first.account.id, AccountState.REAUTH_REQUIRED, "changed")

        again = await connected(db, wish(server))

    assert first.account.settings["daily_bytes"] == again.account.settings["daily_bytes"] == 5 << 20
    assert first.account.settings["watch_folders"] == again.account.settings["watch_folders"] == "Sent"


async def test_a_pattern_of_watched_folders_that_makes_no_sense_is_said_before_anybody_is_asked(
    db: Database,
) -> None:
    nobody = {"host": "127.0.0.1", "port": 1, "security": "plain"}
    with pytest.raises(BadPattern):
        await connected(db, Wish("eve@example.org", "any", settings=nobody, watch_folders=" , "))


async def test_the_scope_bounds_the_estimate() -> None:
    async with serve(messages=40, folder_count=4) as server:
        every = await examine(PROVIDERS, wish(server))
        inbox = await examine(PROVIDERS, replace(wish(server), scope=Scope(folders="INBOX")))

    assert inbox.estimate.folders == 1
    assert 0 < inbox.estimate.messages < every.estimate.messages


async def test_where_nothing_answers_the_owner_is_asked_for_the_server(db: Database) -> None:
    with pytest.raises(
        NoServerFound, match=r"tried imap\.nothing-here\.invalid, mail\.nothing-here\.invalid"
    ):
        await connected(db, Wish("ann@nothing-here.invalid", "secret"))


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_dovecot_is_connected_once_its_certificate_is_trusted(
    db: Database, dovecot: Dovecot, security: str
) -> None:
    user = dovecot.user()
    dovecot.append(user, "INBOX", [b"Subject: x\r\n\r\nhello\r\n"] * 3)
    port = dovecot.tls_port if security == "tls" else dovecot.port
    settings = {"host": dovecot.host, "port": port, "security": security}
    wanted = Wish(f"{user}@example.org", dovecot.password, settings=settings, username=user)
    with pytest.raises(NotTrusted):
        await connected(db, wanted)

    made = await connected(db, replace(wanted, ca_file=str(dovecot.ca_file)))

    assert made.estimate.messages == 3
    assert made.account.settings["username"] == user
