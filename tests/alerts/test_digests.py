"""Many alerts at once are few messages, and nothing is lost by that."""

import asyncio
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.policy import default
from typing import Any

import asyncpg
import pytest
from alerts.receiving import Receiver, receiving
from alerts.test_alerts import SECRET, URL, by, live, soon, turn
from net.test_smtp import serving
from servers.tenants import ANNS, BOBS, ONE, TWO
from standardwebhooks import Webhook

from postroom.alerts import read, store
from postroom.alerts.model import Amount, Channel
from postroom.alerts.rules import FEW, Manner, manner
from postroom.alerts.tell import FIRST, tell
from postroom.alerts.ways import ways
from postroom.cli.given import read_settings
from postroom.db.pool import Database
from postroom.events import log
from postroom.events.model import TENANT, Event, stream_of
from postroom.ids import AccountId, TenantId, new_public_id

pytestmark = pytest.mark.usefixtures("tenants")

SPAN_PASSES = "UPDATE postroom.alerts_message SET sent_at = sent_at - interval '10 minutes'"
UNSENT = "SELECT count(*) FROM postroom.alerts_message WHERE sent_at IS NULL"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as here:
        yield here


async def fail(
    db: Database, count: int, code: str = "a.b", tenant: TenantId = ONE, account: AccountId = ANNS
) -> list[str]:
    """So many accounts need their owners; their ids."""
    ids = [str(new_public_id()) for _ in range(count)]
    events = [Event("accounts.reauth_required", {"account": each, "code": code}) for each in ids]
    async with db.transaction(tenant) as conn:
        await log.append(conn, tenant, stream_of(account), events)
    return ids


async def remove(db: Database, ids: list[str]) -> None:
    async with db.transaction(ONE) as conn:
        await log.append(conn, ONE, TENANT, [Event("accounts.removed", {"account": each}) for each in ids])


async def done(dsn: str, statement: str) -> Any:
    conn = await asyncpg.connect(dsn)
    try:
        return await conn.fetchval(statement)
    finally:
        await conn.close()


async def test_a_provider_that_dies_is_a_few_messages(db: Database, dsn: str, receiver: Receiver) -> None:
    """Of three thousand accounts, a hundred at a time."""
    await live(db)
    await fail(db, 3, "a.b", TWO, BOBS)
    await turn(db, receiver)
    for _ in range(30):
        await fail(db, 100)
        await turn(db, receiver)
    within = len(receiver.got)
    await done(dsn, SPAN_PASSES)
    await turn(db, receiver)

    assert (within, len(receiver.got)) == (4, 5)
    assert sum(body["data"]["opened"] for body in receiver.bodies[3:]) == 3000
    assert await done(dsn, UNSENT) == 0


async def test_a_digest_counts_by_kind_and_code_and_has_the_first_messages_as_they_are(
    db: Database, receiver: Receiver
) -> None:
    await live(db)
    removed = await fail(db, 50, "a.b")
    await fail(db, 20, "c.d", TWO, BOBS)
    await remove(db, removed[:10])
    await turn(db, receiver)

    [(headers, body)] = receiver.got
    said = Webhook(SECRET).verify(body, headers)
    told = said["data"]
    assert said["type"] == "alerts.digest"
    assert (told["opened"], told["closed"], told["list"]) == (70, 10, "/v1/alerts?open=true")
    kind = "accounts.reauth_required"
    assert told["counts"] == [
        {"kind": kind, "code": "a.b", "opened": 50, "closed": 10},
        {"kind": kind, "code": "c.d", "opened": 20, "closed": 0},
    ]
    assert len(told["messages"]) == FIRST
    assert told["messages"][0]["type"] == "alerts.opened"
    assert {message["data"]["kind"] for message in told["messages"]} == {kind}


async def test_after_a_digest_alerts_are_told_one_by_one_again(
    db: Database, dsn: str, receiver: Receiver
) -> None:
    await live(db)
    ids = await fail(db, FEW + 1)
    await turn(db, receiver)
    await remove(db, ids[:2])
    await turn(db, receiver)
    at_once = len(receiver.got)
    await done(dsn, SPAN_PASSES)
    await turn(db, receiver)

    assert at_once == 1
    assert [body["type"] for body in receiver.bodies] == ["alerts.digest", "alerts.closed", "alerts.closed"]
    assert {body["data"]["subject"] for body in receiver.bodies[1:]} == set(ids[:2])


