"""The lab server speaks IMAP as the RFCs have it, as long as no fault is switched on."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from lab.talk import signed_in, talk

from postroom.lab import LabServer, serve
from postroom.lab.mails import mail


@pytest.fixture
async def server() -> AsyncIterator[LabServer]:
    """Three mails of our own in INBOX, and two empty folders."""
    async with serve(messages=0, folder_count=1) as running:
        for n in (1, 2, 3):
            running.mailbox.deliver(b"Subject: mail %d\r\nFrom: ann@lab.example\r\n\r\nhi %d\r\n" % (n, n))
        running.mailbox.create("Sent", special_use="\\Sent")
        running.mailbox.create("Größe/日本")
        yield running


async def test_a_session_from_greeting_to_goodbye(server: LabServer) -> None:
    async with talk(server) as client:
        await client.play(
            """
            S: * OK [CAPABILITY IMAP4rev1 ... AUTH=PLAIN] ...
            C: a LOGIN robin@lab.example "open sesame"
            S: a OK [CAPABILITY ... QRESYNC ...
            C: b SELECT INBOX
            S: * FLAGS (...)
            S: * OK [PERMANENTFLAGS (...)] kept
            S: * 3 EXISTS
            S: * 0 RECENT
            S: * OK [HIGHESTMODSEQ 4] ...
            S: * OK [UNSEEN 1] ...
            S: * OK [UIDVALIDITY ...] ...
            S: * OK [UIDNEXT 4] ...
            S: b OK [READ-WRITE] ...
            C: c FETCH 2 (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])
            S: * 2 FETCH (UID 2 FLAGS () BODY[HEADER.FIELDS (SUBJECT)] {19}
            S: Subject: mail 2
            S:
            S: )
            S: c OK done
            C: d LOGOUT
            S: * BYE see you
            S: d OK done
            S:
            """
        )


async def test_a_wrong_password_is_refused(server: LabServer) -> None:
    async with talk(server) as client:
        await client.play(
            """
            S: * OK ...
            C: a LOGIN robin@lab.example wrong
            S: a NO [AUTHENTICATIONFAILED] ...
            C: b SELECT INBOX
            S: b BAD sign in first
            C: c AUTHENTICATE PLAIN AHJvYmluQGxhYi5leGFtcGxlAG9wZW4gc2VzYW1l
            S: c OK ...
            """
        )


async def test_literals_wait_for_the_go_ahead_unless_they_say_otherwise(server: LabServer) -> None:
    async with talk(server) as client:
        await client.play(
            """
            S: * OK ...
            C: a LOGIN {17}
            S: + go ahead
            C: robin@lab.example {11+}
            C: open sesame
            S: a OK ...
            """
        )


async def test_folders_are_listed_with_use_levels_and_status(server: LabServer) -> None:
    async with signed_in(server) as client:
        await client.play(
            """
            C: a LIST "" "*" RETURN (SPECIAL-USE STATUS (MESSAGES UIDNEXT))
            S: * LIST (\\HasChildren \\Noselect) "/" "Gr&APYA3w-e"
            S: * LIST (\\HasNoChildren) "/" "Gr&APYA3w-e/&ZeVnLA-"
            S: * STATUS "Gr&APYA3w-e/&ZeVnLA-" (MESSAGES 0 UIDNEXT 1)
            S: * LIST (\\HasNoChildren) "/" "INBOX"
            S: * STATUS "INBOX" (MESSAGES 3 UIDNEXT 4)
            S: * LIST (\\HasNoChildren \\Sent) "/" "Sent"
            S: * STATUS "Sent" (MESSAGES 0 UIDNEXT 1)
            S: a OK done
            C: b LIST "" "%"
            S: * LIST (\\HasChildren \\Noselect) "/" "Gr&APYA3w-e"
            S: * LIST (\\HasNoChildren) "/" "INBOX"
            S: * LIST (\\HasNoChildren \\Sent) "/" "Sent"
            S: b OK done
            C: c LIST (SPECIAL-USE) "" "*"
            S: ...
            S: * LIST (\\HasNoChildren \\Sent) "/" "Sent"
            S: c OK done
            C: d SELECT "Gr&APYA3w-e"
            S: d NO [NONEXISTENT] ...
            """
        )


async def test_folders_are_made_renamed_and_deleted(server: LabServer) -> None:
    async with signed_in(server) as client:
        await client.play(
            """
            C: a CREATE Work/2024
            S: a OK done
            C: b CREATE Sent
            S: b NO [ALREADYEXISTS] ...
            C: c RENAME Work/2024 Archive/Work
            S: c OK done
            C: d STATUS Archive/Work (MESSAGES)
            S: * STATUS "Archive/Work" (MESSAGES 0)
            S: d OK done
            C: e DELETE Archive/Work
            S: e OK done
            C: f STATUS Archive/Work (MESSAGES)
            S: f NO [NONEXISTENT] ...
            """
        )


async def test_renaming_a_folder_takes_what_is_below_along_and_keeps_validity(server: LabServer) -> None:
    validity = server.mailbox.create("A/B").validity
    server.mailbox.create("A")

    server.mailbox.rename("A", "Longer")

    assert server.mailbox.folder("Longer/B").validity == validity


async def test_a_folder_made_again_has_another_validity(server: LabServer) -> None:
    before = server.mailbox.folder("Sent").validity
    server.mailbox.delete("Sent")

    assert server.mailbox.create("Sent").validity != before


async def test_flags_are_stored_and_told_to_other_sessions(server: LabServer) -> None:
    async with signed_in(server, "INBOX") as one, signed_in(server, "INBOX") as other:
        await one.play(
            """
            C: a UID STORE 1:2 +FLAGS (\\Seen)
            S: * 1 FETCH (UID 1 FLAGS (\\Seen))
            S: * 2 FETCH (UID 2 FLAGS (\\Seen))
            S: a OK done
            C: b STORE 3 +FLAGS.SILENT (\\Flagged)
            S: b OK done
            C: c UID SEARCH SEEN
            S: * SEARCH 1 2
            S: c OK done
            """
        )
        await other.play(
            """
            C: a NOOP
            S: * 1 FETCH (UID 1 FLAGS (\\Seen))
            S: * 2 FETCH (UID 2 FLAGS (\\Seen))
            S: * 3 FETCH (UID 3 FLAGS (\\Flagged))
            S: a OK done
            """
        )


async def test_expunged_messages_leave_their_numbers_to_the_next(server: LabServer) -> None:
    async with signed_in(server, "INBOX") as client:
        await client.play(
            """
            C: a UID STORE 1,2 +FLAGS.SILENT (\\Deleted)
            S: a OK done
            C: b UID EXPUNGE 1
            S: * 1 EXPUNGE
            S: b OK done
            C: c FETCH 1:* (UID)
            S: * 1 FETCH (UID 2)
            S: * 2 FETCH (UID 3)
            S: c OK done
            C: d EXPUNGE
            S: * 1 EXPUNGE
            S: d OK done
            """
        )


async def test_expunges_wait_while_sequence_numbers_are_in_use(server: LabServer) -> None:
    async with signed_in(server, "INBOX") as client:
        server.mailbox.folder("INBOX").expunge(1)
        await client.play(
            """
            C: a FETCH 3 (UID)
            S: * 3 FETCH (UID 3)
            S: a OK done
            C: b NOOP
            S: * 1 EXPUNGE
            S: b OK done
            """
        )


async def test_qresync_tells_what_happened_meanwhile(server: LabServer) -> None:
    inbox = server.mailbox.folder("INBOX")
    known = inbox.modseq
    inbox.flag(2, ["\\Seen"])
    inbox.expunge(1)
    async with signed_in(server) as client:
        await client.play("C: e ENABLE QRESYNC\nS: * ENABLED QRESYNC\nS: e OK done")

        lines = await client.ask(f"s SELECT INBOX (QRESYNC ({inbox.validity} {known} 1:3))")
        later = await client.ask(f"f UID FETCH 1:* (FLAGS) (CHANGEDSINCE {known} VANISHED)")

    assert "* VANISHED (EARLIER) 1" in lines
    assert "* 1 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (5))" in lines
    assert later[:-1] == ["* VANISHED (EARLIER) 1", "* 1 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (5))"]


async def test_with_qresync_a_removal_is_told_by_uid(server: LabServer) -> None:
    async with signed_in(server) as client:
        await client.ask("e ENABLE QRESYNC")
        await client.ask("s SELECT INBOX")
        server.mailbox.folder("INBOX").expunge(1, 2)
        await client.play("C: n NOOP\nS: * VANISHED 1:2\nS: n OK done")


async def test_what_has_changed_since_is_left_alone(server: LabServer) -> None:
    inbox = server.mailbox.folder("INBOX")
    known = inbox.modseq
    inbox.flag(2, ["\\Seen"])
    async with signed_in(server, "INBOX") as client:
        answer = await client.ask(f"a UID STORE 1:2 (UNCHANGEDSINCE {known}) +FLAGS.SILENT (\\Flagged)")

    assert answer[-1] == "a OK [MODIFIED 2] some had changed"
    assert inbox.messages[2].flags == {"\\Seen"}
    assert inbox.messages[1].flags == {"\\Flagged"}


async def test_messages_are_moved_and_copied(server: LabServer) -> None:
    validity = server.mailbox.folder("Sent").validity
    async with signed_in(server, "INBOX") as client:
        await client.play(
            f"""
            C: a UID MOVE 1:2 Sent
            S: * OK [COPYUID {validity} 1:2 1:2] moved
            S: * 2 EXPUNGE
            S: * 1 EXPUNGE
            S: a OK done
            C: b UID COPY 3 Sent
            S: b OK [COPYUID {validity} 3 3] copied
            C: c UID COPY 3 Nowhere
            S: c NO [TRYCREATE] ...
            """
        )
    assert server.mailbox.folder("Sent").messages[3].raw().startswith(b"Subject: mail 3")


async def test_a_message_appended_is_the_same_bytes(server: LabServer) -> None:
    raw = "Subject: new\r\n\r\nhällo\r\n"
    async with signed_in(server, "INBOX") as client:
        answer = await client.ask(
            f'a APPEND INBOX (\\Seen) "04-Jul-2019 12:30:00 +0200" {{{len(raw.encode())}+}}\r\n{raw}'
        )

    message = server.mailbox.folder("INBOX").messages[4]
    assert answer[0] == "* 4 EXISTS"
    assert re.match(r"a OK \[APPENDUID \d+ 4\]", answer[-1])
    assert message.raw().decode() == raw
    assert message.flags == {"\\Seen"}
    assert message.received.isoformat() == "2019-07-04T12:30:00+02:00"


async def test_searches_answer_as_they_are_asked(server: LabServer) -> None:
    async with signed_in(server, "INBOX") as client:
        await client.play(
            """
            C: a UID SEARCH RETURN (ALL COUNT MIN MAX) UID 2:*
            S: * ESEARCH (TAG "a") UID ALL 2:3 COUNT 2 MIN 2 MAX 3
            S: a OK done
            C: b SEARCH OR SUBJECT "mail 1" (HEADER From ann UID 3)
            S: * SEARCH 1 3
            S: b OK done
            C: c UID SEARCH NOT UNSEEN
            S: * SEARCH
            S: c OK done
            C: d UID SEARCH SINCE 1-Jan-2020 MODSEQ 3
            S: * SEARCH 2 3 (MODSEQ 4)
            S: d OK done
            C: e UID SEARCH SINCE yesterday
            S: e BAD ...
            """
        )


async def test_reading_a_body_marks_it_as_seen_and_peeking_does_not(server: LabServer) -> None:
    async with signed_in(server, "INBOX") as client:
        await client.ask("a UID FETCH 1 (BODY.PEEK[])")
        assert server.mailbox.folder("INBOX").messages[1].flags == set()

        answer = await client.ask("b UID FETCH 1 (BODY[TEXT]<0.2>)")

    assert answer[:2] == ["* 1 FETCH (UID 1 FLAGS (\\Seen) BODY[TEXT]<0> {2}", "hi)"]
    assert server.mailbox.folder("INBOX").messages[1].flags == {"\\Seen"}


async def test_who_examines_a_folder_changes_nothing(server: LabServer) -> None:
    async with signed_in(server) as client:
        await client.ask("a EXAMINE INBOX")
        await client.ask("b UID FETCH 1 (BODY[])")
        refused = await client.ask("c UID STORE 1 +FLAGS (\\Deleted)")

    assert refused[-1].startswith("c NO [READ-ONLY]")
    assert server.mailbox.folder("INBOX").messages[1].flags == set()


async def test_who_idles_is_told_at_once(server: LabServer) -> None:
    async with signed_in(server, "INBOX") as client:
        await client.play("C: a IDLE\nS: + idling")
        server.mailbox.deliver(b"Subject: x\r\n\r\n")
        await client.play("S: * 4 EXISTS")
        server.mailbox.folder("INBOX").expunge(2)
        await client.play("S: * 2 EXPUNGE\nC: DONE\nS: a OK done")


async def test_a_folder_that_is_deleted_while_it_is_open_ends_the_session(server: LabServer) -> None:
    async with signed_in(server, "Sent") as client:
        await client.play("C: a IDLE\nS: + idling")
        server.mailbox.delete("Sent")
        await client.play("S: * BYE ...\nS:")


async def test_a_new_validity_while_a_folder_is_open_ends_the_session(server: LabServer) -> None:
    async with signed_in(server, "INBOX") as client:
        server.mailbox.folder("INBOX").change_validity()
        await client.play("C: a NOOP\nS: * BYE ...\nS:")


@pytest.mark.parametrize(
    "nonsense",
    [
        "a",
        "a UID",
        "a FROB",
        "a FETCH",
        "a LIST",
        "a UID FETCH 1:x (UID)",
        "a FETCH 1 (BODY[",
        'a STATUS "',
        "a ((",
    ],
)
async def test_nonsense_is_answered_with_bad_and_the_session_goes_on(
    server: LabServer, nonsense: str
) -> None:
    async with signed_in(server, "INBOX") as client:
        assert (await client.ask(nonsense))[-1].startswith("a BAD")
        assert (await client.ask("b NOOP"))[-1] == "b OK done"


async def test_one_client_that_hangs_up_disturbs_nobody(server: LabServer) -> None:
    async with signed_in(server, "INBOX") as client:
        async with signed_in(server, "INBOX") as rude:
            await rude.say("a APPEND INBOX {100+}\r\nonly a little")
        async with signed_in(server, "INBOX") as rude:
            await rude.say("a IDLE")
        assert (await client.ask("b NOOP"))[-1] == "b OK done"


async def test_the_server_stops_in_silence_while_clients_are_connected(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serve(messages=1) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        await reader.readline()

    assert await reader.read() == b""
    assert caplog.records == []
    writer.close()


async def test_generated_mail_is_served_byte_for_byte() -> None:
    async with serve(messages=20, folder_count=1, seed=5) as server, signed_in(server, "INBOX") as client:
        for number in range(20):
            await client.say(f"f UID FETCH {number + 1} (RFC822.SIZE BODY.PEEK[])")
            told = re.search(r"RFC822.SIZE (\d+) BODY\[\] \{(\d+)\}", await client.hear())
            assert told
            assert told[1] == told[2]
            assert await client.reader.readexactly(int(told[2])) == mail(5, number)
            assert [await client.hear(), await client.hear()] == [")", "f OK done"]
