"""Alerts begin and end with what the log tells; the operator is told of each once, whatever breaks."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from alerts.receiving import Receiver, receiving
from servers.tenants import ANNS, BOBS, ONE, TWO
from standardwebhooks import Webhook

from postroom.alerts import read, store
from postroom.alerts.model import Channel
from postroom.alerts.rules import BEGINS, ENDS, again_after
from postroom.alerts.tell import ByUrl, tell
from postroom.db.pool import Database
from postroom.events import feed, log
from postroom.events.kinds import KINDS
from postroom.events.model import TENANT, Event, Stream, stream_of
from postroom.ids import AccountId, TenantId, new_public_id
from postroom.jobs import store as jobs
from postroom.jobs.model import Job, Reason, State, Wish
from postroom.jobs.store import queue
from postroom.net.client import Client
from postroom.net.egress import Egress

pytestmark = pytest.mark.usefixtures("tenants")

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
URL = [Channel.URL]
PUBLIC = "SELECT public_id FROM accounts_account WHERE id = $1"
SOON = "UPDATE postroom.alerts_message SET next_at = now()"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as here:
        yield here


def by(receiver: Receiver) -> ByUrl:
    return ByUrl(receiver.url, Client(Egress(private_allowed=True)), SECRET)


async def public_id(db: Database, tenant: TenantId, account: AccountId) -> UUID:
    async with db.transaction(tenant) as conn:
        found: UUID = await conn.fetchval(PUBLIC, account)
    return found


async def happens(
    db: Database, kind: str, tenant: TenantId = ONE, account: AccountId = ANNS, **more: str
) -> None:
    data = {"account": str(await public_id(db, tenant, account)), **more}
    async with db.transaction(tenant) as conn:
        await log.append(conn, tenant, stream_of(account), [Event(kind, data)])


async def kinds(db: Database, tenant: TenantId = ONE, *, is_open: bool | None = True) -> list[str]:
    async with db.transaction(tenant) as conn:
        return [alert.kind for alert in await store.page(conn, tenant, limit=100, is_open=is_open)]


async def live(db: Database) -> None:
    """The logs of both tenants have begun, and were read to their ends."""
    await happens(db, "accounts.connected")
    await happens(db, "accounts.connected", TWO, BOBS)
    await read.look(db, URL)


async def turn(db: Database, receiver: Receiver) -> None:
    """What the duty does."""
    await read.look(db, URL)
    await tell(db, [by(receiver)])


async def job_that_fails(db: Database) -> Job:
    async with db.transaction(ONE) as conn:
        await jobs.enqueue(conn, ONE, [Wish("test.job", account=ANNS)])
    async with db.unbound() as conn:
        [job] = await queue.claim(conn, "me", ["test.job"], 1, timedelta(hours=1), 0)
    async with db.unbound() as conn:
        await queue.finish(conn, [queue.End(job, State.FAILED, error=Reason("test.failed", "It failed."))])
    async with db.transaction(ONE) as conn:
        data = {"job": str(job.public_id), "kind": job.kind, "code": "test.failed"}
        await log.append(conn, ONE, TENANT, [Event("jobs.failed", data)])
    return job


async def test_an_alert_is_told_once_when_it_begins_and_once_when_it_is_over(
    db: Database, receiver: Receiver
) -> None:
    await live(db)
    await happens(db, "accounts.reauth_required", code="providers.wrong_password")
    await turn(db, receiver)
    await happens(db, "accounts.reauth_required", code="providers.wrong_password")
    await turn(db, receiver)
    during = await kinds(db)
    await happens(db, "accounts.recovered")
    await turn(db, receiver)
    await turn(db, receiver)

    assert receiver.told == [
        ("alerts.opened", "accounts.reauth_required"),
        ("alerts.closed", "accounts.reauth_required"),
    ]
    opened, closed = receiver.bodies
    assert opened["data"]["subject"] == str(await public_id(db, ONE, ANNS))
    assert opened["data"]["code"] == "providers.wrong_password"
    assert (opened["data"]["closed_at"], closed["data"]["id"]) == (None, opened["data"]["id"])
    assert closed["data"]["closed_at"] > opened["data"]["opened_at"]
    assert during == ["accounts.reauth_required"]
    assert await kinds(db) == []
    assert await kinds(db, is_open=None) == ["accounts.reauth_required"]


async def test_what_begins_again_is_told_again(db: Database, receiver: Receiver) -> None:
    await live(db)
    for kind in ("accounts.stale", "accounts.recovered", "accounts.stale"):
        await turn(db, receiver)
        await happens(db, kind)
    await turn(db, receiver)

    assert [told for told, _ in receiver.told] == ["alerts.opened", "alerts.closed", "alerts.opened"]
    assert len(set(receiver.ids)) == 3


async def test_what_begins_and_ends_between_two_looks_is_told_too(db: Database, receiver: Receiver) -> None:
    await live(db)
    await happens(db, "accounts.stale")
    await happens(db, "accounts.recovered")
    await turn(db, receiver)

    assert [told for told, _ in receiver.told] == ["alerts.opened", "alerts.closed"]


async def test_a_removed_account_has_no_alerts(db: Database, receiver: Receiver) -> None:
    await live(db)
    await happens(db, "accounts.stale")
    await happens(db, "accounts.reauth_required", code="providers.wrong_password")
    await turn(db, receiver)
    data = {"account": str(await public_id(db, ONE, ANNS))}
    async with db.transaction(ONE) as conn:
        await log.append(conn, ONE, TENANT, [Event("accounts.removed", data)])
    await turn(db, receiver)

    assert await kinds(db) == []
    assert len(receiver.told) == 4


async def test_a_dead_job_is_an_alert_until_somebody_requeues_it(db: Database, receiver: Receiver) -> None:
    await live(db)
    job = await job_that_fails(db)
    await turn(db, receiver)
    during = await kinds(db)
    async with db.transaction(ONE) as conn:
        await jobs.requeue(conn, ONE, job.public_id)
    await turn(db, receiver)

    assert during == ["jobs.failed"]
    assert receiver.told == [("alerts.opened", "jobs.failed"), ("alerts.closed", "jobs.failed")]


async def test_each_tenants_alerts_are_its_own(db: Database, receiver: Receiver) -> None:
    await live(db)
    await happens(db, "accounts.stale", TWO, BOBS)
    await turn(db, receiver)

    assert (await kinds(db, ONE), await kinds(db, TWO)) == ([], ["accounts.stale"])


async def test_of_a_log_that_was_there_before_only_what_is_still_open_is_told(
    db: Database, receiver: Receiver
) -> None:
    await happens(db, "accounts.stale")
    await happens(db, "accounts.recovered")
    await happens(db, "accounts.reauth_required", code="a.b")
    await turn(db, receiver)

    assert receiver.told == [("alerts.opened", "accounts.reauth_required")]


async def test_a_receiver_that_was_down_is_told_everything_in_order_under_the_same_ids(
    db: Database, dsn: str, receiver: Receiver
) -> None:
    await live(db)
    receiver.takes = False
    for _ in range(3):
        await happens(db, "accounts.stale")
        await happens(db, "accounts.recovered")
    await turn(db, receiver)
    await turn(db, receiver)
    while_down = receiver.asked
    receiver.takes = True
    await soon(dsn)
    await turn(db, receiver)

    assert while_down == 2, "the first that is not taken ends a turn"
    assert [told for told, _ in receiver.told].count("alerts.opened") == 3
    alerts = [body["data"]["id"] for body in receiver.bodies]
    for alert in set(alerts):
        told = [body["type"] for body in receiver.bodies if body["data"]["id"] == alert]
        assert told == ["alerts.opened", "alerts.closed"]
    assert len(set(receiver.ids)) == len(receiver.ids) == 6


async def soon(dsn: str) -> None:
    """Whatever waits is due."""
    conn = await asyncpg.connect(dsn)
    await conn.execute(SOON)
    await conn.close()


async def test_what_was_taken_and_not_answered_comes_again_under_the_same_id(
    db: Database, dsn: str, receiver: Receiver
) -> None:
    await live(db)
    receiver.drops = 1
    await happens(db, "accounts.stale")
    await turn(db, receiver)
    await soon(dsn)
    await turn(db, receiver)
    await turn(db, receiver)

    first, second = receiver.ids
    assert first == second


async def test_who_reads_at_once_tells_nothing_twice(db: Database, receiver: Receiver) -> None:
    await live(db)
    await happens(db, "accounts.stale")
    await asyncio.gather(*(read.look(db, URL) for _ in range(5)))
    await tell(db, [by(receiver)])

    assert len(receiver.told) == 1


async def test_a_reading_that_is_cut_off_is_done_anew_by_the_next(
    db: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of its statements, as a kill would."""
    await live(db)
    await happens(db, "accounts.stale")
    steps = ("place", "read", "begin", "end_jobs", "say", "move")
    for step in steps:
        real = getattr(store, step)

        async def broken(*given: object, _real: object = real, **named: object) -> None:
            await _real(*given, **named)  # type: ignore[operator]
            raise asyncio.CancelledError

        with monkeypatch.context() as patch:
            patch.setattr(store, step, broken)
            with pytest.raises(asyncio.CancelledError):
                await read.look(db, URL)
        assert await kinds(db) == []
    await turn(db, receiver)
    await turn(db, receiver)

    assert receiver.told == [("alerts.opened", "accounts.stale")]


