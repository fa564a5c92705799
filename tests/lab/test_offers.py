"""What a server does not offer it does not know either, and ids follow their messages."""

import asyncio
import re
from contextlib import AbstractAsyncContextManager
from time import process_time
from typing import Any

import pytest
from lab.talk import Talk, signed_in

from postroom.imap.aio import connect
from postroom.imap.commands import Command, append, select, uid_fetch
from postroom.imap.errors import CommandFailed
from postroom.lab import LabMailbox, LabServer, UnknownOffer, serve
from postroom.lab.mailbox import NoSuchFolder

ALL_MAIL = "[Gmail]/All Mail"


def offering(*offers: str) -> AbstractAsyncContextManager[LabServer]:
    """A server with twelve mails in four folders."""
    return serve(messages=12, folder_count=4, offers=offers)


async def found(client: Talk, pattern: str, command: str) -> Any:
    """What the pattern's group matches in the answer to a command."""
    return re.findall(pattern, "\n".join(await client.ask(command)))


async def ids(server: LabServer, folder: str, item: str = "EMAILID") -> dict[int, str]:
    """The id of every message in a folder, as a client sees it."""
    async with signed_in(server, folder) as client:
        answer = "\n".join(await client.ask(f"f UID FETCH 1:* ({item})"))
    return {int(uid): told for uid, told in re.findall(rf"UID (\d+) {item} \(?(\w+)\)?", answer)}


@pytest.mark.parametrize(
    ("offer", "refused"),
    [
        ("condstore", ["SELECT INBOX (QRESYNC (1 2))", "UID FETCH 1:* (UID) (CHANGEDSINCE 1 VANISHED)"]),
        (
            "plain",
            [
                "ENABLE CONDSTORE",
                "SELECT INBOX (CONDSTORE)",
                "STATUS INBOX (HIGHESTMODSEQ)",
                "UID FETCH 1:* (MODSEQ)",
                "UID FETCH 1:* (UID) (CHANGEDSINCE 1)",
                "UID SEARCH MODSEQ 3",
                "UID SEARCH RETURN (ALL) ALL",
                'LIST "" * RETURN (SPECIAL-USE)',
            ],
        ),
        ("qresync", ["UID FETCH 1 (EMAILID)", "UID FETCH 1 (X-GM-MSGID)", "STATUS INBOX (MAILBOXID)"]),
    ],
)
async def test_what_is_not_offered_is_not_known(offer: str, refused: list[str]) -> None:
    async with offering(offer) as server, signed_in(server, "INBOX") as client:
        for command in refused:
            answer = await client.ask(f"a {command}")
            assert answer[-1].startswith("a BAD"), command


async def test_a_plain_server_says_nothing_of_sequences() -> None:
    async with offering("plain") as server, signed_in(server) as client:
        told = "\n".join([*await client.ask("a CAPABILITY"), *await client.ask("b SELECT INBOX")])

    assert not re.search("MODSEQ|CONDSTORE|QRESYNC|ESEARCH|LIST-STATUS|ENABLE", told)


async def test_without_qresync_removals_are_told_one_by_one() -> None:
    async with offering("condstore") as server, signed_in(server, "INBOX") as client:
        assert (await client.ask("a ENABLE QRESYNC"))[0] == "* ENABLED"
        server.mailbox.expunge("INBOX", 2, 3)
        assert (await client.ask("b NOOP"))[:2] == ["* 3 EXPUNGE", "* 2 EXPUNGE"]


async def test_copies_and_moves_keep_the_id_of_a_message() -> None:
    async with offering("objectid") as server:
        before = await ids(server, "INBOX")
        async with signed_in(server, "INBOX") as client:
            (copied,) = await found(client, r"COPYUID \d+ 1 (\d+)", "a UID COPY 1 Sent")
            (moved,) = await found(client, r"COPYUID \d+ 2 (\d+)", "a UID MOVE 2 Sent")
        by_script = server.mailbox.move("INBOX", 3, "Sent")
        sent, rest = await ids(server, "Sent"), await ids(server, "INBOX")

    assert [sent[int(copied)], sent[int(moved)], sent[by_script]] == [before[1], before[2], before[3]]
    assert rest == {uid: told for uid, told in before.items() if uid not in {2, 3}}
    assert len(set(before.values())) == len(before)


