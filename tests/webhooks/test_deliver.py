"""Events arrive: in the order of their streams, at least once, whatever the receivers do."""

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from servers.tenants import ANNS, ONE, TWO
from webhooks.receiving import (
    BROKEN,
    OK,
    QUICK,
    Message,
    added,
    append,
    delivered,
    has,
    is_in_order,
    receiving,
    running,
    subscribe,
    told,
)

from postroom.db.pool import Database
from postroom.events import remove
from postroom.events.model import Event
from postroom.ids import AccountId
from postroom.net.egress import Egress
from postroom.vault.seal import Vault
from postroom.webhooks import change, store

pytestmark = pytest.mark.usefixtures("tenants")

MANY = 20_000


async def test_what_happens_is_posted_in_the_order_of_its_stream(db: Database, vault: Vault) -> None:
    await append(db, ANNS, added())  # before there is a webhook: it is not told
    async with receiving() as receiver, running(db, vault), asyncio.timeout(20):
        await subscribe(db, vault, receiver.url)
        for number in range(30):
            await append(db, ANNS, added(number))
        await receiver.count(30)
    assert [one.place for one in receiver.got] == [(ANNS, seq) for seq in range(2, 32)]
    assert receiver.connections == 1


async def test_an_event_is_told_as_in_the_feed(db: Database, vault: Vault) -> None:
    async with receiving() as receiver, running(db, vault), asyncio.timeout(20):
        await subscribe(db, vault, receiver.url)
        await append(db, ANNS, added(7))
        await receiver.count(1)
    entry, account = await told(db, ANNS)
    [message] = receiver.got
    assert message.headers["content-type"] == "application/json"
    assert message.told["type"] == message.told["data"]["kind"] == "mail.added"
    assert message.told["timestamp"] == message.told["data"]["at"]
    assert message.told["data"] | {"data": 0} == {
        "cursor": entry.cursor,
        "account": str(account),
        "stream": ANNS,
        "seq": 1,
        "at": entry.at,
        "kind": "mail.added",
        "data": 0,
    }