async def test_a_transaction_that_is_still_running_is_waited_for(db: Database, receiver: Receiver) -> None:
    await live(db)
    data = {"account": str(await public_id(db, ONE, ANNS))}
    async with db.transaction(ONE) as older:
        await log.append(older, ONE, Stream(77), [Event("accounts.connected", data)])
        await happens(db, "accounts.stale")
        await turn(db, receiver)
        before = list(receiver.told)
    await turn(db, receiver)

    assert (before, receiver.told) == ([], [("alerts.opened", "accounts.stale")])


async def test_in_a_database_that_was_restored_from_a_dump_nothing_is_passed(
    db: Database, dsn: str, receiver: Receiver
) -> None:
    """The old one's transactions had counted on since its last event; the new one's have that before them."""
    conn = await asyncpg.connect(dsn)
    await conn.execute("INSERT INTO postroom.events_restored VALUES (1, 1000000)")
    await live(db)
    await happens(db, "accounts.connected")
    await conn.execute("UPDATE postroom.events_restored SET base = 1000000000")
    await turn(db, receiver)
    await conn.execute("DELETE FROM postroom.events_restored")
    await conn.close()
    assert await feed.mind_restore(db) == 1
    await happens(db, "accounts.stale")
    await turn(db, receiver)

    assert receiver.told == [("alerts.opened", "accounts.stale")]


