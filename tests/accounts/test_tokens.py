"""Tokens are asked for once by all processes together, and none is lost between the server and the database.

The server gives each refresh token once, and takes a second use for theft: it revokes all that came of it.
"""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from accounts.refreshing import access
from servers.bearing import VAULT
from servers.oauth import Consent, TokenServer, token_server
from servers.tenants import ONE
from sync.killing import Killer

from postroom.accounts import credentials, store
from postroom.accounts.grant import ClientRefused, GrantGone, TokensAway, given
from postroom.accounts.model import Account, Scope
from postroom.accounts.oauth import Oauth
from postroom.db.pool import Database, open_pool
from postroom.ids import new_public_id

pytestmark = pytest.mark.usefixtures("tenants")
ROUNDS = int(os.environ.get("POSTROOM_REFRESHES", "5"))
OVERDUE = "UPDATE accounts_token SET refresh_at = now()"
EXPIRED = "UPDATE accounts_token SET refresh_at = now(), expires_at = now()"
ASK_AGAIN = "UPDATE accounts_token SET ask_after = now()"


@pytest.fixture
async def server() -> AsyncIterator[TokenServer]:
    async with token_server() as running:
        yield running


async def holding(db: Database, server: TokenServer, **more: Any) -> tuple[Account, Consent]:
    """An account with a grant, and no token yet."""
    consent = server.consent("ann")
    grant, _ = given(server.oauth(consent, **more))
    public_id = new_public_id()
    async with db.transaction(ONE) as conn:
        account = await store.add(
            conn,
            ONE,
            public_id,
            address=f"{public_id}@example.org",
            provider="imap",
            settings={"auth": "oauth2"},
            secret=credentials.seal_grant(VAULT, ONE, public_id, grant),
            scope=Scope(),
        )
    assert account is not None
    return account, consent


async def change(db: Database, statement: str) -> None:
    async with db.transaction(ONE) as conn:
        await conn.execute(statement)


async def test_a_token_is_asked_for_once_and_kept_for_all(
    db: Database, dsn: str, server: TokenServer
) -> None:
    account, _ = await holding(db, server)

    first = await access(db, account)
    async with open_pool(dsn) as other:
        second = await access(other, account)

    assert first == second
    assert server.holds(first)
    assert server.asked == ["/token"]


@pytest.mark.parametrize("life", [3600, "3599", 40, None, -1, "soon", 1e300])
async def test_a_token_is_refreshed_ahead_of_its_end_and_not_before(
    db: Database, server: TokenServer, life: Any
) -> None:
    server.life = life
    account, _ = await holding(db, server)
    first = await access(db, account)
    assert await access(db, account) == first

    await change(db, OVERDUE)
    second = await access(db, account)

    assert second != first
    assert server.refreshes == 2
    async with db.transaction(ONE) as conn:
        ahead = await conn.fetchval("SELECT expires_at - refresh_at FROM accounts_token")
        left = await conn.fetchval("SELECT refresh_at - now() FROM accounts_token")
    assert 0 < ahead.total_seconds() <= 300
    assert left.total_seconds() > 25


async def test_each_refresh_token_is_used_once_however_often_tokens_end(
    db: Database, server: TokenServer
) -> None:
    account, consent = await holding(db, server)
    for _ in range(5):
        await access(db, account)
        await change(db, EXPIRED)

    assert (server.refreshes, server.thefts, len(consent.spent)) == (5, 0, 5)


async def test_a_server_that_stops_rotating_is_asked_with_what_it_gave_last(
    db: Database, server: TokenServer
) -> None:
    account, _ = await holding(db, server)
    await access(db, account)
    server.rotates = False
    for _ in range(3):
        await change(db, EXPIRED)
        await access(db, account)

    assert (server.refreshes, server.thefts) == (4, 0)


@pytest.mark.parametrize("basic", [False, True])
@pytest.mark.parametrize("secret", ["client secret + / = %", None])
async def test_a_client_says_who_it_is_in_the_way_that_it_is_registered(
    db: Database, basic: bool, secret: str | None
) -> None:
    async with token_server(basic=basic and secret is not None, client_secret=secret) as server:
        account, _ = await holding(db, server)

        assert server.holds(await access(db, account))


