"""A sync against everything that servers were seen to do wrong, one fault at a time."""

import asyncio
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
from sync.mailboxes import told

from postroom.db.pool import Database
from postroom.lab.certificate import Certificate, make_certificate
from postroom.lab.faults import FAULTS
from postroom.lab.server import LabServer, serve
from postroom.providers.imap import conversation, provider

pytestmark = pytest.mark.usefixtures("tenants")

STARTTLS = {"preauth", "starttls-injection", "starttls-stripped", "starttls-no"}
GONE = {"vanishing-folder", "folder-recreated", "gone-in-fetch"}  # what these take away is really gone
# Nobody who sees such a server for the first time can know that there is more.
UNKNOWABLE = {"newest-only", "list-forgets", "folder-looks-empty", "validity-changes-empty"}
# What these said was not so, and no number tells that they say something else now.
UNNOTICEABLE = {"flags-odd", "modseq-early"}
OF_GMAIL = {"labels-silent", "labels-odd", "ids-nil"}
LONGEST = 60  # seconds
SLOW = {"mail-wordy", "mail-crowded", "mail-nested", "mail-huge", "nested-deep", "line-endless"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("lab"))


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "greeting-late" in request.node.name:
        monkeypatch.setattr(provider, "GREETING", 0.05)
    if "stall-in-literal" in request.node.name or "literal-long" in request.node.name:
        monkeypatch.setattr(conversation, "SILENCE", 0.3)


def settings(fault: str, certificate: Certificate) -> dict[str, str]:
    if fault not in STARTTLS:
        return {}
    return {"security": "starttls", "ca_file": str(Path(certificate.certificate))}


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in FAULTS]
)
async def test_a_first_sync_stores_nothing_wrong_and_the_next_ones_all_of_it(
    fault: str, db: Database, certificate: Certificate
) -> None:
    offers = ["objectid", "gmail"] if fault in OF_GMAIL else []
    served = serve(messages=60, folder_count=4, faults=[fault], certificate=certificate, offers=offers)
    async with served as server, asyncio.timeout(LONGEST):
        account = await connected(db, server, **settings(fault, certificate))
        for _ in range(2):
            outcome = await sync(db, account)
            await assert_nothing_wrong(db, account, server)
            if fault not in UNKNOWABLE:
                await assert_no_silence(db, account, server, outcome)
        server.faults.switch_off(fault)
        await retry_parked(db)
        outcome = await sync(db, account, full=fault in UNNOTICEABLE)

        assert (outcome.status, outcome.counts.skipped) == ("success", [])
        await assert_equal(db, account, server)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_copy_loses_nothing_to_a_server_that_begins_to_fail(
    fault: str, db: Database, certificate: Certificate
) -> None:
    offers = ["objectid", "gmail"] if fault in OF_GMAIL else []
    served = serve(messages=60, folder_count=4, certificate=certificate, offers=offers)
    async with served as server, asyncio.timeout(LONGEST):
        account = await connected(db, server, **settings(fault, certificate))
        assert (await sync(db, account)).status == "success"
        before = await messages(db, account)
        server.faults.switch_on(fault)
        for _ in range(2):
            change(server)
            outcome = await sync(db, account)
            await assert_nothing_wrong(db, account, server)
            await assert_no_silence(db, account, server, outcome)
            assert fault in GONE or before <= await messages(db, account)
        server.faults.switch_off(fault)
        await retry_parked(db)
        outcome = await sync(db, account, full=fault in UNNOTICEABLE)

        assert (outcome.status, outcome.counts.skipped) == ("success", [])
        assert fault in GONE or before <= await messages(db, account)
        assert fault in GONE or "mail.removed" not in {entry.kind for entry in await told(db, account)}
        await assert_equal(db, account, server)


def change(server: LabServer) -> None:
    """Other flags for one message of each folder, and a new mail."""
    for folder in server.mailbox.folders.values():
        if uid := next(iter(folder.messages), None):
            folder.flag(uid, {"\\Flagged", "$Later"} - folder.messages[uid].flags)
    server.arrive()
