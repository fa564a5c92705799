"""Alerts as a duty of every executor, told where the settings say."""

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from alerts.receiving import Receiver, receiving
from events.following import append
from events.forging import STRANGER, event
from servers.tenants import ANNS, ONE, TWO
from sync.mailboxes import means

from postroom.accounts import change
from postroom.accounts import store as accounts
from postroom.alerts.tell import ByUrl
from postroom.alerts.ways import ways
from postroom.cli.given import BadSetting, read_settings
from postroom.db.pool import Database
from postroom.events import log
from postroom.events.model import TENANT, ChainBroken
from postroom.events.seal import seal
from postroom.events.verify import verify
from postroom.executor.duties import duties
from postroom.executor.handlers import Work
from postroom.jobs.duties import do_one, plan

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
CUT = "UPDATE postroom.events_head SET seq = 1 WHERE tenant_id = 1 AND stream = 0"
AGAIN = "UPDATE jobs_duty SET next_at = now() WHERE name = 'alerts.look'"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as here:
        yield here


@pytest.mark.usefixtures("tenants")
async def test_an_executor_tells_the_operator_of_a_stale_account(db: Database, receiver: Receiver) -> None:
    settings = read_settings(None, None, alerts_url=receiver.url, alerts_secret=SECRET)
    work = Work(means(db), timedelta(minutes=15), operator=ways(settings))
    own = [duty for duty in duties(work, polls=True) if duty.name == "alerts.look"]
    await plan(db, own)
    for kind in ("accounts.stale", "accounts.recovered"):
        async with db.transaction(ONE) as conn:
            await change.tell(conn, await accounts.get_by_id(conn, ONE, ANNS), kind)
        assert await do_one(db, own)
        async with db.unbound() as conn:
            await conn.execute(AGAIN)

    assert receiver.told == [("alerts.opened", "accounts.stale"), ("alerts.closed", "accounts.stale")]


@pytest.mark.usefixtures("tenants")
async def test_an_executor_tells_once_of_a_log_that_is_not_the_one_that_was_sealed(
    db: Database, receiver: Receiver
) -> None:
    settings = read_settings(None, None, alerts_url=receiver.url, alerts_secret=SECRET)
    work = Work(means(db), timedelta(minutes=15), operator=ways(settings))
    own = {duty.name: duty.work for duty in duties(work, polls=True)}
    ours = work.vault.signer
    await own["events.seal"]()
    await append(db, ANNS, event(1))
    await append(db, 9, event(1), tenant=TWO)
    await seal(db, STRANGER, ONE, [ours.public])
    for _ in range(2):
        with pytest.raises(ChainBroken):
            await own["events.seal"]()
        await own["alerts.look"]()
    begun = list(receiver.told)
    await seal(db, ours, ONE, [STRANGER.public])
    for _ in range(2):
        await own["events.seal"]()
        await own["alerts.look"]()
    async with db.transaction(ONE) as conn:
        logged = [entry.kind for entry in await log.read(conn, ONE, TENANT)]

    assert logged == ["events.seal_refused", "events.seal_resumed"]
    assert begun == [("alerts.opened", "events.seal_refused")]
    assert receiver.told == [*begun, ("alerts.closed", "events.seal_refused")]
    assert (await verify(db, TWO, [ours.public])).seal == 2, "the others are sealed meanwhile"


@pytest.mark.usefixtures("tenants")
async def test_a_tenants_own_stream_that_was_cut_is_told_of_there_and_keeps_no_other_from_being_sealed(
    db: Database, dsn: str
) -> None:
    work = Work(means(db), timedelta(minutes=15))
    [sealing] = [duty.work for duty in duties(work, polls=True) if duty.name == "events.seal"]
    await append(db, TENANT, event(1), event(2))
    await sealing()
    conn = await asyncpg.connect(dsn)
    await conn.execute(CUT)
    await conn.close()
    await append(db, 9, event(1), tenant=TWO)
    with pytest.raises(ChainBroken):
        await sealing()
    async with db.transaction(ONE) as conn:
        logged = [entry.kind for entry in await log.read(conn, ONE, TENANT)]

    assert logged.count("events.seal_refused") == 1
    assert (await verify(db, TWO, [work.vault.signer.public])).seal == 2


def test_without_settings_nobody_is_told() -> None:
    assert ways(read_settings(None, None)) == []


def test_the_secret_is_shown_to_nobody() -> None:
    [way] = ways(read_settings(None, None, alerts_url="https://alerts.example.org/", alerts_secret=SECRET))

    assert isinstance(way, ByUrl)
    assert way.secret == SECRET
    assert SECRET not in repr(way)


@pytest.mark.parametrize(
    "wrong",
    [
        {"alerts_url": "alerts.example.org"},
        {"alerts_url": "https://me:secret@alerts.example.org/"},
        {"alerts_secret": "whsec_short"},
        {"alerts_secret": "whsec_not base64 at all, is it"},
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(BadSetting) as raised:
        read_settings(None, None, **wrong)

    assert "secret@" not in str(raised.value)
