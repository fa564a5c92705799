"""A mailbox that is read by a grant: a real mail server asks a real token server about every login."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from accounts.refreshing import access
from servers.bearing import OAUTH, PROVIDERS, VAULT, Mail
from servers.dovecot import Dovecot
from servers.oauth import TokenServer
from servers.tenants import ONE
from structlog.testing import capture_logs
from sync.killing import Killer
from sync.mailboxes import connected, copied, told
from sync.mailboxes import means as plain_means

from postroom.accounts import credentials
from postroom.accounts import store as accounts
from postroom.accounts.connect import connect
from postroom.accounts.model import Account, AccountState, NoSuchAccount
from postroom.accounts.oauth import Oauth
from postroom.db.pool import Database
from postroom.net.model import EgressRefused
from postroom.providers import store as budgets
from postroom.providers.pool import Pool
from postroom.sync import halt
from postroom.sync.halt import begin_anew
from postroom.sync.perform import Means, Outcome, perform
from postroom.sync.run import Manner

DO = "_do_execute"  # what all of asyncpg's statements go through
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
OVERDUE = "UPDATE accounts_token SET refresh_at = now()"
LEFT = "SELECT next_sync_at - now() FROM accounts_account WHERE id = $1"
EXPIRED = "UPDATE accounts_token SET refresh_at = now(), expires_at = now()"


def means(db: Database, pool: Pool | None = None) -> Means:
    manner = Manner(grace=timedelta(), pause=timedelta())
    return Means(db, VAULT, PROVIDERS, manner=manner, pool=pool or Pool(), oauth=OAUTH)


async def synced(db: Database, account: Account) -> Outcome:
    return await perform(means(db), await now(db, account), every=HOUR)


async def now(db: Database, account: Account) -> Account:
    async with db.transaction(ONE) as conn:
        return await accounts.get_by_id(conn, ONE, account.id)


async def change(db: Database, statement: str) -> None:
    async with db.transaction(ONE) as conn:
        await conn.execute(statement)


async def kinds(db: Database, account: Account) -> list[str]:
    return [entry.kind for entry in await told(db, account) if entry.kind.startswith("accounts.")]


async def test_a_grant_lives_its_life(db: Database, mail: Mail) -> None:
    """Connected, copied, expired, refreshed, rotated, revoked, and given anew."""
    made = await mail.connected(db)
    account = made.account
    assert made.estimate.messages == 3
    assert (await synced(db, account)).status == "success"
    assert len(await copied(db, account)) == 3
    assert mail.tokens.refreshes == 1  # to connect it: that token lasts

    mail.tokens.expire()  # sooner than was said: the mail server refuses it
    mail.dovecot.append(mail.user, "INBOX", [b"Subject: 4\\r\\n\\r\\nhello\\r\\n"])
    assert (await synced(db, account)).status == "success"
    assert len(await copied(db, account)) == 4
    for _ in range(3):  # and as was said
        await change(db, EXPIRED)
        assert (await synced(db, account)).status == "success"
    assert (mail.tokens.refreshes, mail.tokens.thefts, len(mail.consent.spent)) == (5, 0, 5)
    async with await means(db).mailbox(await now(db, account)) as mailbox:
        assert await mailbox.folders()

    mail.consent.is_revoked = True
    mail.tokens.expire()
    for _ in range(2):
        outcome = await synced(db, account)
        assert outcome.error is not None
        assert outcome.error.code == "accounts.grant_gone"
    stopped = await now(db, account)
    assert stopped.state is AccountState.REAUTH_REQUIRED
    assert "sign in there again" in (stopped.reason or "")

    again = Mail(mail.dovecot, mail.tokens, mail.user, mail.tokens.consent(mail.user))
    assert (await again.connected(db)).account.public_id == account.public_id
    assert (await synced(db, account)).status == "success"
    assert (await now(db, account)).state is AccountState.ACTIVE
    assert await kinds(db, account) == [
        "accounts.connected",
        "accounts.reauth_required",
        "accounts.changed",
        "accounts.recovered",
    ]


async def test_what_a_grant_opens_is_counted_like_the_rest(db: Database, mail: Mail) -> None:
    account = (await mail.connected(db)).account
    mail.tokens.expire()  # refused once, and opened with the next one
    assert (await synced(db, account)).status == "success"

    async with db.transaction(ONE) as conn:
        today = await budgets.today(conn, ONE, account.id)
    assert (today.connections, today.logins) == (2, 2)
    assert today.bytes > 0


async def test_nobody_has_us_ask_a_token_server_inside_where_only_the_internet_is_allowed(
    db: Database, mail: Mail
) -> None:
    with pytest.raises(EgressRefused):
        await connect(db, VAULT, PROVIDERS, ONE, mail.wish(), begin_anew, Oauth())

    assert mail.tokens.asked == []


async def test_a_token_that_is_refused_twice_is_a_real_rejection(db: Database, mail: Mail) -> None:
    account = (await mail.connected(db)).account
    mail.consent.user = "somebody-else"  # good, and for another mailbox
    before = mail.tokens.refreshes

    outcome = await synced(db, account)

    assert outcome.error is not None
    assert outcome.error.code == "providers.token_refused"
    assert mail.tokens.refreshes == before + 1
    assert (await now(db, account)).state is AccountState.REAUTH_REQUIRED
    assert await kinds(db, account) == ["accounts.connected", "accounts.reauth_required"]


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        ((503, {"Retry-After": "3600"}, b""), HOUR),
        ((429, {}, b'{"error": "invalid_grant"}'), MINUTE),
        ((500, {}, b"<html>"), MINUTE),
        ((401, {}, b'{"error": "invalid_client"}'), HOUR),
    ],
)
async def test_a_token_server_in_trouble_costs_time_and_not_the_account(
    db: Database, mail: Mail, reply: Any, wait: timedelta
) -> None:
    account = (await mail.connected(db)).account
    await change(db, EXPIRED)
    mail.tokens.instead.append(reply)

    outcome = await synced(db, account)
    stopped = await now(db, account)

    assert outcome.status == "failed"
    assert (stopped.state, stopped.needs_owner) == (AccountState.ERROR, False)
    async with db.transaction(ONE) as conn:
        left = await conn.fetchval(
            "SELECT next_sync_at - now() FROM accounts_account WHERE id = $1", account.id
        )
    assert wait - MINUTE / 2 < left < wait * 1.3
    await change(db, "UPDATE accounts_token SET ask_after = NULL")
    assert (await synced(db, account)).status == "success"
    assert await kinds(db, account) == ["accounts.connected"]


async def test_nobody_is_asked_while_a_token_lasts_however_often_mail_is_looked_for(
    db: Database, mail: Mail
) -> None:
    account = (await mail.connected(db)).account
    mail.tokens.asked.clear()
    for _ in range(5):
        assert (await synced(db, account)).status == "success"

    assert set(mail.tokens.asked) == {"/introspect"}  # by the mail server


async def test_a_refresh_leaves_the_sessions_alone_that_were_opened_before(db: Database, mail: Mail) -> None:
    """Elsewhere a new token made everybody reconnect, which asked for a new token."""
    account = (await mail.connected(db)).account
    kept = Pool(most=10)
    async with asyncio.timeout(60):
        for _ in range(4):
            outcome = await perform(means(db, kept), await now(db, account), every=MINUTE)
            assert outcome.status == "success"
            await change(db, EXPIRED)
            await access(db, account)
    await kept.aclose()

    assert mail.tokens.refreshes == 5
    assert mail.tokens.asked.count("/introspect") == 2  # to connect it, and at the first sync


@pytest.mark.usefixtures("tenants")
async def test_an_account_with_a_password_costs_no_statement_more(
    db: Database, dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await connected(db, dovecot, dovecot.user())
    asked: list[str] = []
    execute: Any = getattr(asyncpg.Connection, DO)

    async def noting(conn: asyncpg.Connection, query: str, *args: Any, **more: Any) -> Any:
        asked.append(query)
        return await execute(conn, query, *args, **more)

    monkeypatch.setattr(asyncpg.Connection, DO, noting)
    outcome = await perform(plain_means(db), account, every=HOUR)

    assert outcome.status == "success"
    assert asked
    assert not [query for query in asked if "accounts_token" in query]


async def test_a_removed_account_has_its_grant_revoked(db: Database, mail: Mail) -> None:
    account = (await mail.connected(db, revocation_url=mail.tokens.url("/revoke"))).account
    await change(db, EXPIRED)
    await synced(db, account)  # it is the one that came last that is revoked

    with capture_logs() as logs:
        assert await halt.remove(db, account, means(db).tokens.revoke) is None

    assert mail.consent.is_revoked
    assert mail.tokens.asked[-1] == "/revoke"
    assert "accounts.grant_revoked" in [line["event"] for line in logs]
    with pytest.raises(NoSuchAccount):
        await now(db, account)
    async with db.transaction(ONE) as conn:
        assert await conn.fetchval("SELECT count(*) FROM accounts_token") == 0


@pytest.mark.parametrize("url", ["https://127.0.0.1:1/revoke", "/nothing-here", None])
async def test_a_removal_waits_for_nobody_who_cannot_revoke(
    db: Database, mail: Mail, url: str | None
) -> None:
    where = mail.tokens.url(url) if url and url.startswith("/") else url
    account = (await mail.connected(db, **({"revocation_url": where} if where else {}))).account

    with capture_logs() as logs:
        assert await halt.remove(db, account, means(db).tokens.revoke) is None

    assert [line["event"] for line in logs if line["event"].startswith("accounts.grant")] == [
        "accounts.grant_not_revoked" if url else "accounts.grant_left"
    ]
    with pytest.raises(NoSuchAccount):
        await now(db, account)


async def test_a_connect_that_dies_at_any_statement_stores_an_account_that_works_or_none(
    db: Database, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    killer, statement, died = Killer(monkeypatch), 0, True
    while died:
        statement += 1
        one = Mail(mail.dovecot, mail.tokens, mail.user, mail.tokens.consent(mail.user))
        died = await killer.until(statement, db, one.connected(db))
        async with db.transaction(ONE) as conn:
            account = await accounts.find(conn, ONE, f"{mail.user}@example.org")
        if account is not None:
            assert (await synced(db, account)).status == "success"
            async with db.transaction(ONE) as conn:
                await accounts.remove(conn, ONE, account.id)

    assert statement > 8
    assert mail.tokens.thefts == 0


EVERYTHING = """
    SELECT string_agg(x, ' ') FROM (
        SELECT a::text AS x FROM postroom.accounts_account a
        UNION ALL SELECT t::text FROM postroom.accounts_token t
        UNION ALL SELECT e::text FROM postroom.events_event e) AS every
