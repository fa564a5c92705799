import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from servers.api import Client, key_of
from servers.copies import Copy
from servers.tenants import ANNS, BOBS, ONE, TWO

from postroom.accounts import store
from postroom.accounts.model import AccountState
from postroom.db import leases
from postroom.db.pool import Database
from postroom.http.caller import Scope
from postroom.ids import AccountId, TenantId
from postroom.lab.server import LabServer, serve

Copies = Callable[[TenantId, AccountId], Copy]
NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
async def lab() -> AsyncIterator[LabServer]:
    async with serve(messages=10, folder_count=2) as server:
        yield server


@pytest.fixture
async def ann(api: Client, copy: Copies) -> str:  # noqa: ARG001  # the tenants must be there first
    """The path of an account of tenant ONE."""
    return f"/v1/accounts/{await copy(ONE, ANNS).id()}"


@pytest.fixture
async def bob(api: Client, copy: Copies) -> str:  # noqa: ARG001
    """The path of an account of tenant TWO."""
    return f"/v1/accounts/{await copy(TWO, BOBS).id()}"


def wish(lab: LabServer, **more: Any) -> dict[str, Any]:
    server = f"imap://{lab.host}:{lab.port}"
    return {"address": lab.address, "password": lab.password, "server": server, "starttls": "off"} | more


async def test_a_mailbox_is_connected_with_an_estimate(api: Client, lab: LabServer) -> None:
    answer = await api.post("/v1/accounts", json=wish(lab, poll_every_minutes=5, since="2020-01-01"))
    told = answer.json()
    account = told["account"]

    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/v1/accounts/{account['id']}"
    assert told["estimate"]["messages"] == 10
    assert (told["server"], told["found_by"]) == (f"imap://{lab.host}:{lab.port}", None)
    assert (account["address"], account["state"], account["poll_every_minutes"]) == (lab.address, "active", 5)
    assert account["scope"] == {"folders": None, "since": "2020-01-01", "largest": None}
    assert (account["is_syncing"], account["last_sync_status"], account["sync_count"]) == (False, None, 0)
    assert lab.password not in answer.text
    assert (await api.get(answer.headers["Location"])).json() == account
    assert account in (await api.get("/v1/accounts")).json()["items"]


