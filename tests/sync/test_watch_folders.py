"""Folders that are watched beside the inbox, of servers that tell of one folder only."""

from dataclasses import replace
from datetime import timedelta

import pytest
from histories.proxy import proxy
from prometheus_client import REGISTRY
from providers.counting import door
from servers.api import Client
from servers.tenants import ONE
from sync.lab import connected
from sync.test_ceiling import sharing
from sync.test_watch import holds, watched, watching

from postroom.accounts import store as accounts
from postroom.db.pool import Database
from postroom.lab.server import serve
from postroom.providers import further
from postroom.providers.model import Means
from postroom.sync.pace import Pace

pytestmark = pytest.mark.usefixtures("tenants", "alone")

NEVER = Pace(swept=timedelta(days=1))
SOON = Pace(swept=timedelta(seconds=0.2))
LAPSES = "postroom_sync_lapses_total"
MAIL = b"Subject: sent\r\n\r\nhello %d"


def lapses() -> float:
    return REGISTRY.get_sample_value(LAPSES) or 0.0


async def test_what_comes_into_a_chosen_folder_is_stored_as_soon_as_the_server_tells(db: Database) -> None:
    async with serve(messages=5, folder_count=4, offers="plain") as server:
        account = await connected(db, server, watch_folders="Se*,Archive")
        async with sharing(db) as use, watching(db, use=use, at=NEVER):
            await watched(db, account, Means.IDLE)
            for number in range(3):
                server.mailbox.deliver(MAIL % number, "Sent")
                await holds(db, account, 6 + 2 * number)
                server.mailbox.deliver(MAIL % (100 + number), "Archive")
                await holds(db, account, 7 + 2 * number)


async def test_a_folder_for_which_there_is_no_connection_is_swept(db: Database) -> None:
    async with (
        serve(messages=5, folder_count=3, offers="plain") as server,
        door(server.host, server.port) as entrance,
    ):
        account = await connected(db, replace(server, port=entrance.port), watch_folders="Sent")
        async with sharing(db, ceiling=1) as use, watching(db, use=use, at=SOON):
            await watched(db, account, Means.IDLE)
            server.mailbox.deliver(MAIL % 1, "Sent")
            await holds(db, account, 6)

        assert entrance.most == 1


async def test_a_session_of_a_chosen_folder_gives_way_to_who_waits_for_a_connection(db: Database) -> None:
    async with (
        serve(messages=5, folder_count=3, offers="plain") as server,
        door(server.host, server.port) as entrance,
    ):
        account = await connected(db, replace(server, port=entrance.port), watch_folders="Sent")
        async with sharing(db, ceiling=2) as use, watching(db, use=use, at=NEVER):
            await watched(db, account, Means.IDLE)
            server.mailbox.deliver(MAIL % 1, "Sent")
            await holds(db, account, 6)
            before = lapses()
            async with await use.mailbox(account) as mailbox:
                assert await mailbox.folders()
            assert lapses() == before  # of the account's own session
            server.arrive()
            await holds(db, account, 7)
            server.mailbox.deliver(MAIL % 2, "Sent")
            await holds(db, account, 8)

        assert entrance.most == 2


async def test_after_a_server_was_away_its_chosen_folders_are_watched_again(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(further, "AGAIN", timedelta(0))
    async with (
        serve(messages=5, folder_count=3, offers="plain") as server,
        proxy(server.host, server.port) as line,
    ):
        account = await connected(db, replace(server, port=line.port), watch_folders="Sent")
        async with watching(db, at=NEVER):
            for number in range(3):
                await watched(db, account, Means.IDLE)
                server.mailbox.deliver(MAIL % number, "Sent")
                await holds(db, account, 6 + number)
                assert line.reset_all() > 0


async def test_what_is_watched_can_be_changed(db: Database, api: Client) -> None:
    async with serve(messages=2, folder_count=1) as server:
        account = await connected(db, server, watch_folders="Sent")
    path = f"/v1/accounts/{account.public_id}"

    before = (await api.get(path)).json()
    changed = (await api.patch(path, json={"watch_folders": "Work,Lists/*"})).json()
    refused = await api.patch(path, json={"watch_folders": " , "})
    cleared = (await api.patch(path, json={"watch_folders": None})).json()

    told = [one["watch_folders"] for one in (before, changed, cleared)]
    assert told == ["Sent", "Work,Lists/*", None]
    assert (refused.status_code, refused.json()["code"]) == (400, "accounts.bad_folder_pattern")
    async with db.transaction(ONE) as conn:
        now = await accounts.get_by_id(conn, ONE, account.id)
    assert now.settings["host"] == account.settings["host"]
