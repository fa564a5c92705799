"""What a failure means for its account: the table row by row, and servers that really say these things."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from accounts.test_decisions import ACCOUNT
from hypothesis import given, settings
from hypothesis import strategies as st
from servers.tenants import ONE
from sync.lab import assert_equal, connected, sync
from sync.mailboxes import told

from postroom.accounts import due
from postroom.accounts import store as accounts
from postroom.accounts.grant import ClientRefused, GrantGone
from postroom.accounts.model import Account, AccountState
from postroom.accounts.status import status
from postroom.db.pool import Database
from postroom.errors import Broken, NeedsOwner, NotFound, PostroomError, TryLater
from postroom.lab.certificate import Certificate
from postroom.lab.server import serve
from postroom.providers.model import (
    AppPassword,
    Blocked,
    Expired,
    Incomplete,
    NoMailbox,
    NotTrusted,
    SentAway,
    ServerRefused,
    Throttled,
    TlsRefused,
    TokenRefused,
    UnknownHost,
    Unreachable,
    WrongPassword,
)
from postroom.sync import verdict as table
from postroom.sync.due import enqueue_due
from postroom.sync.verdict import AGAIN, CROWDED, SECOND_LOOK, Verdict, verdict

EVERY = timedelta(minutes=15)
HOUR = timedelta(hours=1)
ACTIVE, ERROR, OWNER = AccountState.ACTIVE, AccountState.ERROR, AccountState.REAUTH_REQUIRED

NEW = ACCOUNT
PROVEN = replace(ACCOUNT, last_sync_status="success")
FAILING = replace(
    ACCOUNT, compared_at=datetime(2026, 1, 1, tzinfo=UTC), last_sync_status="failed", failures=3
)
DOUBTED = replace(PROVEN, state=ERROR, refusals=1, last_sync_status="failed", compared_at=FAILING.compared_at)
WAITING = replace(DOUBTED, state=OWNER, refusals=2, needs_owner=True)

NO = WrongPassword("no")
ROWS: list[tuple[Account, PostroomError, Verdict]] = [
    # nothing of this says anything of the credentials
    *(
        (PROVEN, kind("x", wait=HOUR), Verdict(ERROR, HOUR))
        for kind in (Unreachable, UnknownHost, Incomplete)
    ),
    *((PROVEN, kind("x", wait=HOUR), Verdict(ERROR, HOUR)) for kind in (ServerRefused, SentAway, TryLater)),
    *((PROVEN, kind("x"), Verdict(ERROR, due.FIRST_RETRY)) for kind in (Broken, NotFound)),
    (FAILING, Unreachable("x"), Verdict(ERROR, 8 * due.FIRST_RETRY)),
    (replace(FAILING, failures=9), Unreachable("x"), Verdict(ERROR, due.LONGEST_AWAY)),
    (replace(FAILING, failures=9), ServerRefused("x"), Verdict(ERROR, due.LONGEST_BACKOFF)),
    (FAILING, Throttled("x", wait=timedelta(seconds=7)), Verdict(ERROR, timedelta(seconds=7))),
    (DOUBTED, Unreachable("x", wait=HOUR), Verdict(ERROR, HOUR, 1)),
    # refused once, after it was accepted
    *((PROVEN, kind("x"), Verdict(ERROR, SECOND_LOOK, 1)) for kind in (WrongPassword, AppPassword)),
    *((PROVEN, kind("x"), Verdict(ERROR, SECOND_LOOK, 1)) for kind in (NotTrusted, TlsRefused)),
    (FAILING, NO, Verdict(ERROR, SECOND_LOOK, 1)),
    (PROVEN, NoMailbox("x"), Verdict(ERROR, CROWDED, 1)),
    # refused twice, or never accepted
    (DOUBTED, NO, Verdict(OWNER, AGAIN[0], 2, is_news=True)),
    (DOUBTED, NoMailbox("x"), Verdict(OWNER, AGAIN[0], 2, is_news=True)),
    (NEW, NO, Verdict(OWNER, AGAIN[0], 1, is_news=True)),
    # in words that leave no doubt
    (PROVEN, Expired("x"), Verdict(OWNER, AGAIN[0], 1, is_news=True)),
    (PROVEN, Blocked("x"), Verdict(OWNER, AGAIN[0], 1, is_news=True)),
    # ours, and a grant, of which `accounts/tokens` has made sure
    *(
        (PROVEN, kind("x"), Verdict(OWNER, None, 1, is_news=True))
        for kind in (NeedsOwner, GrantGone, TokenRefused)
    ),
    (FAILING, ClientRefused("x", wait=HOUR), Verdict(ERROR, HOUR)),
    # it waits for its owner, who knows
    (WAITING, NO, Verdict(OWNER, AGAIN[1], 3)),
    (replace(WAITING, refusals=6), NO, Verdict(OWNER, None, 7)),
    (replace(WAITING, refusals=60), TlsRefused("x"), Verdict(OWNER, AGAIN[0], 61)),
    (WAITING, Unreachable("x"), Verdict(OWNER, HOUR, 2)),
    (replace(WAITING, state=ERROR), Unreachable("x", wait=HOUR), Verdict(ERROR, HOUR, 2)),
    (replace(WAITING, state=ERROR), NO, Verdict(OWNER, AGAIN[1], 3)),
]


@pytest.mark.parametrize(("account", "error", "said"), ROWS)
def test_what_came_decides_state_wait_and_event(
    account: Account, error: PostroomError, said: Verdict
) -> None:
    assert verdict(account, error, EVERY, 0.0) == said


KINDS = st.sampled_from([NO, AppPassword("x"), NoMailbox("x"), Expired("x"), Blocked("x")])


@settings(deadline=None)
@given(st.lists(KINDS, min_size=1, max_size=40))
def test_a_password_that_is_refused_for_ever_is_sent_a_few_times_in_days(errors: list[NeedsOwner]) -> None:
    account, tries, passed = PROVEN, 0, timedelta()
    for error in errors:
        said = verdict(account, error, EVERY, 0.0)
        tries += 1
        if said.wait is None:
            break
        passed += said.wait
        needs_owner = said.state is OWNER
        account = replace(account, state=said.state, refusals=said.refusals, needs_owner=needs_owner)

    assert tries <= len(AGAIN) + 2
    assert tries < 4 or passed >= 18 * HOUR


async def now(db: Database, account: Account) -> Account:
    async with db.transaction(ONE) as conn:
        return await accounts.get_by_id(conn, ONE, account.id)


async def kinds(db: Database, account: Account) -> list[str]:
    return [entry.kind for entry in await told(db, account) if entry.kind.startswith("accounts.")]


@pytest.mark.usefixtures("tenants")
async def test_one_refusal_after_a_success_is_no_news_for_anybody(db: Database) -> None:
    async with serve(messages=3, folder_count=1) as server:
        account = await connected(db, server)
        await sync(db, account)
        server.faults.switch_on("login-refused-once")

        refused = await sync(db, account)
        doubted = await now(db, account)
        again = await sync(db, account)

    assert (refused.status, refused.error and refused.error.code) == ("failed", "providers.wrong_password")
    assert (doubted.state, doubted.refusals, doubted.needs_owner) == (ERROR, 1, False)
    assert timedelta() < doubted.next_sync_at - datetime.now(UTC) <= SECOND_LOOK
    assert again.status == "success"
    assert ((await now(db, account)).state, (await now(db, account)).refusals) == (ACTIVE, 0)
    assert await kinds(db, account) == []


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("fault", ["login-no", "authenticated-not-connected"])
async def test_a_second_refusal_is_believed_and_the_account_recovers_by_itself(
    db: Database, fault: str
) -> None:
    async with serve(messages=3, folder_count=1) as server:
        account = await connected(db, server)
        await sync(db, account)
        server.faults.switch_on(fault)
        for _ in range(4):
            await sync(db, account)
        waiting = await now(db, account)
        server.faults.switch_off(fault)
        await enqueue_due(db, EVERY)  # the others
        assert await enqueue_due(db, EVERY) == 0
        await execute(db, "UPDATE accounts_account SET retry_at = now() WHERE id = $1", account.id)
        assert await enqueue_due(db, EVERY) == 1
        assert await enqueue_due(db, EVERY) == 0
        await sync(db, account)

    assert (waiting.state, waiting.refusals) == (OWNER, 4)
    assert waiting.retry_at is not None
    assert status(waiting).next_sync_at == waiting.retry_at
    assert waiting.retry_at - datetime.now(UTC) > 20 * HOUR
    healed = await now(db, account)
    assert (healed.state, healed.refusals, healed.retry_at) == (ACTIVE, 0, None)
    assert await kinds(db, account) == ["accounts.reauth_required", "accounts.recovered"]


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("fault", ["login-expired", "login-blocked"])
async def test_a_refusal_that_leaves_no_doubt_is_told_at_once(db: Database, fault: str) -> None:
    async with serve(messages=3, folder_count=1) as server:
        account = await connected(db, server)
        await sync(db, account)
        server.faults.switch_on(fault)
        await sync(db, account)

    assert (await now(db, account)).state is OWNER
    assert await kinds(db, account) == ["accounts.reauth_required"]


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize(
    "fault", ["login-busy", "greeting-bye", "starttls-breaks-off", "overquota", "backoff"]
)
async def test_what_passes_by_itself_never_disables_an_account(
    db: Database, fault: str, certificate: Certificate
) -> None:
    more: dict[str, Any] = {"security": "starttls", "ca_file": str(certificate.certificate)}
    async with serve(messages=30, folder_count=2, faults=[fault], certificate=certificate) as server:
        account = await connected(db, server, **more)
        for _ in range(9):
            assert (await sync(db, account)).status == "failed"
            await execute(db, "UPDATE accounts_account SET login_after = NULL WHERE id = $1", account.id)
            assert (await now(db, account)).state is ERROR
        server.faults.switch_off(fault)

        assert (await sync(db, account)).status == "success"
        await assert_equal(db, account, server)
    assert await kinds(db, account) == []


@pytest.mark.usefixtures("tenants")
async def test_how_long_a_server_wants_to_be_left_alone_is_obeyed_by_every_process(db: Database) -> None:
    async with serve(messages=3, folder_count=1, faults=["backoff"]) as server:
        account = await connected(db, server)
        throttled = await sync(db, account)
        server.faults.switch_off("backoff")
        elsewhere = await sync(db, account)  # with means of its own, as another process has
        row = await now(db, account)

        assert isinstance(throttled.error, Throttled)
        asked = throttled.error.wait
        assert isinstance(elsewhere.error, TryLater)
        assert elsewhere.error.code == "sync.too_soon"
        assert asked - timedelta(seconds=30) < elsewhere.error.wait <= asked
        assert asked - timedelta(seconds=30) < row.next_sync_at - datetime.now(UTC) <= asked
        await execute(db, "UPDATE accounts_account SET login_after = now() WHERE id = $1", account.id)
        assert (await sync(db, account)).status == "success"


async def execute(db: Database, statement: str, *values: object) -> None:
    async with db.transaction(ONE) as conn:
        await conn.execute(statement, *values)


def test_every_error_of_the_port_that_needs_the_owner_has_its_row() -> None:
    port = {WrongPassword, Expired, AppPassword, Blocked, NoMailbox, NotTrusted, TlsRefused}

    assert set(table.OF_SERVER) == port