async def test_many_who_want_a_token_at_once_get_the_same(
    db: Database, dsn: str, server: TokenServer
) -> None:
    account, _ = await holding(db, server)
    async with open_pool(dsn) as other:
        found = await asyncio.gather(*(access(pool, account) for pool in (db, other) * 5))

    assert len(set(found)) == 1
    assert (server.refreshes, server.thefts) == (1, 0)


async def test_two_processes_that_refresh_at_the_same_moment_make_one_refresh(
    db: Database, dsn: str, server: TokenServer
) -> None:
    account, _ = await holding(db, server)
    async with wanting(dsn, account) as one, wanting(dsn, account) as two:
        for number in range(1, ROUNDS + 1):
            go(one)
            go(two)
            first, second = await said(one), await said(two)
            assert first == second
            assert server.holds(first)
            assert (server.refreshes, server.thefts) == (number, 0)
            await change(db, EXPIRED)


@asynccontextmanager
async def wanting(dsn: str, account: Account) -> AsyncIterator[Process]:
    """A process that asks for a token when it is told to `go`; killed at the end if it is still there."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "accounts.refreshing", dsn, str(account.id)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment, cwd=Path(__file__).parents[2]
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def go(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")


async def said(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


@pytest.mark.parametrize("grace", [0, 1])
async def test_a_process_that_is_killed_before_it_could_store_the_answer_is_told_of_or_made_good(
    db: Database, dsn: str, server: TokenServer, grace: int
) -> None:
    """Nothing in the protocol mends it: it depends on whether the server takes the old one once more."""
    account, _ = await holding(db, server)
    async with wanting(dsn, account) as process:

        async def kill() -> None:
            process.kill()
            await process.wait()

        server.spending, server.grace = kill, grace
        go(process)
        await process.wait()
    server.spending = nothing

    assert (server.refreshes, server.thefts) == (1, 0)
    if grace:
        assert server.holds(await access(db, account))
    else:
        for _ in range(2):  # and whoever asks once more is told the same
            with pytest.raises(GrantGone, match="lost on its way") as told:
                await access(db, account)
            assert told.value.data["is_lost"]


@pytest.mark.parametrize("grace", [0, 1])
async def test_an_answer_that_is_cut_off_is_asked_for_again_at_once(
    db: Database, server: TokenServer, grace: int
) -> None:
    account, _ = await holding(db, server)
    server.grace = grace

    async def cut() -> None:
        server.spending = nothing
        raise ConnectionResetError

    server.spending = cut
    if grace:
        assert server.holds(await access(db, account))
    else:
        with pytest.raises(GrantGone, match="lost on its way"):
            await access(db, account)
    assert server.asked == ["/token", "/token"]


async def nothing() -> None: ...


async def test_a_grant_that_was_revoked_says_so_and_nothing_of_lost_answers(
    db: Database, server: TokenServer
) -> None:
    account, consent = await holding(db, server)
    await access(db, account)
    consent.is_revoked = True
    await change(db, OVERDUE)

    for _ in range(2):
        with pytest.raises(GrantGone, match="sign in there again") as told:
            await access(db, account)
        assert "is_lost" not in told.value.data


async def test_who_is_stopped_between_answer_and_store_stores_it_first(
    db: Database, server: TokenServer
) -> None:
    account, _ = await holding(db, server)
    spent, stopped = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        spent.set()
        await stopped.wait()

    server.spending = wait
    task = asyncio.create_task(access(db, account))
    await spent.wait()
    task.cancel()
    await asyncio.sleep(0)
    stopped.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert server.holds(await access(db, account))
    assert (server.refreshes, server.thefts) == (1, 0)


IN_TRANSACTION = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND state LIKE 'idle in transaction%'
"""