@pytest.mark.slow
async def test_a_receiver_that_was_down_gets_all_in_order_and_nobody_else_waits_for_it(
    db: Database, vault: Vault
) -> None:
    rng = random.Random(1)

    async def down(_message: Message, _writer: asyncio.StreamWriter) -> bytes | None:
        return rng.choice([BROKEN, None])

    async with receiving(down) as one, receiving() as other, asyncio.timeout(150):
        await subscribe(db, vault, one.url, types=["mail.*"])
        await subscribe(db, vault, other.url, types=["mail.*"])
        async with running(db, vault):
            for batch in range(MANY // 1000):
                for stream in range(1, 11):
                    await append(db, stream, *(added(n) for n in range(100)))
                await other.count(1000 * (batch + 1))  # each batch arrives while the first one is down
            assert {message.place[1] for message in one.firsts} == {1}  # of each account the first
            one.reply = OK
            await one.until(lambda it: len(it.taken) == MANY)
    for receiver in (one, other):
        assert is_in_order(receiver.firsts)
        assert len(receiver.firsts) == MANY
        assert len({message.place for message in receiver.firsts}) == MANY


async def test_an_account_whose_event_is_refused_holds_up_no_other_account(
    db: Database, vault: Vault
) -> None:
    async def refuse(message: Message, _writer: asyncio.StreamWriter) -> bytes:
        return BROKEN if message.place[0] == 1 else OK

    async with receiving(refuse) as receiver, running(db, vault), asyncio.timeout(20):
        await subscribe(db, vault, receiver.url)
        await append(db, 1, added(), added())
        await receiver.until(lambda it: len(it.got) >= 4)
        for number in range(20):
            await append(db, 2, added(number))
        await receiver.until(lambda it: len([one for one in it.firsts if one.place[0] == 2]) == 20)
        assert {one.place for one in receiver.got if one.place[0] == 1} == {(1, 1)}
        receiver.reply = OK
        await receiver.count(22)
    assert is_in_order(receiver.firsts)


async def test_a_receiver_that_is_down_is_asked_once_for_each_account_and_then_for_all_of_them(
    db: Database, vault: Vault
) -> None:
    """However many accounts have news for it; and with the first success it gets all of them."""
    pace = replace(QUICK, first=timedelta(milliseconds=50), longest=timedelta(seconds=1))
    async with receiving(BROKEN) as receiver, running(db, vault, pace), asyncio.timeout(30):
        await subscribe(db, vault, receiver.url, types=["mail.*"])
        for stream in range(1, 51):
            await append(db, stream, added())
        began = asyncio.get_running_loop().time()
        await receiver.count(50)
        await receiver.until(partial(has, 60))
        assert asyncio.get_running_loop().time() - began > 0.5  # ten more; each account by itself: 200
        receiver.reply = OK
        await receiver.until(lambda it: len(it.taken) == 50)


async def test_accounts_of_one_receiver_that_answers_slowly_are_posted_beside_each_other(
    db: Database, vault: Vault
) -> None:
    at_once, most, opening = 0, 0, asyncio.Event()

    async def slow(_message: Message, _writer: asyncio.StreamWriter) -> bytes:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if most == 8:
            opening.set()
        await opening.wait()
        at_once -= 1
        return OK

    async with receiving(slow) as receiver, running(db, vault), asyncio.timeout(20):
        await subscribe(db, vault, receiver.url)
        for stream in range(1, 21):
            await append(db, stream, added())
        await receiver.count(20)
    assert most == 8


async def test_what_is_not_wanted_is_passed(db: Database, vault: Vault) -> None:
    gone = Event("mail.removed", {"message": "0" * 36})
    async with receiving() as receiver, running(db, vault), asyncio.timeout(20):
        webhook, _ = await subscribe(
            db, vault, receiver.url, types=["mail.removed", "sync.*"], accounts=[AccountId(1)]
        )
        await append(db, 1, *([added()] * 300), gone, added(), gone)
        await append(db, 2, gone)
        await append(db, 1, Event("sync.completed_first", {"account": "0" * 36}))
        await receiver.count(3)
    assert [one.place for one in receiver.got] == [(1, 301), (1, 303), (1, 304)]
    async with db.transaction(ONE) as conn:
        assert (await store.behind(conn, webhook)).events == 0


async def test_each_tenant_hears_of_its_own(db: Database, vault: Vault) -> None:
    async with receiving() as anns, receiving() as bobs, running(db, vault), asyncio.timeout(20):
        await subscribe(db, vault, anns.url)
        await subscribe(db, vault, bobs.url, tenant=TWO)
        await append(db, 1, added(1))
        await append(db, 2, added(2), tenant=TWO)
        await append(db, 2, added(3), tenant=TWO)
        await anns.count(1)
        await bobs.count(2)
    assert [one.place for one in anns.got] == [(1, 1)]
    assert [one.place for one in bobs.got] == [(2, 1), (2, 2)]


async def test_several_processes_share_webhooks_and_tell_each_event_to_each(
    db: Database, vault: Vault
) -> None:
    receivers = [receiving() for _ in range(9)]
    opened = [await one.__aenter__() for one in receivers]
    try:
        async with asyncio.timeout(60):
            for receiver in opened:
                await subscribe(db, vault, receiver.url)
            async with running(db, vault), running(db, vault):
                for number in range(50):
                    await append(db, 1 + number % 3, added(number))
                async with running(db, vault):
                    for number in range(50):
                        await append(db, 1 + number % 3, added(number))
                for receiver in opened:
                    await receiver.count(100)
    finally:
        for one in receivers:
            await one.__aexit__(None, None, None)
    assert all(is_in_order(receiver.firsts) for receiver in opened)


async def test_who_begins_anew_goes_on_where_it_stopped(db: Database, vault: Vault) -> None:
    async with receiving() as receiver, asyncio.timeout(20):
        await subscribe(db, vault, receiver.url)
        for round in range(3):
            async with running(db, vault):
                await append(db, 1, added(), added())
                await receiver.count(2 * round + 2)
    assert [one.place for one in receiver.got] == [(1, seq) for seq in range(1, 7)]


async def test_a_disabled_webhook_is_told_nothing_and_all_of_it_later(db: Database, vault: Vault) -> None:
    async with receiving() as receiver, receiving() as other, running(db, vault), asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url)
        await subscribe(db, vault, other.url)
        async with db.transaction(ONE) as conn:
            await change.change(conn, ONE, webhook.public_id, {"state": "disabled"})
        await append(db, 1, added(), added())
        await other.count(2)
        assert receiver.got == []
        async with db.transaction(ONE) as conn:
            await change.change(conn, ONE, webhook.public_id, {"state": "active"})
        await receiver.count(2)


async def test_a_receiver_in_a_private_network_is_not_posted_to_where_that_is_not_allowed(
    db: Database, vault: Vault
) -> None:
    async with receiving() as receiver, asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url)
        async with running(db, vault, allowed=Egress(private_allowed=False)):
            await append(db, 1, added())
            [first, *_] = await delivered(db, webhook)
    assert (first.outcome.code, first.outcome.status) == ("net.egress_refused", None)
    assert receiver.connections == 0


