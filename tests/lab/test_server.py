"""The lab mailbox lives on between runs, takes STARTTLS, holds many accounts, satisfies a strange client."""

import asyncio
import imaplib
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from lab.talk import signed_in

from postroom.lab import LabMailbox, LabServer, serve
from postroom.lab.certificate import make_certificate
from postroom.lab.mails import mail
from postroom.lab.run import run


def everything(mailbox: LabMailbox) -> object:
    """All that a client could tell two mailboxes apart by."""
    return {
        name: (
            folder.validity,
            folder.next_uid,
            folder.modseq,
            [(m.uid, m.modseq, m.flags, m.received, m.source) for m in folder.messages.values()],
        )
        for name, folder in mailbox.folders.items()
    }


async def test_a_mailbox_that_is_started_again_is_the_same() -> None:
    async with serve(messages=50, seed=3) as server:
        for _ in range(5):
            server.arrive()
        before = everything(server.mailbox)

    async with serve(messages=50, seed=3, arrived=5) as server:
        assert everything(server.mailbox) == before
        assert server.arrived == 5


async def test_mail_that_arrives_is_next_in_line() -> None:
    counts: list[int] = []
    async with serve(messages=10, arrived=2, seed=3, when_arrived=counts.append) as server:
        uid = server.arrive()
        arrived = server.mailbox.folder("INBOX").messages[uid]

    assert arrived.raw() == mail(3, 12)
    assert counts == [3]


async def test_mail_arrives_by_itself() -> None:
    lively = serve(messages=0, arrive_every=timedelta(milliseconds=1))
    async with lively as server, signed_in(server, "INBOX") as client:
        await client.say("a IDLE")
        await client.hear()
        assert (await client.hear()).endswith("EXISTS")


async def test_a_strange_client_gets_along_with_it(tmp_path: Path) -> None:
    """Python's imaplib, over STARTTLS."""
    certificate = make_certificate(tmp_path)
    async with serve(messages=40, certificate=certificate) as server:
        await asyncio.to_thread(strange_client, server, certificate.certificate)


def strange_client(server: LabServer, ca_file: Path) -> None:
    with imaplib.IMAP4(server.host, server.port) as client:
        client.starttls(ssl.create_default_context(cafile=ca_file))
        client.login(server.address, server.password)
        listed = client.list()[1]
        assert sum("Noselect" not in str(line) for line in listed) == len(server.mailbox.folders)
        assert client.select("INBOX")[1] == [b"20"]
        answers = client.uid("FETCH", "1:*", "(BODY.PEEK[] ENVELOPE FLAGS)")[1]
        bodies = [answer[1] for answer in answers if isinstance(answer, tuple)]
        assert bodies == [mail(1, number) for number in range(0, 40, 2)]
        assert client.uid("STORE", "1", "+FLAGS", "(\\Deleted)")[0] == "OK"
        assert client.expunge()[1] == [b"1"]
        assert client.append("Sent", "\\Seen", "", b"Subject: x\r\n\r\nx\r\n")[0] == "OK"


async def test_a_port_that_is_taken_is_an_ordinary_error() -> None:
    async with serve(messages=0) as server:
        with pytest.raises(OSError, match="in use"):
            async with serve(messages=0, port=server.port):
                pass


async def test_what_goes_wrong_in_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with serve(messages=0) as server, signed_in(server):
            raise KeyError


async def test_accounts_are_apart_from_each_other() -> None:
    async with serve(messages=0, folder_count=1) as server:
        server.accounts["ann@lab.example"] = LabMailbox(seed=2)
        server.accounts["ann@lab.example"].deliver(b"Subject: for ann\r\n\r\n")
        server.address = "ann@lab.example"
        async with signed_in(server, "INBOX") as client:
            assert (await client.ask("a UID SEARCH ALL"))[0] == "* SEARCH 1"

    assert server.mailbox.folder("INBOX").messages == {}


async def test_a_large_mailbox_costs_no_bytes_before_somebody_reads() -> None:
    mailbox = LabMailbox.filled(5000, folder_count=40)

    assert sum(len(folder.messages) for folder in mailbox.folders.values()) == 5000
    assert all(not isinstance(m.source, bytes) for f in mailbox.folders.values() for m in f.messages.values())


async def test_it_runs_until_it_is_cancelled() -> None:
    ready: asyncio.Future[LabServer] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run(messages=1, when_ready=ready.set_result))
        server = await ready
        async with signed_in(server, "INBOX") as client:
            assert (await client.ask("a NOOP"))[-1] == "a OK done"
        running.cancel()