async def test_tenants_of_whom_all_was_read_are_not_looked_at(db: Database) -> None:
    await live(db)
    async with db.unbound() as conn:
        before = await store.behind(conn)
    await happens(db, "accounts.connected")
    async with db.unbound() as conn:
        assert (before, await store.behind(conn)) == ([], [ONE])


async def test_messages_are_signed_as_standard_webhooks_has_it(db: Database, receiver: Receiver) -> None:
    await live(db)
    await happens(db, "accounts.stale")
    await turn(db, receiver)
    [(headers, body)] = receiver.got

    assert Webhook(SECRET).verify(body, headers)["type"] == "alerts.opened"


async def test_without_a_receiver_alerts_are_kept_and_nothing_waits(db: Database) -> None:
    await read.look(db, [])
    await happens(db, "accounts.stale")
    await read.look(db, [])
    async with db.unbound() as conn:
        counted = await store.counted(conn)

    assert counted == ({"accounts.stale": 1}, 0)


async def test_what_is_over_goes_once_all_of_it_is_said(db: Database, receiver: Receiver) -> None:
    await live(db)
    await happens(db, "accounts.stale")
    await happens(db, "accounts.recovered")
    await read.look(db, URL)
    async with db.unbound() as conn:
        unsaid = await store.clean(conn, timedelta(), 10)
    await tell(db, [by(receiver)])
    async with db.unbound() as conn:
        said = await store.clean(conn, timedelta(), 10)

    assert (unsaid, said) == (0, 1)
    assert await kinds(db, is_open=None) == []


def test_what_begins_an_alert_names_what_it_is_about() -> None:
    """Those of rooms that are not there yet are looked at when they are."""
    for kind, field in [*BEGINS.items(), *((kind, field) for kind, (field, _) in ENDS.items())]:
        assert kind not in KINDS or field in KINDS[kind].fields, kind
    for _, kinds in ENDS.values():
        assert kinds is None or kinds <= BEGINS.keys()


def test_a_receiver_that_does_not_come_back_is_asked_once_an_hour() -> None:
    assert [again_after(tries) for tries in (1, 2, 3)] == [timedelta(seconds=s) for s in (10, 20, 40)]
    assert again_after(1000) == timedelta(hours=1)


async def test_an_event_of_an_unknown_account_is_kept_as_it_is(db: Database, receiver: Receiver) -> None:
    await live(db)
    async with db.transaction(ONE) as conn:
        await log.append(conn, ONE, TENANT, [Event("accounts.removed", {"account": str(new_public_id())})])
    await turn(db, receiver)

    assert await kinds(db, is_open=None) == []
