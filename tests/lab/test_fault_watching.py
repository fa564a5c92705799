"""The faults of those who tell of changes."""

import asyncio

import pytest
from lab.talk import Talk, signed_in

from postroom.lab import serve

NOTIFY = "n NOTIFY SET (personal (MessageNew MessageExpunge))"


async def silent(client: Talk) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await client.hear()


async def test_a_server_can_be_half_open() -> None:
    async with serve(messages=2, faults=["idle-half-open"]) as server, signed_in(server, "INBOX") as client:
        await client.play("C: a IDLE\nS: + idling")
        server.arrive()
        await client.say("DONE")
        await silent(client)


async def test_done_can_stay_without_an_answer() -> None:
    async with serve(messages=2, faults=["done-unanswered"]) as server, signed_in(server, "INBOX") as client:
        await client.play("C: a IDLE\nS: + idling")
        server.arrive()
        await client.play("S: * 2 EXISTS\nC: DONE")
        await silent(client)


async def test_a_change_can_be_told_once_and_never_again() -> None:
    async with serve(messages=2, faults=["idle-tells-once"]) as server, signed_in(server, "INBOX") as client:
        await client.play("C: a IDLE\nS: + idling")
        server.arrive()
        await client.play("S: * 2 EXISTS")
        server.arrive()
        await silent(client)


async def test_the_count_of_another_folder_can_be_told() -> None:
    faults = ["exists-of-another"]
    async with (
        serve(messages=4, folder_count=2, faults=faults) as server,
        signed_in(server, "INBOX") as client,
    ):
        await client.play("C: a IDLE\nS: + idling\nS: * 3 EXISTS")


async def test_notify_can_be_offered_and_refused() -> None:
    async with serve(offers="notify", faults=["notify-refused"]) as server, signed_in(server) as client:
        assert "NOTIFY" in (await client.ask("c CAPABILITY"))[0].split()
        assert (await client.ask(NOTIFY))[-1].startswith("n NO [BADEVENT")


async def test_notify_can_overflow() -> None:
    async with serve(offers="notify", faults=["notify-overflow"]) as server, signed_in(server) as client:
        await client.ask(NOTIFY)
        server.arrive()
        await client.play('S: * STATUS "INBOX" ...\nS: * OK [NOTIFICATIONOVERFLOW] ...')
        server.arrive()
        await silent(client)
