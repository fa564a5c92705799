"""Many accounts on one server: each made when it is first touched, and told of what arrives in it."""

from datetime import timedelta

import pytest
from lab.talk import signed_in

from postroom.lab import serve
from postroom.lab.accounts import ADDRESS, Accounts, address
from postroom.lab.mailbox import LabMailbox


def test_accounts_are_numbered_from_the_first_one() -> None:
    assert [address(number) for number in (0, 1, 9999)] == [
        ADDRESS,
        "robin1@lab.example",
        "robin9999@lab.example",
    ]


def test_a_mailbox_is_made_when_it_is_asked_for_and_stays() -> None:
    made: list[int] = []

    def make(number: int) -> LabMailbox:
        made.append(number)
        return LabMailbox(number)

    accounts = Accounts(10_000, make)
    assert address(7) in accounts
    assert made == []
    assert accounts[address(7)] is accounts[address(7)]
    assert made == [7]


STRANGERS = ("robin3", "robin0", "robin01", "robin-1", "robin²", "ann", "", "robin999999999999999999999")


@pytest.mark.parametrize("user", ["robin", "3", "", *(f"{name}@lab.example" for name in STRANGERS)])
def test_nobody_else_has_an_account(user: str) -> None:
    accounts = Accounts(3, LabMailbox)

    assert user not in accounts
    with pytest.raises(KeyError):
        accounts[user]


async def test_mail_arrives_in_any_account_while_clients_watch() -> None:
    async with serve(messages=2, folder_count=1, accounts=10_000) as server:
        server.address = address(9999)
        async with signed_in(server, "INBOX") as client:
            await client.play("C: a IDLE\nS: + idling")
            server.arrive(9998)
            server.arrive(9999)
            await client.play("S: * 3 EXISTS")
            server.mailbox_of(9999).deliver(b"Subject: x\r\n\r\n")
            await client.play("S: * 4 EXISTS")

        assert server.arrived == 2
        assert len(server.accounts) == 3
        first, second = (server.mailbox_of(number).folder("INBOX").messages[1] for number in (0, 1))
        assert first.raw() != second.raw()


async def test_what_arrives_by_itself_goes_to_one_account_after_the_other() -> None:
    async with serve(messages=0, accounts=3, arrive_every=timedelta(milliseconds=1)) as server:
        server.address = address(2)
        async with signed_in(server, "INBOX") as client:
            await client.play("C: a IDLE\nS: + idling\nS: * ... EXISTS\nS: * ... EXISTS")

        counts = [len(server.mailbox_of(number).folder("INBOX").messages) for number in range(3)]

    assert max(counts) - min(counts) <= 1
