"""IDLE and NOTIFY: every session is told of what it asked for, at once, and of nothing else."""

from collections.abc import AsyncIterator

import pytest
from lab.talk import Talk, signed_in

from postroom.lab import LabServer, serve

NEW = "MessageNew MessageExpunge"
ALL = f"{NEW} FlagChange MailboxName"


@pytest.fixture
async def server() -> AsyncIterator[LabServer]:
    async with serve(messages=4, folder_count=3, offers="notify") as server:
        yield server


async def idles(client: Talk) -> None:
    await client.play("C: a IDLE\nS: + idling")


async def test_all_who_idle_are_told_of_the_same_change(server: LabServer) -> None:
    async with (
        signed_in(server, "INBOX") as one,
        signed_in(server, "INBOX") as two,
        signed_in(server, "Sent") as elsewhere,
    ):
        for client in (one, two, elsewhere):
            await idles(client)
        server.arrive()
        for client in (one, two):
            await client.play("S: * 3 EXISTS")
        await elsewhere.play("C: DONE\nS: a OK done")


async def test_one_who_has_left_idle_is_told_only_when_it_asks(server: LabServer) -> None:
    async with signed_in(server, "INBOX") as client:
        await idles(client)
        await client.play("C: DONE\nS: a OK done")
        server.arrive()
        await client.play(
            "C: b CAPABILITY\nS: * CAPABILITY ...\nS: b OK ...\nC: c NOOP\nS: * 3 EXISTS\nS: c OK ..."
        )


async def test_changes_before_idle_and_before_done_are_told(server: LabServer) -> None:
    async with signed_in(server, "INBOX") as client:
        server.arrive()
        await client.play("C: a IDLE\nS: + idling\nS: * 3 EXISTS")
        await client.say("DONE")
        server.mailbox.expunge("INBOX", 1)
        answers = [await client.hear() for _ in range(2)]
        if answers[-1] != "a OK done":
            answers.append(await client.hear())
        answers += await client.ask("b NOOP")

    assert "* 1 EXPUNGE" in answers


async def test_notify_tells_how_all_folders_stand_and_what_becomes_of_them(server: LabServer) -> None:
    sent = server.mailbox.folder("Sent")
    async with signed_in(server) as client:
        told = await client.ask(f"n NOTIFY SET STATUS (personal ({ALL}))")
        assert [line.split(" (")[0] for line in told[:-1]] == [
            f'* STATUS "{name}"' for name in server.mailbox.folders
        ]
        sent.deliver(b"Subject: x\r\n\r\n")
        await client.play(f'S: * STATUS "Sent" (MESSAGES {len(sent.messages)} UIDNEXT ... HIGHESTMODSEQ ...)')
        sent.flag(1, ["\\Flagged"])
        await client.play('S: * STATUS "Sent" (HIGHESTMODSEQ ...)')
        server.mailbox.create("New")
        await client.play('S: * LIST () "/" "New"')
        server.mailbox.rename("New", "Newer")
        await client.play('S: * LIST () "/" "Newer" ("OLDNAME" ("New"))')
        server.mailbox.delete("Newer")
        await client.play('S: * LIST (\\NonExistent) "/" "Newer"')
        await client.play("C: q NOTIFY NONE\nS: q OK done")
        sent.deliver(b"Subject: y\r\n\r\n")
        await client.play("C: b NOOP\nS: b OK done")


async def test_of_the_open_folder_only_selected_tells(server: LabServer) -> None:
    async with signed_in(server, "INBOX") as client:
        await client.ask(f"n NOTIFY SET (personal ({NEW}))")
        await idles(client)
        server.arrive()
        server.mailbox.deliver(b"Subject: x\r\n\r\n", "Sent")
        await client.play('S: * STATUS "Sent" ...\nC: DONE\nS: * 3 EXISTS\nS: a OK done')
        await client.ask(f"n NOTIFY SET (selected ({NEW})) (personal ({NEW}))")
        server.arrive()
        await client.play("S: * 4 EXISTS")


async def test_notify_names_folders_and_trees(server: LabServer) -> None:
    for name in ("Lists", "Lists/one", "Listings"):
        server.mailbox.create(name)
    async with signed_in(server) as client:
        await client.ask(f'n NOTIFY SET (subtree Lists ({NEW})) (mailboxes (Sent "INBOX") ({NEW}))')
        for name in ("Listings", "Lists/one", "Archive", "Sent"):
            server.mailbox.deliver(b"Subject: x\r\n\r\n", name)
        await client.play('S: * STATUS "Sent" ...\nS: * STATUS "Lists/one" ...')


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("NOTIFY", "BAD"),
        ("NOTIFY SET", "BAD"),
        ("NOTIFY SET STATUS", "BAD"),
        ("NOTIFY SET (personal (MessageNew))", "BAD"),
        ("NOTIFY SET (personal (FlagChange))", "BAD"),
        (f"NOTIFY SET (nowhere ({NEW}))", "BAD"),
        ("NOTIFY SET (personal (Thunder))", "NO [BADEVENT ("),
    ],
)
async def test_what_makes_no_sense_is_refused(server: LabServer, command: str, answer: str) -> None:
    async with signed_in(server) as client:
        assert (await client.ask(f"a {command}"))[-1].startswith(f"a {answer}")


async def test_who_does_not_offer_notify_does_not_know_it() -> None:
    async with serve(messages=1) as server, signed_in(server) as client:
        assert (await client.ask(f"a NOTIFY SET (personal ({NEW}))"))[-1].startswith("a BAD")


async def test_nothing_is_told_in_the_middle_of_an_answer(server: LabServer) -> None:
    async with signed_in(server) as client:
        await client.ask(f"n NOTIFY SET (personal ({NEW}))")
        await client.say('f LIST "" *\r\nb NOOP')
        server.arrive()
        lines = [await client.hear() for _ in range(6)]

    listed = [place for place, line in enumerate(lines) if line.startswith("* LIST")]
    assert listed == list(range(listed[0], listed[0] + 3))