async def test_an_estimate_is_that_of_connecting_and_stores_nothing(api: Client, lab: LabServer) -> None:
    before = (await api.get("/v1/accounts")).json()
    answer = await api.post("/v1/accounts/estimate", json=wish(lab))
    after = (await api.get("/v1/accounts")).json()
    connected = (await api.post("/v1/accounts", json=wish(lab))).json()
    refused = await api.post("/v1/accounts/estimate", json=wish(lab, password="canary"))

    assert answer.status_code == 200, answer.text
    assert answer.json() == {name: told for name, told in connected.items() if name != "account"}
    assert answer.json()["estimate"]["seconds"] > 0
    assert after == before
    assert (refused.status_code, refused.json()["code"]) == (422, "providers.wrong_password")
    assert "canary" not in refused.text


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"password": "canary"}, 422, "providers.wrong_password"),
        ({"password": "can\ud800ary"}, 422, "providers.wrong_password"),
        ({"server": "imap://127.0.0.1:1"}, 503, "providers.port_closed"),
        ({"starttls": "require"}, 422, "providers.tls_refused"),
        ({"server": "imap://127.0.0.1:0"}, 400, "providers.bad_server"),
        ({"server": "https://x/y"}, 400, "providers.bad_server"),
        ({"folders": "nothing-like-this"}, 400, "accounts.nothing_to_copy"),
        ({"address": "two words@x.org"}, 400, "accounts.bad_address"),
        ({"address": "ann@example.org"}, 409, "accounts.already_connected"),
        ({"address": ""}, 422, "http.invalid_request"),
        ({"username": "a\0b"}, 422, "http.invalid_request"),
        ({"password": ""}, 422, "http.invalid_request"),
        ({"poll_every_minutes": 0}, 422, "http.invalid_request"),
        ({"poll_every_minutes": 1e300}, 422, "http.invalid_request"),
        ({"provider": "files"}, 422, "http.invalid_request"),
        ({"ca_file": "/etc/passwd"}, 422, "http.invalid_request"),
    ],
    ids=str,
)
async def test_what_cannot_be_connected_says_why_and_leaves_nothing(
    api: Client, lab: LabServer, change: dict[str, Any], status: int, code: str
) -> None:
    before = (await api.get("/v1/accounts")).json()
    body = json.dumps(wish(lab) | change)
    answer = await api.post("/v1/accounts", content=body, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert lab.password not in answer.text
    assert "canary" not in answer.text
    assert (await api.get("/v1/accounts")).json() == before


async def test_status_says_how_the_last_sync_went(api: Client, ann: str, db: Database) -> None:
    async with db.transaction(ONE) as conn:
        await store.mark_sync_failed(
            conn,
            ONE,
            ANNS,
            wait=timedelta(hours=1),
            error={"code": "providers.unreachable", "message": "No such host."},
            state=AccountState.ERROR,
        )
    told = (await api.get(ann)).json()

    assert (told["state"], told["reason"], told["sync_count"]) == ("error", "No such host.", 1)
    assert told["last_sync_status"] == "failed"
    assert told["last_sync_error"] == {"code": "providers.unreachable", "message": "No such host."}
    assert told["last_sync_at"] is not None


async def test_a_sync_is_in_progress_while_somebody_holds_its_lease(
    api: Client, ann: str, db: Database
) -> None:
    async with db.transaction(ONE) as conn:
        await store.begin_sync(conn, ONE, ANNS, pause=timedelta(), full_every=timedelta())
    async with leases.holding(db, ONE, f"sync.account:{ANNS}"):
        during = (await api.get(ann)).json()
    after = (await api.get(ann)).json()

    assert (during["is_syncing"], during["last_sync_status"]) == (True, "in_progress")
    assert (after["is_syncing"], after["last_sync_status"]) == (False, None)


async def test_what_cannot_be_removed_at_once_is_removed_by_a_job_that_can_be_followed(
    api: Client, ann: str, db: Database
) -> None:
    async with leases.holding(db, ONE, f"sync.account:{ANNS}"):
        promised = await api.delete(ann)
        meanwhile = (await api.get(ann)).json()
        again = await api.delete(ann)

    assert promised.status_code == again.status_code == 202
    assert (promised.json()["kind"], promised.json()["state"]) == ("sync.remove", "pending")
    assert promised.headers["Location"] == again.headers["Location"]
    assert (await api.get(promised.headers["Location"])).json()["id"] == promised.json()["id"]
    assert meanwhile["state"] == "paused"
    assert "sync.account:" not in promised.text + str(meanwhile)


async def test_an_account_is_paused_and_resumed(api: Client, ann: str, db: Database) -> None:
    paused = (await api.patch(ann, json={"paused": True})).json()
    resumed = (await api.patch(ann, json={"paused": False})).json()
    async with db.transaction(ONE) as conn:
        await store.set_state(conn, ONE, ANNS, AccountState.REAUTH_REQUIRED, "The password is refused.")
    still = (await api.patch(ann, json={"paused": False})).json()

    assert (paused["state"], paused["next_sync_at"]) == ("paused", None)
    assert resumed["state"] == "active"
    assert still["state"] == "reauth_required", "resuming mends no password"


async def test_the_interval_is_changed_or_left_to_the_installation(api: Client, ann: str) -> None:
    first = (await api.patch(ann, json={"poll_every_minutes": 2.5})).json()
    same = (await api.patch(ann, json={})).json()
    default = (await api.patch(ann, json={"poll_every_minutes": None})).json()

    assert [told["poll_every_minutes"] for told in (first, same, default)] == [2.5, 2.5, None]


async def test_a_removed_account_takes_its_mail_with_it(
    api: Client, ann: str, copy: Copies, db: Database
) -> None:
    await copy(ONE, ANNS).deliver(b"Subject: x\r\n\r\ny", b"Subject: y\r\n\r\nz")
    removed = await api.delete(ann)
    async with db.transaction(ONE) as conn:
        left = [
            await conn.fetchval(question)
            for question in (
                "SELECT count(*) FROM mail_message",
                "SELECT count(*) FROM blobs_blob",
                "SELECT count(*) FROM accounts_account",
            )
        ]

    assert (removed.status_code, removed.content) == (204, b"")
    assert left == [0, 0, 0]
    assert (await api.get(ann)).status_code == (await api.delete(ann)).status_code == 404


async def test_accounts_come_in_pages(api: Client, lab: LabServer) -> None:
    await api.post("/v1/accounts", json=wish(lab))
    first = (await api.get("/v1/accounts?page_size=1")).json()
    second = (await api.get(f"/v1/accounts?page_size=1&cursor={first['next']}")).json()

    assert [item["address"] for page in (first, second) for item in page["items"]] == [
        "ann@example.org",
        lab.address,
    ]
    assert (first["has_next"], second["has_next"], second["next"]) == (True, False, None)


async def test_an_account_of_another_tenant_is_as_if_it_were_not(api: Client, ann: str, bob: str) -> None:
    unknown = f"/v1/accounts/{uuid4()}"
    for method, body in (("GET", None), ("PATCH", {"paused": True}), ("DELETE", None)):
        here = await api.request(method, bob, json=body)
        nowhere = await api.request(method, unknown, json=body)
        assert here.status_code == nowhere.status_code == 404
        assert here.content == nowhere.content
    assert [item["address"] for item in (await api.get("/v1/accounts")).json()["items"]] == [
        "ann@example.org"
    ]
    assert (await api.get(ann)).status_code == 200


async def test_reading_keys_change_nothing(
    api: Client, ann: str, db: Database, connect: Callable[[str | None], Client], lab: LabServer
) -> None:
    reader = connect(await key_of(db, ONE, Scope.READ))

    assert (await reader.get(ann)).status_code == 200
    assert (await reader.patch(ann, json={"paused": True})).status_code == 403
    assert (await reader.delete(ann)).status_code == 403
    assert (await reader.post("/v1/accounts", json=wish(lab))).status_code == 403
    assert (await api.get(ann)).json()["state"] == "active"
