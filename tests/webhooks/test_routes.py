"""Webhooks over the API: made, changed, tried out, told anew; by their owner and nobody else."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from servers.api import Client
from servers.tenants import ANNS, ONE
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from webhooks.receiving import (
    BROKEN,
    OK,
    added,
    alerts,
    append,
    delivered,
    is_in_order,
    receiving,
    running,
    told,
)

from postroom.db.pool import Database
from postroom.net.egress import Egress
from postroom.vault.seal import Vault
from postroom.webhooks import routes, store
from postroom.webhooks.change import Prober

PATH = "/v1/webhooks"
NOWHERE = "http://127.0.0.1:1/"


async def made(api: Client, url: str = NOWHERE, **more: Any) -> dict[str, Any]:
    answer = await api.post(PATH, json={"url": url, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_the_secret_is_shown_once_and_stored_sealed(api: Client, db: Database) -> None:
    new = await made(api, types=["mail.added", "sync.*"], description="desk")
    assert new["secret"].startswith("whsec_")
    listed = (await api.get(PATH)).json()["webhooks"]
    assert listed == [{name: value for name, value in new.items() if name != "secret"}]
    one = await api.get(f"{PATH}/{new['id']}")
    assert one.json() == listed[0] | {"behind": {"events": 0, "seconds": None}}
    async with db.transaction(ONE) as conn:
        [row] = await conn.fetch("SELECT w::text FROM webhooks_webhook w")
    assert new["secret"] not in row[0]
    assert new["secret"].removeprefix("whsec_")[:10] not in row[0]


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"url": "ftp://example.org"}, 400, "net.bad_url"),
        ({"url": "http://ann:secret@example.org"}, 400, "net.bad_url"),
        ({"url": NOWHERE, "types": ["mail.eaten"]}, 400, "events.no_such_type"),
        ({"url": NOWHERE, "accounts": ["019a8d3e-5b10-7c4e-9a51-2f60b1c8d7e4"]}, 404, "accounts.not_found"),
        ({"url": NOWHERE, "types": []}, 422, "http.invalid_request"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    api: Client, asked: dict[str, Any], status: int, code: str
) -> None:
    answer = await api.post(PATH, json=asked)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_there_are_no_more_than_a_tenant_may_have(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.webhooks.store.MOST", 2)
    first = await made(api)
    await made(api)
    refused = await api.post(PATH, json={"url": NOWHERE})
    assert (refused.status_code, refused.json()["code"]) == (409, "webhooks.too_many")
    assert (await api.delete(f"{PATH}/{first['id']}")).status_code == 204
    assert (await api.get(f"{PATH}/{first['id']}")).status_code == 404
    await made(api)


async def test_a_webhook_that_is_deleted_is_posted_nothing_and_the_log_says_so(
    api: Client, db: Database, vault: Vault
) -> None:
    async with receiving() as receiver, receiving() as other, running(db, vault), asyncio.timeout(20):
        gone = await made(api, receiver.url, types=["mail.*"])
        await made(api, other.url, types=["mail.*"])
        await append(db, ANNS, added())
        await receiver.count(1)
        assert (await api.delete(f"{PATH}/{gone['id']}")).status_code == 204
        assert await alerts(db, 1) == [("webhooks.removed", gone["id"], None)]
    async with running(db, vault), receiving() as last, asyncio.timeout(20):
        await made(api, last.url, types=["mail.*"])
        await append(db, ANNS, added())
        await last.count(1)
    assert len(receiver.first) == 1


async def test_receivers_verify_what_is_posted(api: Client, db: Database, vault: Vault) -> None:
    async with receiving() as receiver, running(db, vault), asyncio.timeout(20):
        secret = (await made(api, receiver.url))["secret"]
        await append(db, ANNS, added())
        await receiver.count(1)
    [message] = receiver.got
    assert Webhook(secret).verify(message.body, message.headers) == message.told
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(message.body + b" ", message.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 44).verify(message.body, message.headers)
    late = message.headers | {"webhook-timestamp": str(int(message.headers["webhook-timestamp"]) - 1)}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(message.body, late)


async def test_two_secrets_sign_until_the_overlap_is_over(api: Client, db: Database, vault: Vault) -> None:
    async with receiving() as receiver, asyncio.timeout(20):
        new = await made(api, receiver.url)
        rotated = (await api.post(f"{PATH}/{new['id']}/rotate", json={"overlap_hours": 1})).json()
        async with running(db, vault):
            await append(db, ANNS, added())
            await receiver.count(1)
        [both] = receiver.got
        for secret in (new["secret"], rotated["secret"]):
            assert Webhook(secret).verify(both.body, both.headers)
        assert len(both.headers["webhook-signature"].split()) == 2
        last = (await api.post(f"{PATH}/{new['id']}/rotate", json={"overlap_hours": 0})).json()
        async with running(db, vault):
            await append(db, ANNS, added())
            await receiver.count(2)
    alone = receiver.got[-1]
    assert Webhook(last["secret"]).verify(alone.body, alone.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(rotated["secret"]).verify(alone.body, alone.headers)


async def test_a_test_tells_what_the_receiver_answered(api: Client) -> None:
    async with receiving(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") as receiver:
        new = await made(api, receiver.url, types=["accounts.*"])
        told = (await api.post(f"{PATH}/{new['id']}/test")).json()
        assert (told["status"], told["code"], told["said"]) == (200, None, "hello")
        [message] = receiver.got
        verified = Webhook(new["secret"]).verify(message.body, message.headers)
        assert (verified["type"], verified["data"]) == ("webhooks.test", {"webhook": new["id"]})
    told = (await api.post(f"{PATH}/{new['id']}/test")).json()
    assert (told["status"], told["code"]) == (None, "net.port_closed")


async def test_a_test_goes_nowhere_that_is_not_allowed(api: Client, app: FastAPI, vault: Vault) -> None:
    desk: routes.Desk = app.state.webhooks
    prober = Prober(vault, Egress(private_allowed=False))
    app.state.webhooks = routes.Desk(prober, desk.account, desk.public_ids)
    async with receiving() as receiver:
        new = await made(api, receiver.url)
        told = (await api.post(f"{PATH}/{new['id']}/test")).json()
    assert (told["status"], told["code"]) == (None, "net.egress_refused")
    assert receiver.connections == 0


async def test_what_was_told_is_told_again_from_a_cursor_or_a_time_under_the_same_ids(
    api: Client, db: Database, vault: Vault
) -> None:
    await append(db, ANNS, added(), added())  # before there is a webhook
    entry, _ = await told(db, ANNS)
    async with receiving() as receiver, running(db, vault), asyncio.timeout(20):
        new = await made(api, receiver.url)
        path = f"{PATH}/{new['id']}/replay"
        await append(db, ANNS, added(3))
        await append(db, 9, added(4))
        await receiver.count(2)
        before = set(receiver.first)
        assert (await api.post(path, json={"after": entry.cursor})).status_code == 200
        await receiver.until(lambda it: len(it.got) == 5)
        assert before < set(receiver.first)
        assert sorted(one.place for one in receiver.got[2:]) == [(ANNS, 2), (ANNS, 3), (9, 1)]
        await api.post(path, json={"after": "start"})
        await receiver.until(lambda it: len(it.got) == 9)
        now = datetime.now(UTC)
        await append(db, ANNS, added(5))
        await receiver.count(5)
        await api.post(path, json={"since": now.isoformat()})
        await receiver.until(lambda it: len(it.got) == 11)
    assert receiver.got[-1].id == receiver.got[-2].id
    assert receiver.got[-1].place == (ANNS, 4)
    assert is_in_order([one for one in receiver.got[5:9] if one.place[0] == ANNS])


async def test_a_replay_from_the_end_leaves_out_what_was_not_told(
    api: Client, db: Database, vault: Vault
) -> None:
    async with receiving() as receiver, asyncio.timeout(20):
        new = await made(api, receiver.url)
        await append(db, ANNS, added(), added())
        behind = (await api.get(f"{PATH}/{new['id']}")).json()["behind"]
        assert behind["events"] == 2
        assert behind["seconds"] >= 0
        skipped = await api.post(f"{PATH}/{new['id']}/replay", json={"after": "end"})
        assert skipped.json()["behind"] == {"events": 0, "seconds": None}
        async with running(db, vault):
            await append(db, ANNS, added())
            await receiver.count(1)
    assert [one.place for one in receiver.got] == [(ANNS, 3)]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({}, "webhooks.bad_replay"),
        ({"after": "start", "since": "2026-01-01"}, "webhooks.bad_replay"),
        ({"after": "nonsense"}, "events.bad_cursor"),
    ],
)
async def test_a_replay_of_nonsense_is_refused(api: Client, asked: dict[str, str], code: str) -> None:
    new = await made(api)
    refused = await api.post(f"{PATH}/{new['id']}/replay", json=asked)
    assert (refused.status_code, refused.json()["code"]) == (400, code)


async def test_a_change_of_address_is_tried_at_once_and_of_accounts_from_now_on(
    api: Client, db: Database, vault: Vault
) -> None:
    account = str(await told_id(db))
    async with receiving(BROKEN) as bad, receiving() as good, running(db, vault), asyncio.timeout(20):
        new = await made(api, bad.url, accounts=[account])
        await append(db, ANNS, added())
        await append(db, 9, added())
        await bad.count(1)
        changed = await api.patch(f"{PATH}/{new['id']}", json={"url": good.url})
        assert changed.json()["url"] == good.url
        await good.count(1)
        assert (await api.patch(f"{PATH}/{new['id']}", json={"accounts": None})).json()["accounts"] is None
        await append(db, 9, added())
        await good.count(2)
    assert [one.place for one in good.firsts] == [(ANNS, 1), (9, 2)]


async def test_deliveries_are_listed_the_latest_first_in_pages(
    api: Client, db: Database, vault: Vault
) -> None:
    answers = [BROKEN, BROKEN, OK, OK]

    async def reply(*_: Any) -> bytes:
        return answers.pop(0)

    async with receiving(reply) as receiver, running(db, vault), asyncio.timeout(20):
        new = await made(api, receiver.url)
        await append(db, ANNS, added(), added())
        async with db.transaction(ONE) as conn:
            webhook = await store.get(conn, ONE, UUID(new["id"]))
        await delivered(db, webhook, 4)
    found, cursor = [], ""
    for _ in range(4):
        page = (await api.get(f"{PATH}/{new['id']}/deliveries?page_size=1{cursor}")).json()
        found += page["items"]
        cursor = f"&cursor={page['next']}"
    assert not page["has_next"]
    assert [(each["seq"], each["attempt"], each["status"], each["code"]) for each in found] == [
        (2, 1, 204, None),
        (1, 3, 204, None),
        (1, 2, 500, "webhooks.bad_status"),
        (1, 1, 500, "webhooks.bad_status"),
    ]
    assert found[-1]["said"] == "oops"
    assert found[0]["message"] == receiver.got[-1].id


async def told_id(db: Database) -> Any:
    async with db.transaction(ONE) as conn:
        return await conn.fetchval("SELECT public_id FROM accounts_account WHERE id = $1", ANNS)