async def test_no_transaction_is_open_while_the_token_server_thinks(
    db: Database, dsn: str, server: TokenServer
) -> None:
    account, _ = await holding(db, server)
    superuser, found = await asyncpg.connect(dsn), []

    async def look() -> None:
        found.append(await superuser.fetchval(IN_TRANSACTION))

    server.spending = look
    await access(db, account)
    await superuser.close()

    assert found == [0]


FULL = """
    CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER full_disk BEFORE UPDATE ON postroom.accounts_token
        FOR EACH ROW EXECUTE FUNCTION full_disk()
"""


async def test_an_answer_outlives_a_database_that_stores_nothing_for_a_while(
    db: Database, dsn: str, server: TokenServer
) -> None:
    account, _ = await holding(db, server)
    superuser, full = await asyncpg.connect(dsn), asyncio.Event()

    async def fill() -> None:
        await superuser.execute(FULL)
        full.set()

    server.spending = fill
    task = asyncio.create_task(access(db, account))
    await full.wait()
    done, _ = await asyncio.wait([task], timeout=0.5)
    await superuser.execute("DROP TRIGGER full_disk ON postroom.accounts_token")
    await superuser.close()

    assert not done  # it had nowhere to go
    assert await task == await access(db, account)
    assert (server.refreshes, server.thefts) == (1, 0)


@pytest.mark.parametrize("grace", [0, 1000])
async def test_a_refresh_that_dies_at_any_statement_loses_a_grant_only_in_one_place(
    db: Database, server: TokenServer, monkeypatch: pytest.MonkeyPatch, grace: int
) -> None:
    """Where the answer was there and not stored; with a server that is lenient, nowhere."""
    killer, lost, statement = Killer(monkeypatch), [], 0
    server.grace = grace
    while True:
        statement += 1
        account, consent = await holding(db, server)
        spent = len(consent.spent)
        died = await killer.until(statement, db, access(db, account))
        spent = len(consent.spent) - spent
        try:
            token = await access(db, account)
        except GrantGone as error:
            lost.append((statement, spent, error.data.get("is_lost")))
        else:
            assert server.holds(token)
        if not died:
            break

    assert statement > 10
    assert [(spent, is_lost) for _, spent, is_lost in lost] == ([] if grace else [(1, True)] * 3)
    assert not lost or lost[-1][0] - lost[0][0] == 2  # BEGIN, UPDATE, COMMIT of what stores it


@pytest.mark.parametrize(
    ("status", "headers", "body", "wait"),
    [
        (429, {"Retry-After": "120"}, b"", 120),
        (503, {"Retry-After": "7200"}, b"<html>", 7200),
        (500, {}, b'{"error": "invalid_grant"}', 60),
        (502, {}, b"", 60),
        (429, {}, b'{"error": "invalid_grant"}', 60),
        (400, {}, b"not json", 60),
        (400, {}, b'{"error": "temporarily_unavailable"}', 60),
        (302, {"Location": "http://127.0.0.1:1/"}, b"", 60),
        (200, {}, b"{}", 60),
        (200, {}, b'{"access_token": ""}', 60),
        (200, {}, b'{"access_token": "a\\u0000b"}', 60),
        (200, {}, b'{"access_token": "x", "token_type": "mac"}', 60),
        (200, {}, b'["access_token"]', 60),
        (200, {}, b"[" * 5000, 60),
        (200, {}, b"x" * 100_000, 60),
        (404, {}, b"", 60),
        (503, {"Retry-After": "99999999"}, b"", 86400),
    ],
)
async def test_a_token_server_in_trouble_says_nothing_of_the_grant(
    db: Database, server: TokenServer, status: int, headers: dict[str, str], body: bytes, wait: float
) -> None:
    account, _ = await holding(db, server)
    server.instead.append((status, headers, body))

    with pytest.raises(TokensAway) as told:
        await access(db, account)
    asked = len(server.asked)

    assert told.value.wait.total_seconds() == wait
    if "Retry-After" in headers:  # nobody asks before that, whoever it is
        with pytest.raises(TokensAway, match="left alone") as again:
            await access(db, account)
        assert wait - 60 < again.value.wait.total_seconds() <= wait
        assert len(server.asked) == asked
        await change(db, ASK_AGAIN)
    assert server.holds(await access(db, account))


