"""A sync against everything that servers were seen to do wrong, one fault at a time."""

from pathlib import Path

import pytest
from sync.lab import (
    assert_equal,
    assert_no_silence,
    assert_nothing_wrong,
    connected,
    messages,
    retry_parked,
    sync,
)

from postroom.db.pool import Database
from postroom.lab.certificate import Certificate, make_certificate
from postroom.lab.faults import FAULTS
from postroom.lab.server import serve
from postroom.providers.imap import provider

pytestmark = pytest.mark.usefixtures("tenants")

STARTTLS = {"preauth", "starttls-injection", "starttls-stripped"}
GONE = {"vanishing-folder"}  # what these take away is really gone


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("lab"))


@pytest.fixture(autouse=True)
def short_greeting(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "greeting-late" in request.node.name:
        monkeypatch.setattr(provider, "GREETING", 0.05)


def settings(fault: str, certificate: Certificate) -> dict[str, str]:
    if fault not in STARTTLS:
        return {}
    return {"security": "starttls", "ca_file": str(Path(certificate.certificate))}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_first_sync_stores_nothing_wrong_and_the_next_ones_all_of_it(
    fault: str, db: Database, certificate: Certificate
) -> None:
    async with serve(messages=60, folder_count=4, faults=[fault], certificate=certificate) as server:
        account = await connected(db, server, **settings(fault, certificate))
        for _ in range(2):
            outcome = await sync(db, account)
            await assert_nothing_wrong(db, account, server)
            await assert_no_silence(db, account, server, outcome)
        server.faults.switch_off(fault)
        await retry_parked(db)
        outcome = await sync(db, account)

        assert (outcome.status, outcome.counts.skipped) == ("success", [])
        await assert_equal(db, account, server)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_copy_loses_nothing_to_a_server_that_begins_to_fail(
    fault: str, db: Database, certificate: Certificate
) -> None:
    async with serve(messages=60, folder_count=4, certificate=certificate) as server:
        account = await connected(db, server, **settings(fault, certificate))
        assert (await sync(db, account)).status == "success"
        before = await messages(db, account)
        server.faults.switch_on(fault)
        for _ in range(2):
            for folder in server.mailbox.folders.values():
                uid = next(iter(folder.messages))
                folder.flag(uid, {"\\Flagged", "$Later"} - folder.messages[uid].flags)
            server.arrive()
            outcome = await sync(db, account)
            await assert_nothing_wrong(db, account, server)
            await assert_no_silence(db, account, server, outcome)
            assert fault in GONE or before <= await messages(db, account)
        server.faults.switch_off(fault)
        await retry_parked(db)
        outcome = await sync(db, account)

        assert (outcome.status, outcome.counts.skipped) == ("success", [])
        assert fault in GONE or before <= await messages(db, account)
        await assert_equal(db, account, server)