async def test_what_the_receiver_asks_for_is_waited(db: Database, vault: Vault) -> None:
    times: list[float] = []

    async def busy(_message: Message, _writer: asyncio.StreamWriter) -> bytes:
        times.append(asyncio.get_running_loop().time())
        return OK if len(times) > 1 else b"HTTP/1.1 503 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"

    longer = replace(QUICK, first=timedelta(0), longest=timedelta(seconds=5))
    async with receiving(busy) as receiver, running(db, vault, longer), asyncio.timeout(20):
        await subscribe(db, vault, receiver.url, types=["mail.*"])
        await append(db, 1, added())
        await receiver.until(lambda it: len(it.got) == 2)
    assert times[1] - times[0] >= 0.9


async def drip(_message: Message, writer: asyncio.StreamWriter) -> bytes | None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0)
    return None


async def mute(_message: Message, writer: asyncio.StreamWriter) -> bytes | None:
    await writer.wait_closed()
    return None


async def stops(_message: Message, writer: asyncio.StreamWriter) -> bytes | None:
    writer.write(b"HTTP/1.1 500 Oh\r\nContent-Length: 10\r\n\r\noh")
    await writer.drain()
    await writer.wait_closed()
    return None


async def resets(_message: Message, _writer: asyncio.StreamWriter) -> bytes | None:
    return None


@pytest.mark.parametrize(
    ("reply", "status", "code", "said"),
    [
        (drip, 200, None, "x" * 1024),
        (mute, None, "net.too_slow", "127.0.0.1 did not answer within 0.5 seconds."),
        (stops, 500, "webhooks.bad_status", "oh"),
        (resets, None, "net.dropped", "The connection to 127.0.0.1 was lost."),
        (b"SSH-2.0-no\r\n\r\n", None, "net.bad_answer", "127.0.0.1 does not keep to HTTP."),
        (
            b"HTTP/1.1 302 Go\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
            *(302, "webhooks.bad_status", ""),
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff\x00x", 200, None, "\ufffd\ufffdx"),
        (
            b"HTTP/1.1 503 No\r\nRetry-After: 1 Jan " + b"9" * 20 + b" 00:00:00\r\nContent-Length: 0\r\n\r\n",
            *(503, "webhooks.bad_status", ""),
        ),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", 410, "webhooks.gone", ""),
    ],
)
async def test_an_answer_is_bounded_in_size_and_time_and_only_its_status_counts(
    db: Database, vault: Vault, reply: bytes, status: int | None, code: str | None, said: str
) -> None:
    async with receiving(reply) as receiver, asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url)
        async with running(db, vault, limit=timedelta(seconds=0.5)):
            await append(db, 1, added())
            [*_, first] = await delivered(db, webhook)
    outcome = first.outcome
    assert (outcome.status, outcome.code, outcome.said) == (status, code, said)
    assert outcome.seconds < 5


async def test_a_connection_that_died_at_rest_costs_no_attempt(db: Database, vault: Vault) -> None:
    async def once(_message: Message, writer: asyncio.StreamWriter) -> bytes | None:
        writer.write(OK)  # promises to stay, and goes
        await writer.drain()
        return None

    async with receiving(once) as receiver, asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url)
        async with running(db, vault):
            for number in range(5):
                await append(db, 1, added(number))
                await receiver.count(number + 1)
            assert [each.attempt for each in await delivered(db, webhook, 5)] == [1] * 5


async def test_what_was_removed_before_a_receiver_took_it_is_told(db: Database, vault: Vault) -> None:
    await append(db, ANNS, added())
    async with receiving() as receiver, asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url)
        await append(db, ANNS, *(added(number) for number in range(5)))
        assert await remove.mark(db, vault.signer, ONE, datetime.now(UTC))
        await append(db, ANNS, added(9))
        assert await remove.sweep(db, vault.signer, ONE)
        async with running(db, vault):
            await receiver.count(2)
    last, missed = sorted(receiver.firsts, key=lambda one: one.place, reverse=True)
    assert last.place == (ANNS, 7)
    assert missed.told["type"] == "webhooks.missed"
    about = missed.told["data"]["data"]
    assert (about["webhook"], about["seq"]) == (str(webhook.public_id), 6)


async def test_a_stream_of_which_all_was_removed_is_told_of_and_goes_on(db: Database, vault: Vault) -> None:
    """A quiet account's: nothing stands behind what was removed."""
    async with receiving() as receiver, asyncio.timeout(20):
        await subscribe(db, vault, receiver.url)
        await append(db, ANNS, *(added(number) for number in range(5)))
        assert await remove.mark(db, vault.signer, ONE, datetime.now(UTC))
        assert await remove.sweep(db, vault.signer, ONE) == 5
        async with running(db, vault):
            await receiver.count(1)
            await append(db, ANNS, added(9))
            await receiver.count(2)
    missed, last = receiver.firsts
    assert missed.told["type"] == "webhooks.missed"
    assert missed.told["data"]["data"]["seq"] == 5
    assert last.place == (ANNS, 6)