async def test_ids_survive_a_new_validity() -> None:
    async with offering("objectid") as server:
        server.mailbox.expunge("INBOX", 1)
        before = await ids(server, "INBOX")
        server.mailbox.folder("INBOX").change_validity()

        assert list((await ids(server, "INBOX")).values()) == list(before.values())


async def test_a_folder_keeps_its_id_when_renamed_and_not_when_made_again() -> None:
    async def told(client: Talk, name: str) -> Any:
        (status,) = await found(client, r"MAILBOXID \((\w+)\)", f"a STATUS {name} (MAILBOXID)")
        (select,) = await found(client, r"MAILBOXID \((\w+)\)", f"a SELECT {name}")
        assert status == select
        return status

    async with offering("objectid") as server, signed_in(server) as client:
        first = await told(client, "Sent")
        server.mailbox.rename("Sent", "Posted")
        renamed = await told(client, "Posted")
        (made,) = await found(client, r"MAILBOXID \((\w+)\)", "a CREATE Sent")

        assert (first, await told(client, "Sent")) == (renamed, made)
        assert made != first


async def test_at_gmail_a_message_with_three_labels_lies_in_four_folders() -> None:
    async with offering("gmail") as server:
        uid = server.mailbox.deliver(b"Subject: x\r\n\r\n")
        server.mailbox.label("INBOX", uid, ["INBOX", "Archive", "[Gmail]/Sent Mail"])
        told = {name: await ids(server, name, "X-GM-MSGID") for name in server.mailbox.folders}
        async with signed_in(server, ALL_MAIL) as client:
            labels = await found(client, r"X-GM-LABELS \((.*)\)\)", "a FETCH * (X-GM-LABELS)")

    everywhere = set(told.pop(ALL_MAIL).values())
    assert everywhere == {one for folder in told.values() for one in folder.values()}
    assert [told["INBOX"][uid] in folder.values() for folder in told.values()].count(True) == 3
    assert labels == [r'"Archive" "\\Inbox" "\\Sent"']


async def test_at_gmail_flags_are_those_of_the_message_and_not_of_the_label() -> None:
    async with offering("gmail") as server:
        uid = server.mailbox.copy("INBOX", 1, "Archive")
        server.mailbox.flag("Archive", uid, ["\\Flagged"])

        assert server.mailbox.folder("INBOX").messages[1].flags == {"\\Flagged"}
        (place,) = [m for m in server.mailbox.folder(ALL_MAIL).messages.values() if "\\Flagged" in m.flags]
        assert place.id == server.mailbox.folder("INBOX").messages[1].id


async def test_at_gmail_an_expunge_takes_a_label_off_and_only_all_mail_forgets() -> None:
    async with offering("gmail") as server:
        mailbox = server.mailbox
        message = mailbox.folder("INBOX").messages[1]
        mailbox.label("INBOX", 1, ["INBOX", "Archive"])
        mailbox.expunge("INBOX", 1)
        assert message.id in {m.id for m in mailbox.folder("Archive").messages.values()}

        (uid,) = [uid for uid, m in mailbox.folder(ALL_MAIL).messages.items() if m.id == message.id]
        mailbox.expunge(ALL_MAIL, uid)
        left = {m.id for folder in mailbox.folders.values() for m in folder.messages.values()}
        assert message.id not in left