async def test_a_digest_that_was_not_taken_comes_again_as_the_same_and_before_what_ends_it(
    db: Database, dsn: str, receiver: Receiver
) -> None:
    """A few others are told meanwhile."""
    await live(db)
    receiver.drops = 1
    ids = await fail(db, FEW + 1)
    await turn(db, receiver)
    await remove(db, ids[:1])
    other = await fail(db, 1)
    await turn(db, receiver)
    await soon(dsn)
    await turn(db, receiver)

    assert [(body["type"], body["data"].get("subject")) for body in receiver.bodies] == [
        ("alerts.digest", None),
        ("alerts.opened", other[0]),
        ("alerts.digest", None),
        ("alerts.closed", ids[0]),
    ]
    assert receiver.ids[0] == receiver.ids[2]
    assert receiver.bodies[0] == receiver.bodies[2]


@pytest.mark.parametrize("step", ["unsaid", "amount", "gather", "counts", "first", "message", "said"])
async def test_telling_many_that_is_cut_off_is_done_anew_by_the_next(
    db: Database, dsn: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """At each of its statements, as a kill would."""
    await live(db)
    await fail(db, FEW + 1)
    await read.look(db, URL)
    real = getattr(store, step)

    async def broken(*given: object) -> None:
        await real(*given)
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(store, step, broken)
        with pytest.raises(asyncio.CancelledError):
            await tell(db, [by(receiver)])
    for _ in range(2):
        await turn(db, receiver)

    assert len(set(receiver.ids)) == 1
    assert receiver.bodies[-1]["data"]["opened"] == FEW + 1
    assert await done(dsn, UNSENT) == 0


async def test_two_that_tell_at_once_put_nothing_into_two_digests(db: Database, receiver: Receiver) -> None:
    await live(db)
    await fail(db, FEW + 1)
    await read.look(db, URL)
    await asyncio.gather(*(tell(db, [by(receiver)]) for _ in range(4)))

    assert len(set(receiver.ids)) == 1


async def test_what_is_together_stays_together_and_is_due_at_once(db: Database, receiver: Receiver) -> None:
    """Also what was tried alone not long ago."""
    await live(db)
    receiver.takes = False
    await fail(db, 1)
    await turn(db, receiver)
    async with db.unbound() as conn:
        made = await store.gather(conn, Channel.URL)
    async with db.unbound() as conn:
        assert await store.unsaid(conn, Channel.URL) == made
        assert made.is_due
        assert await store.due(conn, URL, 10) == []
        another = await store.gather(conn, Channel.URL)
        assert await store.counts(conn, another.public_id) == ([], None)


async def test_a_mail_of_many_says_how_many_and_where_they_are(db: Database) -> None:
    async with db.transaction(ONE) as conn:
        await log.append(conn, ONE, TENANT, [Event("accounts.removed", {"account": str(new_public_id())})])
    await read.look(db, [Channel.MAIL])
    removed = await fail(db, 1200)
    await remove(db, removed[:3])
    await read.look(db, [Channel.MAIL])
    async with serving() as place:
        server = f"smtp+plain://127.0.0.1:{place.port}"
        await tell(db, ways(read_settings(None, None, alerts_mail="ops@example.org", alerts_smtp=server)))

    [mail] = (message_from_bytes(mail, policy=default) for mail in place.mails)
    assert mail["Subject"] == "postroom: 1,203 changes of alerts"
    assert "accounts.reauth_required [a.b]: 1,200 opened, 3 closed" in mail.get_content()
    assert "GET /v1/alerts?open=true" in mail.get_content()


@pytest.mark.parametrize(
    ("waiting", "said", "is_together", "is_unsaid", "expected"),
    [
        (0, 0, False, False, Manner.SINGLY),
        (FEW, 0, False, False, Manner.SINGLY),
        (FEW + 1, 0, False, False, Manner.TOGETHER),
        (1, FEW, False, False, Manner.TOGETHER),
        (1, FEW, True, False, Manner.LATER),
        (FEW + 1, 0, False, True, Manner.LATER),
        (1, 0, True, True, Manner.SINGLY),
        (0, FEW + 1, False, False, Manner.LATER),
    ],
)
def test_so_many_are_told_one_by_one_and_the_rest_together(
    *, waiting: int, said: int, is_together: bool, is_unsaid: bool, expected: Manner
) -> None:
    assert manner(Amount(waiting, said, is_together), is_unsaid=is_unsaid) is expected
