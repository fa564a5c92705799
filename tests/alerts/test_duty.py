"""Alerts as a duty of every executor, told where the settings say."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from alerts.receiving import Receiver, receiving
from servers.tenants import ANNS, ONE
from sync.mailboxes import means

from postroom.accounts import change
from postroom.accounts import store as accounts
from postroom.alerts.tell import ByUrl
from postroom.alerts.ways import ways
from postroom.cli.given import BadSetting, read_settings
from postroom.db.pool import Database
from postroom.executor.duties import duties
from postroom.executor.handlers import Work
from postroom.jobs.duties import do_one, plan

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
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