"""


async def test_no_secret_of_a_grant_is_in_the_database_the_logs_or_what_is_shown(
    db: Database, dsn: str, mail: Mail
) -> None:
    secrets = [mail.tokens.client_secret or "", mail.consent.current]
    with capture_logs() as logs:
        wish = mail.wish()
        account = (await mail.connected(db)).account
        secrets += [mail.consent.current, *mail.consent.access]
        await change(db, EXPIRED)
        await synced(db, account)
        secrets += [mail.consent.current, *mail.consent.access]
        mail.consent.is_revoked = True
        mail.tokens.expire()
        outcome = await synced(db, account)
    superuser = await asyncpg.connect(dsn)
    stored = await superuser.fetchval(EVERYTHING)
    await superuser.close()
    shown = f"{stored} {logs!r} {wish!r} {outcome!r} {outcome.error!r} {await now(db, account)!r}"

    assert outcome.status == "failed"
    assert not [secret for secret in secrets if secret in shown]


async def test_a_grant_opens_in_the_place_where_it_was_sealed_and_nowhere_else(
    db: Database, mail: Mail
) -> None:
    account = (await mail.connected(db)).account
    async with db.transaction(ONE) as conn:
        sealed = await accounts.secret(conn, ONE, account.id)
        token = await conn.fetchval("SELECT secret FROM accounts_token")

    assert credentials.unseal_grant(VAULT, account, sealed).scope == "imap"
    assert credentials.unseal_token(VAULT, account, token).access_token
    with pytest.raises(Exception, match="damaged"):
        credentials.unseal_grant(VAULT, account, token)


async def test_whoever_has_no_client_of_that_name_says_so_and_asks_nobody(db: Database, mail: Mail) -> None:
    account = (await mail.connected(db)).account
    tokens: TokenServer = mail.tokens
    async with db.transaction(ONE) as conn:
        sealed = await accounts.secret(conn, ONE, account.id)
    grant = credentials.unseal_grant(VAULT, account, sealed)
    named = credentials.seal_grant(
        VAULT, ONE, account.public_id, type(grant)(grant.refresh_token, "not-ours")
    )
    async with db.transaction(ONE) as conn:
        await accounts.set_credentials(conn, ONE, account.id, account.settings, named)
    tokens.asked.clear()

    outcome = await synced(db, account)

    assert outcome.error is not None
    assert outcome.error.code == "accounts.client_refused"
    assert tokens.asked == []