async def test_at_gmail_a_label_that_goes_leaves_its_messages_in_all_mail() -> None:
    async with offering("gmail") as server:
        before = await ids(server, ALL_MAIL, "X-GM-MSGID")
        modseq = server.mailbox.folder(ALL_MAIL).modseq
        server.mailbox.delete("Archive")

        assert await ids(server, ALL_MAIL, "X-GM-MSGID") == before
        assert server.mailbox.folder(ALL_MAIL).modseq > modseq


async def test_messages_can_be_searched_by_their_ids() -> None:
    async with offering("objectid", "gmail") as server, signed_in(server, "INBOX") as client:
        (email,) = await found(client, r"EMAILID \((\w+)\)", "a UID FETCH 2 (EMAILID)")
        (gmail,) = await found(client, r"X-GM-MSGID (\w+)", "a UID FETCH 2 (X-GM-MSGID)")
        for key in (f"EMAILID {email}", f"X-GM-MSGID {gmail}"):
            assert (await client.ask(f"a UID SEARCH {key}"))[0] == "* SEARCH 2"


async def test_folders_may_lie_in_a_namespace() -> None:
    dotted = serve(messages=0, folder_count=4, prefix="INBOX.", delimiter=".")
    async with dotted as server, signed_in(server) as client:
        assert await client.ask("a NAMESPACE") == ['* NAMESPACE (("INBOX." ".")) NIL NIL', "a OK done"]
        listed = await found(client, r'LIST \(.*\) "(.)" "(.*)"', 'b LIST "" *')
        assert (await client.ask("c CREATE Elsewhere"))[-1].startswith("c NO [CANNOT]")
        assert (await client.ask("d CREATE INBOX.Projects.New"))[-1] == "d OK done"
        assert (await client.ask("e SELECT INBOX.Projects.New"))[-1].startswith("e OK")

    assert listed == [(".", name) for name in ("INBOX", "INBOX.Archive", "INBOX.Sent", "INBOX.Trash")]
    assert "INBOX.Projects.New" in server.mailbox.folders


def test_a_server_is_one_thing_or_another() -> None:
    with pytest.raises(UnknownOffer, match="objectid"):
        asyncio.run(offering("everything").__aenter__())
    with pytest.raises(UnknownOffer, match="either"):
        asyncio.run(offering("plain", "qresync").__aenter__())


async def test_a_server_of_ten_times_as_many_folders_takes_ten_times_as_long() -> None:
    async def seconds(folder_count: int) -> float:
        server = serve(messages=folder_count, folder_count=folder_count)
        async with server as running, signed_in(running) as client:
            started = process_time()
            answer = await client.ask('a LIST "" * RETURN (STATUS (MESSAGES UIDNEXT UIDVALIDITY))')
            taken = process_time() - started
        assert sum("STATUS" in line for line in answer) == folder_count
        return taken

    few = min([await seconds(500) for _ in range(3)])
    assert min([await seconds(5000) for _ in range(2)]) < 40 * few


def test_a_mailbox_without_labels_refuses_them() -> None:
    with pytest.raises(NoSuchFolder, match="All Mail"):
        LabMailbox().label("INBOX", 1, [])


async def test_compression_is_for_those_who_are_offered_it() -> None:
    async with offering() as server, signed_in(server, "INBOX") as client:
        assert (await client.ask("a COMPRESS DEFLATE"))[-1].startswith("a BAD")


async def test_a_compressed_session_says_the_same() -> None:
    async with offering("compress") as server, connect(server.host, server.port) as session:
        await session.log_in(server.address, server.password)
        await session.run(select(b"INBOX"))
        before = await session.run(uid_fetch("1:*", ["UID", "FLAGS", "BODY.PEEK[]"]))
        with pytest.raises(CommandFailed, match="there is only DEFLATE"):
            await session.run(Command("COMPRESS", (b"LZ4",)))
        await session.compress()
        after = await session.run(uid_fetch("1:*", ["UID", "FLAGS", "BODY.PEEK[]"]))
        assert before.responses
        assert before.responses == after.responses
        await session.run(append(b"INBOX", b"Subject: literal\r\n\r\n" * 1000))
