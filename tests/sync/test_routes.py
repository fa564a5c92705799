"""What callers of the API learn of the quarantine, and what they can do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from servers.api import Client, key_of
from servers.tenants import ONE, TWO
from sync.lab import connected, sync

from postroom.accounts.model import Account
from postroom.db import leases
from postroom.db.pool import Database
from postroom.http.caller import Scope
from postroom.lab.server import serve

Connect = Callable[[str | None], Client]

DUE = "SELECT count(*) FROM accounts_account WHERE id = $1 AND next_sync_at <= now()"
LATER = "UPDATE sync_parked SET retry_at = now() + interval '1 day' WHERE tenant_id = $1"


@dataclass(frozen=True, slots=True)
class Copied:
    """An account with a refused message in each of its folders, and all but its inbox refused since."""

    account: Account
    entries: list[dict[str, Any]]

    def one(self, kind: str) -> dict[str, Any]:
        return next(entry for entry in self.entries if entry["kind"] == kind)


@pytest.fixture
async def copied(api: Client, db: Database) -> Copied:
    async with serve(messages=60, folder_count=3, faults=["unavailable-uid"]) as server:
        account = await connected(db, server)
        await sync(db, account)
        server.faults.switch_on("select-fails")
        for folder in server.mailbox.folders.values():
            folder.deliver(b"Subject: later\r\n\r\nb\r\n")
        for _ in range(3):
            await sync(db, account)
    async with db.transaction(ONE) as conn:
        await conn.execute(LATER, ONE)
    await sync(db, account)  # nobody listens any more: the account fails, too
    return Copied(account, (await api.get("/v1/sync/parked")).json()["items"])


async def test_what_holds_up_most_comes_first(copied: Copied) -> None:
    kinds = [entry["kind"] for entry in copied.entries]

    assert kinds == ["account", *["folder"] * 2, *["message"] * (len(kinds) - 3)]
    assert len(kinds) > 4
    assert {entry["account"] for entry in copied.entries} == {str(copied.account.public_id)}
    account, folder, message = (copied.one(kind) for kind in ("account", "folder", "message"))
    assert account["id"] == str(copied.account.public_id)
    assert (account["code"], account["attempts"]) == ("providers.port_closed", 1)
    assert (folder["code"], folder["attempts"], folder["uid"]) == ("providers.refused", 3, None)
    assert (message["code"], message["uid"], message["has_raw"]) == ("providers.unfetchable", 3, False)
    assert message["size"] > 100
    assert all(entry["reason"] and entry["advice"] and entry["since"] for entry in copied.entries)


async def test_pages_show_each_entry_once(api: Client, copied: Copied) -> None:
    page = (await api.get("/v1/sync/parked?page_size=2")).json()
    met = page["items"]
    while page["has_next"]:
        page = (await api.get("/v1/sync/parked", params={"page_size": 2, "cursor": page["next"]})).json()
        met += page["items"]

    assert met == copied.entries


async def test_an_entry_has_a_page_of_its_own(api: Client, copied: Copied) -> None:
    for kind in ("account", "folder", "message"):
        entry = copied.one(kind)
        assert (await api.get(f"/v1/sync/parked/{entry['id']}")).json() == entry


async def test_a_retry_makes_entry_and_account_due(api: Client, copied: Copied, db: Database) -> None:
    entry = copied.one("message")
    retried = (await api.post(f"/v1/sync/parked/{entry['id']}/retry")).json()

    assert retried["retry_at"] < entry["retry_at"]
    assert retried == entry | {"retry_at": retried["retry_at"]}
    async with db.transaction(ONE) as conn:
        assert await conn.fetchval(DUE, copied.account.id)
        waiting = "SELECT count(*) FROM sync_parked WHERE retry_at > now()"
        assert await conn.fetchval(waiting) == len(copied.entries) - 2


async def test_an_account_that_waits_for_its_owner_is_tried_again(
    api: Client, copied: Copied, db: Database
) -> None:
    state = "UPDATE accounts_account SET state = $2 WHERE id = $1"
    async with db.transaction(ONE) as conn:
        await conn.execute(state, copied.account.id, "reauth_required")
    path = f"/v1/sync/parked/{copied.account.public_id}"
    before = (await api.get(path)).json()
    await api.post(f"{path}/retry")

    assert before["retry_at"] is None
    assert "owner" in before["advice"]
    async with db.transaction(ONE) as conn:
        assert await conn.fetchval(f"{DUE} AND state = 'error'", copied.account.id)
        await conn.execute(state, copied.account.id, "paused")
    assert (await api.post(f"{path}/retry")).status_code == 404


async def test_bytes_that_were_never_handed_out_are_not_there(api: Client, copied: Copied) -> None:
    answer = await api.get(f"/v1/sync/parked/{copied.one('message')['id']}/raw")

    assert (answer.status_code, answer.json()["code"]) == (404, "sync.nothing_kept")


async def test_another_tenants_entries_are_not_there(copied: Copied, connect: Connect, db: Database) -> None:
    other = connect(await key_of(db, TWO))

    assert (await other.get("/v1/sync/parked")).json()["items"] == []
    for entry in (*copied.entries, {"id": uuid4()}):
        for answer in (
            await other.get(f"/v1/sync/parked/{entry['id']}"),
            await other.get(f"/v1/sync/parked/{entry['id']}/raw"),
            await other.post(f"/v1/sync/parked/{entry['id']}/retry"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "sync.parked_not_found")
    for path in (
        f"/v1/sync/parked?account={copied.account.public_id}",
        f"/v1/accounts/{copied.account.public_id}/sync-status",
    ):
        assert (await other.get(path)).json()["code"] == "accounts.not_found"


async def test_a_retry_takes_the_right_to_sync(copied: Copied, connect: Connect, db: Database) -> None:
    path = f"/v1/sync/parked/{copied.one('message')['id']}"
    reader = connect(await key_of(db, ONE, Scope.READ))
    syncer = connect(await key_of(db, ONE, Scope.SYNC, Scope.READ))

    assert (await reader.get(path)).status_code == 200
    assert (await reader.post(f"{path}/retry")).json()["code"] == "http.missing_scope"
    assert (await syncer.post(f"{path}/retry")).status_code == 200


async def test_the_status_of_syncs_tells_what_waits(api: Client, copied: Copied, db: Database) -> None:
    path = f"/v1/accounts/{copied.account.public_id}/sync-status"
    told = (await api.get(path)).json()

    assert told["parked"] == len(copied.entries) - 1
    assert (told["is_syncing"], told["last_sync_status"], told["sync_count"]) == (False, "failed", 5)
    assert told["last_sync_error"]["code"] == "providers.port_closed"
    assert told["last_sync_at"] < told["next_sync_at"]
    async with leases.holding(db, ONE, f"sync.account:{copied.account.id}"):
        async with db.transaction(ONE) as conn:
            await conn.execute("UPDATE accounts_account SET sync_started_at = now()")
        told = (await api.get(path)).json()
    assert (told["is_syncing"], told["last_sync_status"]) == (True, "in_progress")


async def test_a_sync_is_asked_for_and_answered_with_its_job(api: Client, db: Database) -> None:
    async with serve(messages=1) as server:
        account = await connected(db, server)
    path = f"/v1/accounts/{account.public_id}/sync"

    asked = await api.post(path)
    again = await api.post(path)

    assert asked.status_code == 202
    job = asked.json()
    assert (job["kind"], job["state"], job["account"]) == ("sync.account", "pending", str(account.public_id))
    assert again.json()["id"] == job["id"]
    assert (await api.get(asked.headers["Location"])).json()["id"] == job["id"]


async def test_a_paused_account_is_not_synced_on_request(api: Client, db: Database) -> None:
    async with serve(messages=1) as server:
        account = await connected(db, server)
    await api.patch(f"/v1/accounts/{account.public_id}", json={"paused": True})

    refused = await api.post(f"/v1/accounts/{account.public_id}/sync")

    assert (refused.status_code, refused.json()["code"]) == (409, "sync.account_paused")


@pytest.mark.usefixtures("tenants")
async def test_a_reader_may_not_ask_for_a_sync(connect: Connect, db: Database) -> None:
    reader = connect(await key_of(db, ONE, Scope.READ))
    other = connect(await key_of(db, TWO, Scope.READ, Scope.SYNC))
    async with serve(messages=1) as server:
        account = await connected(db, server)

    assert (await reader.post(f"/v1/accounts/{account.public_id}/sync")).status_code == 403
    assert (await other.post(f"/v1/accounts/{account.public_id}/sync")).status_code == 404