async def test_a_token_server_that_cannot_be_reached_is_away(db: Database, server: TokenServer) -> None:
    for url in ("https://127.0.0.1:1/token", server.url().replace("http", "https")):
        account, _ = await holding(db, server, token_url=url)
        with pytest.raises(TokensAway, match="does not answer"):
            await access(db, account)


async def test_a_token_server_that_has_moved_into_our_network_is_asked_nothing(
    db: Database, server: TokenServer
) -> None:
    account, _ = await holding(db, server)

    with pytest.raises(TokensAway, match="private network"):
        await access(db, account, oauth=Oauth())  # which goes to the open internet only
    assert server.asked == []


async def test_a_token_that_is_still_good_is_used_while_its_server_is_away(
    db: Database, server: TokenServer
) -> None:
    account, _ = await holding(db, server)
    first = await access(db, account)
    await change(db, OVERDUE)
    server.instead.append((503, {"Retry-After": "600"}, b""))

    assert await access(db, account) == first
    assert await access(db, account) == first
    assert server.asked == ["/token"] * 2


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client", "invalid_scope"])
async def test_a_client_that_is_refused_is_no_fault_of_the_grant(
    db: Database, server: TokenServer, error: str
) -> None:
    account, _ = await holding(db, server)
    server.instead.append((401, {}, b'{"error": "%s"}' % error.encode()))

    with pytest.raises(ClientRefused, match=error):
        await access(db, account)
    assert server.holds(await access(db, account))


@pytest.mark.parametrize("error", ["invalid_grant", "invalid_token", "interaction_required"])
async def test_what_says_that_the_grant_is_gone_needs_its_owner(
    db: Database, server: TokenServer, error: str
) -> None:
    account, _ = await holding(db, server)
    server.instead.append(
        (400, {}, b'{"error": "%s", "error_description": "Sign\\u001b in."}' % error.encode())
    )

    with pytest.raises(GrantGone, match=rf"it said: {error}: Sign in\)"):
        await access(db, account)


async def test_what_a_server_repeats_of_a_secret_is_not_shown(db: Database, server: TokenServer) -> None:
    account, consent = await holding(db, server)
    said = f'{{"error": "invalid_grant", "error_description": "bad token {consent.current[10:]}"}}'
    server.instead.append((400, {}, said.encode()))

    with pytest.raises(GrantGone) as told:
        await access(db, account)

    assert consent.current[10:20] not in str(told.value) + repr(told.value.data)


async def test_a_refused_token_is_replaced_unless_another_process_did_that(
    db: Database, server: TokenServer
) -> None:
    account, _ = await holding(db, server)
    first = await access(db, account)

    found = await asyncio.gather(*(access(db, account, refused=first) for _ in range(4)))

    assert len({first, *found}) == 2
    assert server.refreshes == 2


async def test_new_credentials_put_an_end_to_what_comes_of_the_old_ones(
    db: Database, server: TokenServer
) -> None:
    account, _ = await holding(db, server)
    newer = server.consent("ann")
    grant, _ = given(server.oauth(newer))

    async def change_them() -> None:
        server.spending = nothing
        sealed = credentials.seal_grant(VAULT, ONE, account.public_id, grant)
        async with db.transaction(ONE) as conn:
            await store.set_credentials(conn, ONE, account.id, account.settings, sealed)

    server.spending = change_them
    with pytest.raises(TokensAway, match="other credentials"):
        await access(db, account)
    token = await access(db, account)

    assert token in newer.access
    assert await access(db, account) == token


async def test_an_account_that_is_changed_meanwhile_keeps_its_new_token(
    db: Database, server: TokenServer
) -> None:
    account, _ = await holding(db, server)

    async def pause() -> None:
        async with db.transaction(ONE) as conn:
            await store.set_interval(conn, ONE, account.id, None, account.next_sync_at - account.created_at)

    server.spending = pause
    token = await access(db, account)

    assert await access(db, account) == token
